"""Does the file say what flags say, and is every wrong key, type and value told at its line with a hint?"""

from __future__ import annotations

import re
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dsrlb import health
from dsrlb.cli import cli
from dsrlb.config import Config, config_in, located, read_config
from dsrlb.config.check_schema import CHECK
from dsrlb.config.keys import Kind
from dsrlb.config.limits_schema import LIMITS
from dsrlb.config.proxy_schema import PROXY, ROUTE
from dsrlb.config.schema import BACKEND, SERVICE, TABLES, TIMEOUTS, TOP
from dsrlb.errors import ConfigError, UsageError
from dsrlb.model import Backend, Service, Timeouts

WHOLE = """interfaces = ["eth0", "eth1"]

[[service]]
name = "web"
vip = "198.18.1.100:80/tcp"
mode = "l2dsr"
scheduler = "wrr"
persist = "300/24"

[service.timeouts]
established = 3600

[[service.backend]]
name = "rs1"
address = "198.18.1.11"
weight = 2
mac = "02:00:c6:12:01:11"

[[service.backend]]
address = "2001:db8:1::12"
port = 80

[[service]]
vip = "[2001:db8:1::100]:*/udp"
mode = "l2dsr"
persist = 60
backend = [{ address = "198.18.1.11" }]
"""
SERVICE_LINES = '[[service]]\nvip = "198.18.1.100:80"\nmode = "l2dsr"\n'  # three lines
BACKEND_LINES = '[[service.backend]]\naddress = "198.18.1.11"\n'  # two more


def problems_in(text: str) -> dict[int, str]:
    """Return what is told of a file, by line; several on one line are joined."""
    try:
        config_in(text.encode(), "f.toml")
    except ConfigError as error:
        told: dict[int, str] = {}
        for problem in error.problems:
            match = re.fullmatch(r"f\.toml:(\d+): (.+)", problem)
            assert match is not None, problem
            told[int(match[1])] = told.get(int(match[1]), "") + match[2]
        assert list(told) == sorted(told)
        return told
    return {}


def test_a_file_becomes_the_configuration_that_it_describes() -> None:
    config = config_in(WHOLE.encode(), "f.toml")
    web, dns = config.services
    rs1, rs2 = web.backends
    assert config.interfaces == ("eth0", "eth1")
    assert (web.name, web.label, web.mode, web.scheduler) == ("198.18.1.100:80/tcp", "web", "l2dsr", "wrr")
    assert (web.persist, web.timeouts) == (
        config_in(WHOLE.encode(), "g.toml").services[0].persist,
        Timeouts(established_s=3600),
    )
    assert web.persist is not None and (web.persist.timeout_s, web.persist.ipv4_prefix) == (300, 24)
    assert rs1 == Backend(ip_address("198.18.1.11"), 2, bytes.fromhex("0200c6120111"), label="rs1")
    assert rs2 == Backend(ip_address("2001:db8:1::12"))
    assert (dns.name, dns.scheduler, dns.timeouts) == ("[2001:db8:1::100]:*/udp", "maglev", Timeouts())


def test_the_smallest_file_and_flags_make_the_same_configuration() -> None:
    config = config_in((SERVICE_LINES + BACKEND_LINES).encode(), "f.toml")
    backend = Backend(ip_address("198.18.1.11"))
    assert config == Config((Service(ip_address("198.18.1.100"), 80, "tcp", "l2dsr", "maglev", (backend,)),))
    assert config.origin is not None and config.origin.file == "f.toml"


# ----------------------------------------------------------------------------- each key and type


