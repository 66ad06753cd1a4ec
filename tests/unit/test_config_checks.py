"""Are checks read as they are written, in a file and on the command line, and told what cannot work?"""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from dsrlb.cli import cli
from dsrlb.config import Draft, config_in, parse_backend, parse_check, parse_vip, service_of
from dsrlb.errors import ConfigError, UsageError
from dsrlb.model import Check, Service

HEAD = '[[service]]\nvip = "198.18.1.100:{port}"\nmode = "l2dsr"\n'
BACKEND = '[[service.backend]]\naddress = "198.18.1.11"\n'


def service_with(check: str, backend_check: str = "", port: object = 80) -> Service:
    text = HEAD.format(port=port) + (f"[service.check]\n{check}\n" if check else "") + BACKEND
    text += f"[service.backend.check]\n{backend_check}\n" if backend_check else ""
    return config_in(text.encode(), "dsrlb.toml").services[0]


def check_in(text: str) -> Check:
    check = service_with(text).check
    assert check is not None
    return check


def problems_of(check: str, *more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        service_with(check, *more)
    return list(caught.value.problems)


def test_without_a_check_there_is_none() -> None:
    service = service_with("")
    assert service.check is None and service.backends[0].check is None


def test_every_key_comes_to_what_it_says() -> None:
    assert check_in('kind = "tcp"') == Check("tcp")
    text = """kind = "https"
interval = 4
timeout = 1.5
rise = 1
fall = 5
jitter = 0
port = 8443
path = "/health"
host = "www"
headers = { X-Check = "yes" }
status = [200, "300-399"]
body = "OK"
sni = "other"
"""
    assert check_in(text) == Check(
        "https", interval_s=4, timeout_s=1.5, rise=1, fall=5, fast_interval_s=1, jitter=0, port=8443,
        path="/health", host="www", headers=(("X-Check", "yes"),), status=((200, 200), (300, 399)), body="OK",
        sni="other",
    )  # fmt: skip
    assert check_in('kind = "udp"\nsend = "hex:0d 0a"\nexpect = "ü"') == Check(
        "udp", send=b"\r\n", expect="ü".encode()
    )
    assert check_in('kind = "dns"\nquery = "a.example"\nquery_type = "SOA"\nrcode = "NXDOMAIN"') == Check(
        "dns", query="a.example", query_type="SOA", rcode="NXDOMAIN"
    )
    assert check_in('kind = "command"\ncommand = ["probe", "{address}"]').command == ("probe", "{address}")


def test_time_out_and_fast_interval_follow_the_interval() -> None:
    check = check_in('kind = "tcp"\ninterval = 10')
    assert (check.timeout_s, check.fast_interval_s) == (5, 2.5)


def test_a_backend_may_have_a_check_of_its_own() -> None:
    service = service_with('kind = "tcp"', 'kind = "icmp"')
    assert service.check == Check("tcp") and service.backends[0].check == Check("icmp")
    assert service_with("", 'kind = "icmp"').check is None


def test_every_problem_is_told_at_its_line() -> None:
    told = problems_of('kind = "tcp"\ntimeout = 3\npath = "/"', 'kind = "dns"\nfast_interval = 5')
    name = "service 198.18.1.100:80/tcp"
    assert told == [
        f"dsrlb.toml:6: {name}: timeout 3 is longer than interval 2; make it shorter",
        f"dsrlb.toml:7: {name}: path is of use with checks of kind http and https, not tcp; leave it out",
        "dsrlb.toml:10: backend 198.18.1.11: a check of kind dns needs query; add it",
        "dsrlb.toml:12: backend 198.18.1.11: fast_interval 5 is longer than interval 2; make it shorter",
    ]


def test_an_unknown_kind_is_told_with_what_was_meant() -> None:
    (told,) = problems_of('kind = "htp"')
    assert told.startswith("dsrlb.toml:5: kind is the text 'htp', and must be one of tcp, http")
    assert told.endswith("did you mean http?")


def test_a_service_for_every_port_needs_one_for_its_check() -> None:
    (told,) = problems_of('kind = "tcp"', "", "*")
    assert told.endswith("the service is for every port; give its check a port")
    assert service_with('kind = "tcp"\nport = 80', port="*").check == Check("tcp", port=80)
    assert service_with('kind = "icmp"', port="*").check == Check("icmp")


# ----------------------------------------------------------------------------- the command line


def flagged(text: str) -> Check | None:
    backend = parse_backend("198.18.1.11")
    draft = Draft(parse_vip("198.18.1.100:80"), "l2dsr", (backend,), check=parse_check(text))
    return service_of(draft).check


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("tcp", Check("tcp")),
        ("tcp,interval=1,fall=2", Check("tcp", interval_s=1, timeout_s=0.5, fast_interval_s=0.25, fall=2)),
        ("http,path=/health,status=200-399", Check("http", path="/health", status=((200, 399),))),
        ("tcp,direct=true", Check("tcp", direct=True)),
        ("udp,send=200,expect=hex:00", Check("udp", send=b"200", expect=b"\0")),
        ("command,command=probe -p '{address} x'", Check("command", command=("probe", "-p", "{address} x"))),
    ],
)
def test_the_command_line_has_the_keys_of_a_file(text: str, check: Check) -> None:
    assert flagged(text) == check


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tpc", "kind 'tpc' must be one of tcp, http"),
        ("", "kind '' must be one of"),
        ("tcp,inter=1", "option 'inter=1' is unknown; there are interval"),
        ("tcp,fall", "option 'fall' is unknown"),
        ("tcp,fall=2,fall=3", "fall is given twice"),
        ("tcp,fall=none", "fall 'none' must be a whole number from 1 to 100"),
        ("tcp,direct=yes", "direct 'yes' must be true or false"),
        ("http,path=health", "path 'health' is not a path"),
        ("command,command='", "must be a list of texts"),
    ],
)
def test_a_malformed_check_is_told_in_a_sentence(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_check(text)
    assert says in str(caught.value)


def test_serve_tells_what_cannot_work_of_a_check() -> None:
    line = ["replay", "--mode", "l2dsr", "--vip", "198.18.1.100:80", "--backend", "198.18.1.11"]
    done = CliRunner().invoke(cli, [*line, "--check", "dns", "in.pcap", "out.pcap"])
    assert isinstance(done.exception, ConfigError)
    assert "a check of kind dns needs query" in str(done.exception)
