"""Does each flag mean one thing, and does a wrong one get a sentence that says what to write?"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any

import pytest

from dsrlb.cli.options import config_of
from dsrlb.config import (
    MAX_BACKENDS,
    Config,
    parse_address,
    parse_backend,
    parse_mac,
    parse_port,
    parse_vip,
    problems,
)
from dsrlb.errors import ConfigError, DsrlbError, UsageError
from dsrlb.model import ANY_PORT, Backend, Service

MAC = bytes.fromhex("0200c6120102")


@pytest.mark.parametrize(
    ("text", "address", "port", "protocol"),
    [
        ("198.18.0.10:80", "198.18.0.10", 80, "tcp"),
        ("198.18.0.10:80/tcp", "198.18.0.10", 80, "tcp"),
        ("198.18.0.10:53/udp", "198.18.0.10", 53, "udp"),
        ("198.18.0.10:*", "198.18.0.10", ANY_PORT, "tcp"),
        ("198.18.0.10:*/udp", "198.18.0.10", ANY_PORT, "udp"),
        ("198.18.0.10:1", "198.18.0.10", 1, "tcp"),
        ("198.18.0.10:65535", "198.18.0.10", 65_535, "tcp"),
        ("198.18.0.10:00080", "198.18.0.10", 80, "tcp"),
        ("[2001:db8::10]:80", "2001:db8::10", 80, "tcp"),
        ("[2001:DB8:0:0::10]:*/udp", "2001:db8::10", ANY_PORT, "udp"),
    ],
)
def test_a_vip_is_an_address_a_port_and_a_protocol(text: str, address: str, port: int, protocol: str) -> None:
    assert parse_vip(text) == (ip_address(address), port, protocol)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("198.18.0.10", "is not ADDR:PORT"),
        ("", "is not ADDR:PORT"),
        ("2001:db8::10:80", "is not ADDR:PORT"),
        ("[2001:db8::10]", "is not ADDR:PORT"),
        ("[2001:db8::10]80", "is not ADDR:PORT"),
        ("[[2001:db8::10]]:80", "is not ADDR:PORT"),
        ("198.18.0.10:80:81", "is not ADDR:PORT"),
        ("198.18.0.10:80/tcp\n", "is not ADDR:PORT"),
        ("198.18.0.10:80 ", "port '80 '"),
        (":80", "is not an IP address"),
        ("[]:80", "is not an IP address"),
        ("www.example.org:80", "is not an IP address"),
        ("198.18.0.256:80", "is not an IP address"),
        ("198.18.0:80", "is not an IP address"),
        (" 198.18.0.10:80", "is not an IP address"),
        ("[198.18.0.10]:80", "brackets are for IPv6"),
        ("198.18.0.10:80/sctp", "write /tcp or /udp"),
        ("198.18.0.10:80/TCP", "write /tcp or /udp"),
        ("198.18.0.10:80/", "write /tcp or /udp"),
        ("198.18.0.10:80/tcp/udp", "write /tcp or /udp"),
        ("198.18.0.10:", "port ''"),
        ("198.18.0.10:0", "port '0'"),
        ("198.18.0.10:70000", "1 to 65535"),
        ("198.18.0.10:65536", "1 to 65535"),
        ("198.18.0.10:-1", "1 to 65535"),
        ("198.18.0.10:http", "1 to 65535"),
        ("198.18.0.10:٨٠", "1 to 65535"),
        ("198.18.0.10:8_0", "1 to 65535"),
        ("198.18.0.10:" + "9" * 5000, "1 to 65535"),
        ("224.0.0.1:80", "multicast"),
        ("[ff02::1]:80", "multicast"),
        ("127.0.0.1:80", "loopback"),
        ("[::1]:80", "loopback"),
        ("0.0.0.0:80", "unspecified"),
        ("0.1.2.3:80", "unspecified"),
        ("[::]:80", "unspecified"),
        ("255.255.255.255:80", "broadcast"),
        ("240.0.0.1:80", "reserved"),
        ("[::ffff:198.18.0.10]:80", "IPv4-mapped"),
        ("[fe80::1%eth0]:80", "scoped"),
    ],
)
def test_a_wrong_vip_is_refused_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_vip(text)
    assert says in str(caught.value)
    assert_is_one_sentence(caught.value)
    assert caught.value.exit_code == 2


def assert_is_one_sentence(error: DsrlbError) -> None:
    """One line, and it begins with the thing that is wrong."""
    assert re.match(r"(VIP|backend) \S", str(error)), error
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "backend"),
    [
        ("198.18.0.21", Backend(ip_address("198.18.0.21"))),
        ("198.18.0.21,weight=0", Backend(ip_address("198.18.0.21"), 0)),
        ("198.18.0.21,weight=65535", Backend(ip_address("198.18.0.21"), 65_535)),
        ("198.18.0.21,mac=02:00:c6:12:01:02", Backend(ip_address("198.18.0.21"), 1, MAC)),
        ("198.18.0.21,mac=02-00-C6-12-01-02,weight=2", Backend(ip_address("198.18.0.21"), 2, MAC)),
        ("2001:db8::21,weight=2", Backend(ip_address("2001:db8::21"), 2)),
        ("[2001:db8::21]", Backend(ip_address("2001:db8::21"))),
    ],
)
def test_a_backend_is_an_address_and_what_comes_behind_commas(text: str, backend: Backend) -> None:
    assert parse_backend(text) == backend


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not an IP address"),
        ("198.18.0.21:80", "is not an IP address"),
        ("rs1", "is not an IP address"),
        ("224.0.0.1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("198.18.0.21,", "option '' is unknown"),
        ("198.18.0.21,2", "option '2' is unknown"),
        ("198.18.0.21,wieght=2", "there are weight=N and mac=MAC"),
        ("198.18.0.21,Weight=2", "there are weight=N and mac=MAC"),
        ("198.18.0.21, weight=2", "there are weight=N and mac=MAC"),
        ("198.18.0.21,weight=2,weight=2", "weight is given twice"),
        ("198.18.0.21,weight", "weight ''"),
        ("198.18.0.21,weight=", "weight ''"),
        ("198.18.0.21,weight=-1", "whole number from 0 to 65535"),
        ("198.18.0.21,weight=+1", "whole number from 0 to 65535"),
        ("198.18.0.21,weight=1.5", "whole number from 0 to 65535"),
        ("198.18.0.21,weight=65536", "whole number from 0 to 65535"),
        ("198.18.0.21,weight=²", "whole number from 0 to 65535"),
        ("198.18.0.21,weight=two", "whole number from 0 to 65535"),
        ("198.18.0.21,mac=02:00:c6:12:01", "six hexadecimal pairs"),
        ("198.18.0.21,mac=02:00:c6:12:01:0g", "six hexadecimal pairs"),
        ("198.18.0.21,mac=0200c6120102", "six hexadecimal pairs"),
        ("198.18.0.21,mac=02:00:c6:12:01:02:03", "six hexadecimal pairs"),
        ("198.18.0.21,mac=01:00:5e:00:00:01", "unicast"),
        ("198.18.0.21,mac=ff:ff:ff:ff:ff:ff", "unicast"),
        ("198.18.0.21,mac=00:00:00:00:00:00", "unicast"),
    ],
)
def test_a_wrong_backend_is_refused_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_backend(text)
    assert says in str(caught.value)
    assert_is_one_sentence(caught.value)


def test_a_message_repeats_what_was_typed_so_that_it_is_found_again() -> None:
    with pytest.raises(UsageError, match=r"198\.18\.0\.21,weight=x"):
        parse_backend("198.18.0.21,weight=x")
    with pytest.raises(UsageError, match=r"198\.18\.0\.10:70000"):
        parse_vip("198.18.0.10:70000")
    with pytest.raises(UsageError, match=r"^--mac: MAC"):
        parse_mac("x", "--mac")
    with pytest.raises(UsageError, match=r"^backend '"):
        parse_address("x", "backend")
    assert parse_port("*", "") == ANY_PORT


VIP = ip_address("198.18.0.10")
ONE, TWO = Backend(ip_address("198.18.0.21")), Backend(ip_address("198.18.0.22"))


def service(*backends: Backend, **fields: Any) -> Service:
    fields = {"vip": VIP, "port": 80, "protocol": "tcp", "mode": "l2dsr", "scheduler": "rr"} | fields
    return Service(backends=backends, **fields)


@pytest.mark.parametrize(
    ("services", "sentences"),
    [
        ([service(ONE, TWO)], []),
        ([service(ONE), service(ONE, port=81), service(ONE, protocol="udp")], []),
        ([service(ONE, Backend(TWO.address, 0))], []),
        ([service(ONE), service(ONE)], ["VIP 198.18.0.10:80/tcp is given 2 times"]),
        ([service()], ["it has no backend"]),
        ([service(ONE, ONE, ONE)], ["backend 198.18.0.21 is listed 3 times"]),
        ([service(ONE, Backend(ONE.address, 2, MAC))], ["backend 198.18.0.21 is listed 2 times"]),
        ([service(ONE, Backend(VIP))], ["backend 198.18.0.10 is a VIP itself"]),
        (
            [service(ONE), service(Backend(VIP), vip=ip_address("198.18.0.11"))],
            ["service 198.18.0.11:80/tcp: backend 198.18.0.10 is a VIP itself"],
        ),
        ([service(Backend(ONE.address, 0))], ["all weights are 0"]),
        (
            [service(*(Backend(ip_address(0xC6120000 + n)) for n in range(256, 257 + MAX_BACKENDS)))],
            [f"{MAX_BACKENDS + 1} backends are more than the {MAX_BACKENDS}"],
        ),
        (
            [service(Backend(VIP, 0), Backend(VIP, 0))],
            ["is listed 2 times", "is a VIP itself", "all weights are 0"],
        ),
    ],
)
def test_every_problem_is_named_once_in_a_sentence(services: list[Service], sentences: list[str]) -> None:
    found = list(problems(Config(tuple(services))))
    assert len(found) == len(sentences)
    for expected, sentence in zip(sentences, found, strict=True):
        assert expected in sentence
        assert "\n" not in sentence


def test_flags_become_one_service_a_vip_with_every_backend_behind_it() -> None:
    vips = (parse_vip("198.18.0.10:80"), parse_vip("[2001:db8::10]:53/udp"))
    config = config_of("l2dsr", vips, (ONE, TWO), "maglev", ("eth1",))
    assert [one.name for one in config.services] == ["198.18.0.10:80/tcp", "[2001:db8::10]:53/udp"]
    assert {one.backends for one in config.services} == {(ONE, TWO)}
    assert config.interfaces == ("eth1",)


def test_flags_that_cannot_work_are_refused_with_all_that_is_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of("l2dsr", (parse_vip("198.18.0.10:80"),) * 2, (ONE, ONE, Backend(VIP)), "rr")
    assert len(caught.value.problems) == 3
    assert caught.value.exit_code == 3
    assert str(caught.value) == "\n".join(caught.value.problems)