WRONG = {
    "interfaces": ['"eth0"', "[1]", "[[]]", '[""]', "true", '{ a = "eth0" }', '["eth0", 2]'],
    "engine": ["1", '"kernel"', "true", '["xdp"]'],
    "max_flows": ["999", "100000001", '"1000"', "1e6", "true"],
    "max_new_flows": ["0", "-1", '"20000"', "1.5"],
    "xdp_mode": ["1", '"driver"', "true"],
    "state_dir": ["1", '""', '"var/lib"', '"~/x"', '"/a\\nb"'],
    "instance": ["1", '""', '"a.b"', '"a/b"', "[]"],
    "on_exit": ["1", '"stay"', "false"],
    "metrics": ["true", "0", "65536", "1.5", "[]", '"x"', '":9311"', '"::1:9311"'],
    "service": ["1", "[1]", '"web"', "{}"],
    "name": ["1", '""', '"a b"', '["web"]', '"ü"', '"a\\nb"'],
    "vip": ["80", '""', '"198.18.1.100"', '"198.18.1.100:0"', "198.1", '["198.18.1.1:80"]', '"224.0.0.1:1"'],
    "mode": ["2", '"l3"', '""', "true", "[]"],
    "scheduler": ["1", '"lottery"', "false"],
    "persist": ["0", "-1", "true", "1.5", '"300/0"', '"300/33"', '"x"', "2678401", "[300]", "12:00:00"],
    "encap": ["1", '"gre"', "true"],
    "encap_port": ["0", "65536", '"6080"', "true", "1.0"],
    "source": ["1", '"::"', '"host"', '"198.18.1.10/24"'],
    "clamp_mss": ["1", '"yes"', "[]", "1979-05-27"],
    "snat": ["0", '"true"', "{}"],
    "on_all_down": ["1", '"wait"', "true", '["keep"]'],
    "slow_start": ["0", "-1", "3601", '"30"', "30.0", "true"],
    "passive": ["1", '"yes"', "[]"],
    "timeouts": ["30", '"30"', "[30]", "[{ udp = 3 }]"],
    "udp": ["0", "-1", "2678401", '"30"', "30.0", "true", "inf"],
    "backend": ["1", '["198.18.1.11"]', "{ address = '198.18.1.11' }", "[]"],
    "address": ["1", '""', '"rs1"', '"198.18.1.11:80"', '"127.0.0.1"', "[]"],
    "port": ["0", "65536", "-1", '"80"', "80.0", "true"],
    "weight": ["-1", "65536", '"2"', "1.5", "true", "nan"],
    "check": ["1", '"tcp"', "[]", '[{ kind = "tcp" }]'],
    "kind": ["1", '"tpc"', "true", '["tcp"]'],
    "interval": ["0", "0.005", "3601", '"1"', "true", "nan", "inf"],
    "rise": ["0", "101", "1.5", '"2"', "true"],
    "jitter": ["-0.1", "0.6", '"0.1"', "true", "nan"],
    "send": ["1", '"hex:0"', '"hex:xy"', "[]"],
    "verify": ["1", '"true"', "[]"],
    "path": ["1", '""', '"health"', '"/a b"', '"/ü"', '"/a\r\nX: y"'],
    "host": ["1", '""', '"a b"', '"a\r\nX: y"'],
    "headers": ["1", '"X: y"', "{ X = 1 }", '{ "X Y" = "z" }', '{ X = "a\nb" }'],
    "status": ["true", '"ok"', "99", "600", "[]", '"299-200"', "[200.0]", '["200", true]'],
    "body": ["1", "[]"],
    "query": ["1", '""', '"a..b"', '"ü.example"', f'"{"a" * 64}.com"'],
    "query_type": ["1", '"B"', "28"],
    "rcode": ["0", '"OK"', "true"],
    "command": ["1", '"ls -l"', "[]", '[""]', "[1]"],
    "mac": ["1", '"02:00"', '"ff:ff:ff:ff:ff:ff"', "[]"],
    "proxy": ["1", '"layer"', "[]", "[{ layer = 7 }]"],
    "layer": ["5", '"7"', "true", "7.5"],
    "accept_proxy": ["1", '"v2"', "[]"],
    "send_proxy": ["1", '"v3"', "true"],
    "connect_timeout": ["0", "601", '"5"', "true", "nan"],
    "idle_timeout": ["0.5", "86401", '"5"', "true"],
    "tunnel_timeout": ["0.5", "604801", '"5"', "true"],
    "certificates": ["1", "[]", '""', '"www.pem"', '"/a\nb"', '["/a", 1]', f'"/{"a" * 500}"', '["a.pem"]'],
    "client_ca": ["1", '""', '"ca.pem"', '"/a\tb"', '["/a.pem"]'],
    "client_certificate": ["1", '"maybe"', "true"],
    "server_tls": ["1", '"yes"'],
    "server_name": ["1", '""', '"a b"', '"a)b"', '"*.example.com"', '"a..b"'],
    "server_protocol": ["2", '"http/2"'],
    "forwarded": ["1", '"yes"', "true"],
    "sticky": ["1", '""', '"a b"', '"a;b"', '"a=b"', "true"],
    "retries": ["-1", "11", '"3"', "true"],
    "redirect": ["1", '""', '"http"', '"/x"', '"ftp://a"', '"https://"', '"https://a b"', '"https://a:x"'],
    "route": ["1", '["/api"]', "{ path = '/api' }", "[]"],
    "pattern": ["1", '""', '"("', '"[a"', '"*"', "'\\u0041'", '"ü"', '"a\nb"', '"(?L)a"', '"a{,3}"'],
    "header": ["1", '""', '"X Y: 1"', '"X:"', '"X: a\nb"', '": x"', '"X(y"'],
    "method": ["1", '""', '"get"', '"GET POST"', "[]", '["GET", 1]'],
    "group": ["1", '""', '"a b"', '"a:b"', "[]", "[1]"],
    "max_connections": ["0", "1000001", '"5"', "true"],
    "limits": ["1", '"5/1"', "[]", "[{ connections = 5 }]"],
    "requests": ["100", '""', '"0/10"', '"10/0"', '"10/86401"', '"1000001/10"', '"5/s"', '"-5/1"', "true"],
    "prefix4": ["0", "33", '"24"', "true"],
    "prefix6": ["0", "129", '"48"', "true"],
    "header_timeout": ["0", "601", '"5"', "true", "nan"],
    "max_body": ["0", "1099511627777", '"1k"', "true"],
    "max_headers": ["255", "15361", '"1k"', "true"],
    "allow": ["1", '"198.18.0.0/16"', '["x"]', "[1]", '["198.18.0.1/16"]', '["2001:db8::/129"]'],
    "answer": ["429", '"no"', "true"],
}  # fmt: skip
ALIKE = {"syn": "udp", "established": "udp", "fin": "udp", "closed": "udp"}
ALIKE |= {"timeout": "interval", "fast_interval": "interval", "fall": "rise", "expect": "send", "sni": "host"}
ALIKE |= {"direct": "snat"}
ALIKE |= {"new_connections": "requests", "connections": "max_connections", "queue": "max_connections"}
ALIKE |= {"body_timeout": "header_timeout", "queue_timeout": "header_timeout"}
ALIKE |= {"deny": "allow", "shadow": "snat"}
ALIKE |= {"server_ca": "client_ca", "trust_forwarded": "accept_proxy", "transparent": "accept_proxy"}

