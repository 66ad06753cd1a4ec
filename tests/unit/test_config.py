"""Does each flag mean one thing, and does a wrong one get a sentence that says what to write?"""

from __future__ import annotations

import re
from ipaddress import ip_address

import pytest

from dsrlb.config import (
    PersistWord,
    parse_address,
    parse_backend,
    parse_mac,
    parse_metrics,
    parse_persist,
    parse_port,
    parse_vip,
    spelt,
)
from dsrlb.errors import DsrlbError, UsageError
from dsrlb.model import ANY_PORT, Backend

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
        ("198.18.0.21:8080", Backend(ip_address("198.18.0.21"), port=8080)),
        ("[2001:db8::21]:8080,weight=2", Backend(ip_address("2001:db8::21"), 2, port=8080)),
        (
            "198.18.0.21:65535,name=rs-1.a_b",
            Backend(ip_address("198.18.0.21"), port=65_535, label="rs-1.a_b"),
        ),
    ],
)
def test_a_backend_is_an_address_and_what_comes_behind_commas(text: str, backend: Backend) -> None:
    assert parse_backend(text) == backend


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not an IP address"),
        ("198.18.0.21:0", "port '0' is not a number from 1 to 65535"),
        ("198.18.0.21:", "port ''"),
        ("198.18.0.21:*", "port '*'"),
        ("198.18.0.21:http", "port 'http'"),
        ("198.18.0.21:65536", "port '65536'"),
        ("198.18.0.21:8\N{SUPERSCRIPT TWO}", "1 to 65535"),
        ("[198.18.0.21]:80", "IPv6 addresses need brackets"),
        ("[2001:db8::21]:", "port ''"),
        ("[2001:db8::21", "is not an IP address"),
        ("[2001:db8::21]80", "is not an IP address"),
        ("rs1:80", "is not an IP address"),
        ("rs1", "is not an IP address"),
        ("224.0.0.1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("198.18.0.21,", "option '' is unknown"),
        ("198.18.0.21,2", "option '2' is unknown"),
        ("198.18.0.21,wieght=2", "there are weight=N, mac=MAC and name=NAME"),
        ("198.18.0.21,Weight=2", "there are weight=N, mac=MAC and name=NAME"),
        ("198.18.0.21, weight=2", "there are weight=N, mac=MAC and name=NAME"),
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


@pytest.mark.parametrize(
    ("text", "word"), [("300", (300, None)), ("1/24", (1, 24)), ("2678400/128", (2_678_400, 128))]
)
def test_persist_is_seconds_and_perhaps_a_prefix(text: str, word: PersistWord) -> None:
    assert parse_persist(text) == word


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "1.5", "2678401", "300/", "300/0", "300/129", "/24", "300/24/64", "300s", "9" * 5000],
)
def test_a_wrong_persist_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not SECONDS\[/PREFIX\].*write 300"):
        parse_persist(text)


@pytest.mark.parametrize("name", ["", "-rs1", "rs 1", "rs1\n", "r" * 64, "ü", ".rs"])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="letters, digits, dots"):
        parse_backend(f"198.18.0.21,name={name}")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9311", "127.0.0.1:9311"),
        ("198.18.1.1:9311", "198.18.1.1:9311"),
        ("0.0.0.0:1", "0.0.0.0:1"),
        ("[2001:DB8::1]:65535", "[2001:db8::1]:65535"),
        ("[::]:9311", "[::]:9311"),
    ],
)
def test_metrics_are_told_at_a_port_and_without_an_address_to_this_host(text: str, place: str) -> None:
    assert spelt(parse_metrics(text)) == place


@pytest.mark.parametrize(
    "text", ["", ":", "0", "65536", "x", "-1", "::1:9311", "[::1]", "host:9311", "1.2.3:80", ":9311", "[]:1"]
)
def test_metrics_at_no_place_are_told_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match=r"^metrics .*") as refused:
        parse_metrics(text)
    assert repr(text) in str(refused.value) and "\n" not in str(refused.value)