NEEDED = {"query": '"example.com"', "command": '["true"]'}


def with_line(table: str, line: str) -> tuple[str, int]:
    """Return a whole file with one more line in a table, and the number of that line."""
    name = line.partition(" =")[0]
    service, backend = SERVICE_LINES, BACKEND_LINES
    if table == SERVICE.head:
        service = "".join(one for one in service.splitlines(True) if not one.startswith(f"{name} ="))
    elif table == BACKEND.head:
        backend = "".join(one for one in backend.splitlines(True) if not one.startswith(f"{name} ="))
    if table == TOP.head:
        head = f"{line}\n"
        return head if name == "service" else head + service + backend, 1
    if table == SERVICE.head:
        tail = "" if name == "backend" else backend
        return f"{service}{line}\n{tail}", service.count("\n") + 1
    if table == CHECK.head and name != "kind":
        kind = next(one.name for one in health.KINDS if name in one.options or one.name == "tcp")
        needed = "".join(f"{one} = {NEEDED[one]}\n" for one in health.BY_NAME[kind].needed if one != name)
        service += f'{table}\nkind = "{kind}"\n{needed}'
        return f"{service}{line}\n{backend}", service.count("\n") + 1
    if table in (PROXY.head, ROUTE.head, LIMITS.head):
        return with_line_of_proxy(table, name, line)
    if table in (CHECK.head, TIMEOUTS.head):
        return f"{service}{table}\n{line}\n{backend}", 5
    return f"{service}{backend}{line}\n", (service + backend).count("\n") + 1


def with_line_of_proxy(table: str, name: str, line: str) -> tuple[str, int]:
    """Return a file of mode proxy with one more line in a table of it, and the number of that line."""
    service = SERVICE_LINES.replace("l2dsr", "proxy") + BACKEND_LINES + "[service.proxy]\n"
    service += "layer = 7\n" if name != "layer" else ""
    if table == LIMITS.head:
        service += f"[[service.backend]]\naddress = '198.18.1.99'\nmax_connections = 5\n{table}\n"
        service += "" if name == "connections" else "connections = 5\n"
    if table == ROUTE.head:
        service += f"{table}\n" + ("" if name in ("group", "redirect") else 'redirect = "https"\n')
    return f"{service}{line}\n", service.count("\n") + 1


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        (table.head, key.name, value)
        for table in TABLES
        for key in table.keys
        for value in WRONG[ALIKE.get(key.name, key.name)]
    ],
)
def test_a_wrong_value_of_every_key_is_told_at_its_line(table: str, name: str, value: str) -> None:
    text, line = with_line(table, f"{name} = {value}")
    told = problems_in(text)
    assert set(told) == {line}, (text, told)
    assert len(told[line]) < 400


def test_every_key_takes_its_example() -> None:
    for table in TABLES:
        for key in table.keys:
            if isinstance(key.takes, Kind):
                text, line = with_line(table.head, f"{key.name} = {key.takes.example}")
                told = problems_in(text)  # that the mode does not know a key is no matter of its value
                assert "must be" not in told.get(line, "") and set(told) <= {line}, (text, told)


@pytest.mark.parametrize(
    ("table", "wrong", "says"),
    [
        (TOP.head, "interface", "did you mean interfaces?"),
        (TOP.head, "Interfaces", "did you mean interfaces?"),
        (TOP.head, "services", "did you mean service?"),
        (TOP.head, "backend", "it belongs under [[service]]"),
        (TOP.head, "vip", "it belongs under [[service]]"),
        (TOP.head, "zzz", "there are interfaces, engine"),
        ("[[service]]", "schedular", "did you mean scheduler?"),
        ("[[service]]", "encap-port", "did you mean encap_port?"),
        ("[[service]]", "backends", "did you mean backend?"),
        ("[[service]]", "timeout", "did you mean timeouts?"),
        ("[[service]]", "weight", "it belongs under [[service.backend]]"),
        ("[[service]]", "interfaces", "it belongs under the head of the file"),
        ("[[service]]", "udp", "it belongs under [service.timeouts]"),
        ("[[service.backend]]", "wieght", "did you mean weight?"),
        ("[[service.backend]]", "adress", "did you mean address?"),
        ("[[service.backend]]", "vip", "it belongs under [[service]]"),
        ("[service.timeouts]", "esteblished", "did you mean established?"),
        ("[service.timeouts]", "udp_s", "did you mean udp?"),
    ],
)
def test_an_unknown_key_is_told_with_what_was_meant(table: str, wrong: str, says: str) -> None:
    text, line = with_line(table, f"{wrong} = 1")
    told = problems_in(text)
    assert set(told) == {line}
    assert f"'{wrong}' is no key of" in told[line] and says in told[line]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "service is missing; add [[service]]"),
        ("service = []", 1, "service is a list, and must be tables; write [[service]]"),
        ('[[service]]\nmode = "l2dsr"\n' + BACKEND_LINES, 1, 'vip is missing in [[service]]; add vip = "198'),
        ('\n[[service]]\nvip = "198.18.1.100:80"\n' + BACKEND_LINES, 2, "mode is missing in [[service]]"),
        (SERVICE_LINES, 1, "backend is missing in [[service]]; add [[service.backend]]"),
        (SERVICE_LINES + "[[service.backend]]\nweight = 1", 4, "address is missing in [[service.backend]]"),
        (SERVICE_LINES.replace("[[service]]", "[service]"), 1, "service is a table, and must be tables"),
        (SERVICE_LINES + "backend = [[]]\n", 4, "backend is a list, and must be tables; write [[service.b"),
        (SERVICE_LINES + "[service.backend]\naddress = '198.18.1.11'", 4, "backend is a table, and must be"),
        ("[[service]]\n[[service.backend]]\n", 1, "vip is missing"),
        (
            SERVICE_LINES + "timeouts = 30\n" + BACKEND_LINES,
            4,
            "timeouts is the number 30, and must be a table",
        ),
        (SERVICE_LINES + 'mode_ = "x"\n' + BACKEND_LINES, 4, "did you mean mode?"),
        (SERVICE_LINES.replace("l2dsr", "l2dsrr") + BACKEND_LINES, 3, "did you mean l2dsr?"),
        (SERVICE_LINES + "weight\n" + BACKEND_LINES, 4, "this is not TOML"),
    ],
)
def test_what_is_missing_or_misplaced_is_told_at_the_table(text: str, line: int, says: str) -> None:
    assert says in problems_in(text)[line]


# ----------------------------------------------------------------------------- all at once


def test_every_problem_is_told_at_once_each_at_its_line() -> None:
    told = problems_in(
        """interface = "eth0"
[[service]]
name = "web"
vip = "198.18.1.100:80/tcp"
mode = "l2dsr"
snat = true
[[service.backend]]
address = "198.18.1.11"
weight = 0
port = 8080
[[service.backend]]
address = "198.18.1.100"
weight = "2"
[[service]]
name = "web"
vip = "198.18.1.100:80"
mode = "l2dsr"
timeouts.udp = 0
[[service.backend]]
adress = "198.18.1.13"
[[service.backend]]
address = "198.18.1.11"
mac = "02:00:c6:12:01:11"
[[service.backend]]
address = "198.18.1.11"
mac = "02:00:c6:12:01:12"
"""
    )
    expected = {
        1: "did you mean interfaces",
        6: "mode l2dsr does not know snat",
        10: "translates no ports",
        12: "service web: backend 198.18.1.100 is a VIP itself",
        13: "weight is the text '2'",
        15: "name 'web' is given 2 times",
        16: "VIP 198.18.1.100:80/tcp is given 2 times",
        18: "udp is the number 0",
        19: "address is missing",
        20: "did you mean address",
        25: "is listed 2 times",
        26: "02:00:c6:12:01:12 here and 02:00:c6:12:01:11 elsewhere",
    }
    assert set(told) == set(expected)
    for line, words in expected.items():
        assert words in told[line]


def test_a_vip_s_port_and_every_port_go_together_but_no_vip_twice() -> None:
    other = SERVICE_LINES.replace(":80", ":*") + BACKEND_LINES
    assert problems_in(SERVICE_LINES + BACKEND_LINES + other) == {}
    assert set(problems_in(other + other)) == {7}


def test_a_malformed_option_makes_no_second_problem_of_what_depends_on_it() -> None:
    told = problems_in(SERVICE_LINES + "encap = 3\nencap_port = 7\n" + BACKEND_LINES)
    assert "encap gue" not in told[5]


@pytest.mark.parametrize("name", ["no/such.toml", "", "/", "/etc", "\0", "x" * 5000])
def test_a_file_that_cannot_be_read_is_a_matter_of_usage(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(name)


def test_what_the_host_says_is_told_at_the_lines_that_name_it() -> None:
    config = config_in(WHOLE.encode(), "f.toml")
    findings = [("eth1", "eth1 is down"), (ip_address("198.18.1.11"), "off-link"), ("eth7", "unplaced")]
    vip: list[tuple[Any, str]] = [(ip_address("2001:db8:1::100"), "owned")]
    assert located(config, findings + vip) == (
        "f.toml:1: eth1 is down",
        "f.toml:1: unplaced",
        "f.toml:15: off-link",
        "f.toml:24: owned",
        "f.toml:27: off-link",
    )
    assert located(Config(config.services), findings[:2]) == ("eth1 is down", "off-link")


# ----------------------------------------------------------------------------- dsrlb check


def check(path: Path | str, *more: str) -> Result:
    return CliRunner().invoke(cli, ["check", *more, str(path)])


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_check_says_that_a_file_is_right_and_what_it_could_not_look_at(tmp_path: Path) -> None:
    path = write(tmp_path / "dsrlb.toml", WHOLE)
    done = check(path, "--no-host")
    assert done.exit_code == 0
    assert f"{path}: 2 services, 3 backends: no problem found" in done.output
    assert "not checked: this host's interfaces" in done.output and "another machine has a VIP" in done.output


def test_check_prints_each_problem_on_a_line_and_exits_3(tmp_path: Path) -> None:
    path = write(tmp_path / "dsrlb.toml", "bogus = 1\n" + SERVICE_LINES)
    done = check(path)
    assert done.exit_code == 3
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == [f"{path}:1", f"{path}:2"]


def test_check_of_no_file_exits_2() -> None:
    assert isinstance(check("no/such.toml").exception, UsageError)


def test_check_looks_at_the_host_as_root_or_when_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "dsrlb.toml", SERVICE_LINES + BACKEND_LINES)

    def survey(config: Config) -> None:
        raise ConfigError(*located(config, [(config.services[0].backends[0].address, "off-link")]))

    monkeypatch.setattr(sys.modules["dsrlb.cli.check"], "survey", survey)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert check(path).exit_code == 0
    assert check(path, "--host").stdout == f"{path}:5: off-link\n"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert check(path).exit_code == 3
    assert check(path, "--no-host").exit_code == 0


@pytest.mark.parametrize(
    "flag", [["--vip", "198.18.1.100:80"], ["--mode", "l2dsr"], ["--snat"], ["--scheduler", "rr"]]
)
def test_a_file_and_flags_together_are_refused(flag: list[str], tmp_path: Path) -> None:
    path = write(tmp_path / "dsrlb.toml", SERVICE_LINES + BACKEND_LINES)
    done = CliRunner().invoke(cli, ["serve", "--config", str(path), *flag])
    assert done.exit_code == 2 and f"--config and {flag[0]} together" in done.output


def test_a_file_and_an_interface_together_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "dsrlb.toml", SERVICE_LINES + BACKEND_LINES)
    done = CliRunner().invoke(cli, ["serve", "--config", str(path), "--interface", "eth0"])
    assert done.exit_code == 2 and "--config and --interface together" in done.output


def test_a_replay_takes_a_file_too(tmp_path: Path) -> None:
    path = write(tmp_path / "dsrlb.toml", SERVICE_LINES + BACKEND_LINES)
    done = CliRunner().invoke(cli, ["replay", "--config", str(path), "no.pcap", "out.pcap"])
    assert isinstance(done.exception, ConfigError) and "198.18.1.11: no MAC" in str(done.exception)
