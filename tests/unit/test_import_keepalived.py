"""Does dsrlb come to serve what keepalived had IPVS serve, and is the rest told?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrlb.cli import cli
from dsrlb.config import Config, config_in
from dsrlb.errors import ConfigError
from dsrlb.importing import keepalived
from dsrlb.importing.written import written

SITE = """! of a site
global_defs {
   router_id lb1
   lvs_timeouts tcp 600 tcpfin 60 udp 30
}
vrrp_instance VI_1 {
    interface eth1
    virtual_ipaddress {
        198.18.1.100/32 dev eth1
    }
}
virtual_server 198.18.1.100 80 {
    delay_loop 6          # seconds
    lb_algo wlc
    lb_kind DR
    persistence_timeout 300
    persistence_granularity 255.255.255.0
    protocol TCP
    virtualhost www.example.com
    sorry_server 198.18.1.99 80

    real_server 198.18.1.11 80 {
        weight 3
        HTTP_GET {
            url {
              path /health
              status_code 200-299 301
            }
            connect_timeout 2
            retry 3
            delay_before_retry 1
        }
    }
    real_server 198.18.1.12 80
    {
        HTTP_GET {
            url {
              path /health
              status_code 200-299 301
            }
            connect_timeout 2
            retry 3
            delay_before_retry 1
        }
        notify_down "/usr/local/bin/tell 'it is down'"
    }
}
"""


def imported(text: str, folder: Path = Path(), config_id: str = "lb1") -> tuple[Config, list[str]]:
    """Return the configuration that a file comes to, and the report."""
    found = keepalived.read(text, "ka.conf", folder, config_id)
    made, problems = written(found, ["made"])
    assert not problems, problems
    notes = [f"{one.where}: {one.sentence}" for one in found.notes]
    return config_in(made.encode(), "dsrlb.toml"), notes


def server(checker: str, service: str = "", line: str = "198.18.1.11 80") -> str:
    return (
        f"virtual_server 198.18.1.100 80 {{\n lb_kind DR\n {service}\n"
        f" real_server {line} {{\n{checker}\n }}\n}}\n"
    )


def check(checker: str, service: str = "") -> Any:
    config, notes = imported(server(checker, service))
    assert notes == [], notes
    return config.services[0].check


def test_a_site_is_taken_over_with_its_checks() -> None:
    config, notes = imported(SITE)
    (web,) = config.services
    assert config.interfaces == ("eth1",)
    assert (web.name, web.mode, web.scheduler) == ("198.18.1.100:80/tcp", "l2dsr", "wlc")
    assert (web.persist.timeout_s, web.persist.ipv4_prefix) == (300, 24)
    assert (web.timeouts.established_s, web.timeouts.fin_s) == (600, 60)
    assert [(str(one.address), one.weight, one.check) for one in web.backends] == [
        ("198.18.1.11", 3, None),
        ("198.18.1.12", 1, None),
    ]
    asked = web.check
    assert (asked.kind, asked.path, asked.host) == ("http", "/health", "www.example.com")
    assert asked.status == ((200, 299), (301, 301))
    assert (asked.interval_s, asked.timeout_s, asked.rise, asked.fall, asked.fast_interval_s) == (
        6,
        2,
        1,
        4,
        1,
    )
    assert [note.partition(": ")[0] for note in notes] == [
        "ka.conf:45",
        "ka.conf:20",
        "ka.conf:9",
        "ka.conf:6",
    ]
    assert "refuses one that the host has" in notes[2] and "sorry_server 198.18.1.99 80" in notes[1]


@pytest.mark.parametrize(("third", "of_service"), [("PING_CHECK {\n}", "tcp"), ("", None)])
def test_the_check_that_most_servers_have_is_the_service_s_if_each_has_one(
    third: str, of_service: str | None
) -> None:
    servers = [("11", "TCP_CHECK {\n}"), ("12", third), ("13", "TCP_CHECK {\n}")]
    blocks = "\n".join(f"real_server 198.18.1.{last} 80 {{\n{one}\n}}" for last, one in servers)
    config, _ = imported(f"virtual_server 198.18.1.100 80 {{\n{blocks}\n}}")
    (web,) = config.services
    assert (web.check.kind if web.check else None) == of_service
    kinds = [one.check.kind if one.check else None for one in web.backends]
    assert kinds == ([None, "icmp", None] if of_service else ["tcp", None, "tcp"])


def test_without_a_sorry_server_clients_are_refused_as_they_were() -> None:
    config, _ = imported(server("TCP_CHECK { \n}"))
    assert config.services[0].on_all_down == "reject"


def test_tunnels_and_nat_are_modes_and_a_server_may_have_another_one() -> None:
    text = """virtual_server 198.18.1.100 443 {
        lvs_method TUN type gue port 7777
        real_server 198.18.21.2 443 {
        }
        real_server 198.18.22.2 443 {
        }
        real_server 198.18.23.2 443 {
            lvs_method NAT
        }
    }
    virtual_server 2001:db8:1::100 80 {
        lvs_sched mh
        mh-port
        real_server 2001:db8:2::11 8080 {
        }
    }"""
    config, (note,) = imported(text)
    tunnel, nat = config.services
    assert (tunnel.mode, tunnel.options.encap, tunnel.options.encap_port) == ("l3dsr", "gue", 7777)
    assert len(tunnel.backends) == 2 and "198.18.23.2" in note
    assert (nat.mode, nat.scheduler, nat.backends[0].port) == ("inline", "maglev", 8080)


def test_a_group_is_a_service_for_each_of_its_places() -> None:
    text = """virtual_server_group site {
        198.18.1.100 80
        198.18.1.101-103 80
        198.18.1.104-198.18.1.105 80
        2001:db8:1::10-11 80
        fwmark 7
    }
    virtual_server group site {
        real_server 198.18.1.11 80 {
        }
    }
    virtual_server group nosuch {
    }"""
    config, notes = imported(text.replace("2001:db8:1::10-11 80\n", ""))
    assert [str(one.vip) for one in config.services] == [f"198.18.1.{last}" for last in range(100, 106)]
    assert [one.label for one in config.services][:2] == ["site-1", "site-2"]
    assert "firewall mark (7)" in notes[0] and "there is no virtual_server_group nosuch" in notes[1]


@pytest.mark.parametrize(
    ("checker", "expected"),
    [
        ("TCP_CHECK {\n}", {"kind": "tcp", "interval_s": 60, "timeout_s": 5, "fall": 2}),
        ("TCP_CHECK {\n connect_port 8080\n}", {"kind": "tcp", "port": 8080, "direct": True}),
        ("PING_CHECK {\n retry 9\n}", {"kind": "icmp", "fall": 10}),
        ("HTTP_GET {\n}", {"kind": "http", "path": "/", "status": ((200, 299),), "fast_interval_s": 3}),
        ("HTTP_GET {\n url {\n regex pong\n}\n}", {"kind": "http", "body": "pong"}),
        ("SSL_GET {\n sni_name a.example.com\n url {\n virtualhost b.example.com\n}\n}",
         {"kind": "https", "sni": "a.example.com", "host": "b.example.com"}),
        ("DNS_CHECK {\n name example.com\n type txt\n}",
         {"kind": "dns", "query": "example.com", "query_type": "TXT", "fall": 4}),
        ('MISC_CHECK {\n misc_path "/bin/check -a \'b c\'"\n misc_timeout 4\n}',
         {"kind": "command", "command": ("/bin/check", "-a", "b c"), "timeout_s": 4, "fall": 1}),
        ("UDP_CHECK {\n payload Ab12f 3\n require_reply 0102\n}",
         {"kind": "udp", "send": b"\xab\x12\x0f\x03", "expect": b"\x01\x02"}),
    ],
)  # fmt: skip
def test_each_checker_is_the_check_that_asks_the_same(checker: str, expected: dict[str, Any]) -> None:
    found = check(checker)
    assert {name: getattr(found, name) for name in expected} == expected


def test_what_a_service_says_holds_for_its_servers_and_what_a_checker_says_for_itself() -> None:
    assert check("TCP_CHECK {\n}", "delay_loop 9\n retry 4").fall == 5
    found = check("retry 2\n TCP_CHECK {\n delay_loop 1.5\n}", "delay_loop 9\n retry 4")
    assert (found.interval_s, found.fall, found.timeout_s) == (1.5, 3, 1.5)


@pytest.mark.parametrize(
    ("checker", "service", "sentence"),
    [
        ("BFD_CHECK {\n name a\n}", "", "BFD_CHECK has no equivalent"),
        ("TCP_CHECK {\n}\nPING_CHECK {\n}", "", "this PING_CHECK is left out"),
        ("HTTP_GET {\n url {\n digest 9b3a\n}\n}", "", "digest has no equivalent"),
        ("HTTP_GET {\n url {\n regex ^a.*b$\n}\n}", "", "has no equivalent; name a text"),
        ("HTTP_GET {\n url {\n path /\n}\n url {\n path /b\n}\n}", "", "/b is not asked for"),
        ("SMTP_CHECK {\n}", "", "HELO is not said"),
        ("UDP_CHECK {\n}", "", "needs an answer"),
        ("MISC_CHECK {\n misc_path /bin/true\n misc_dynamic\n}", "", "misc_dynamic has no equivalent"),
        ("TCP_CHECK {\n connect_ip 198.18.9.9\n}", "", "connect_ip has no equivalent"),
        ("uthreshold 100", "", "threshold of connections"),
        ("frob 100", "", "frob is not known"),
        ("UDP_CHECK {\n require_reply\n min_reply_length 4\n}", "", "min_reply_length has no equivalent"),
        ("weight many", "", "is no number"),
        ("", "quorum 2", "quorum of more than one"),
        ("", "lvs_sched sed", "scheduler sed counts"),
        ("", "persistence_timeout soon", "cannot be read"),
    ],
)
def test_what_has_no_equivalent_is_told(checker: str, service: str, sentence: str) -> None:
    _, notes = imported(server(checker, service))
    assert any(sentence in note for note in notes), notes


# ----------------------------------------------------------------------------- the language


def test_files_that_are_included_are_read_where_they_are_included(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "web.conf").write_text(server("") + "include ../more.conf\n")
    (tmp_path / "more.conf").write_text(server("", line="198.18.1.12 80").replace(" 80 {", " 81 {"))
    config, notes = imported("include conf.d/*.conf\ninclude nosuch.conf\n", tmp_path)
    assert [one.port for one in config.services] == [80, 81]
    assert notes == ["ka.conf:2: nosuch.conf is not there to be included"]


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("include a.conf\n")
    with pytest.raises(ConfigError, match="include each other more than 16 deep"):
        imported("include a.conf", tmp_path)


def test_conditions_hold_for_the_named_configuration() -> None:
    text = server("@lb1 weight 3\n@^lb1 weight 5\n@lb2 weight 7")
    for config_id, weight in (("lb1", 3), ("lb2", 7), ("lb3", 5)):
        config, _ = imported(text, config_id=config_id)
        assert config.services[0].backends[0].weight == weight


def test_parameters_are_replaced_where_they_are_used() -> None:
    text = """$NET=198.18.${SITE}
$SITE=1
$RS= \\
    real_server ${NET}.${N} 80 { \\
        weight ${N} \\
    }
virtual_server ${NET}.100 80 {
    lb_kind DR
$N=11
$RS
$N=12
$RS
    ${NOT_THERE}
}
"""
    config, _ = imported(text)
    assert [(str(one.address), one.weight) for one in config.services[0].backends] == [
        ("198.18.1.11", 11),
        ("198.18.1.12", 12),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("virtual_server 198.18.1.100 80 {\n", r"^ka.conf:1: the block of virtual_server is not closed"),
        ("}\n", r"^ka.conf:1: \} closes no block"),
        ("a {\n" * 40, "nested more than 32 deep"),
        ("$A=${A} ${A}\n${A}\n", "without an end"),
        ("$A=x\n" + "".join(f"$B{n}=${{B{n - 1}}}${{B{n - 1}}}\n" for n in range(1, 60)).replace("B0", "A")
         + "${B59}\n", "without an end"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        imported(text)


LANGUAGE = """virtual_server real_server { } 198.18.1.1 2001:db8::1 80 lb_kind DR TUN include $A= ${A} @x
TCP_CHECK HTTP_GET url weight " ' fwmark group -1 persistence_timeout type gue port - /33 # ~SEQ(A,0,9) \\"""
WORDS = st.sampled_from([*LANGUAGE.split(), "\n", "\udcff"])


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=40))
def test_whatever_it_says_the_outcome_is_a_file_or_a_sentence(words: list[str]) -> None:
    try:
        found = keepalived.read(" ".join(words), "ka.conf", Path("/nonexistent"), "x")
    except ConfigError:
        return
    written(found, [])


# ----------------------------------------------------------------------------- the command


def test_the_file_goes_to_stdout_and_the_report_to_stderr() -> None:
    done = CliRunner().invoke(cli, ["import", "keepalived", "--config-id", "lb1", "-"], input=SITE)
    assert done.exception is None, done.output
    assert config_in(done.stdout.encode(), "f").services and "stdin:20: sorry_server" in done.stderr
    done = CliRunner().invoke(cli, ["import", "keepalived", "--json", "-"], input=SITE)
    said = json.loads(done.stdout)
    assert said["problems"] == [] and {"where", "says"} == set(said["report"][0])


@pytest.mark.parametrize(
    ("words", "given_", "sentence"),
    [
        (["ipvsadm", "/nonexistent"], None, "cannot be read (No such file"),
        (["keepalived", "-"], "global_defs {\n}\n", "no virtual service in it"),
        (["ipvsadm", "-"], "\0\0", "this is no text"),
        (["ipvsadm", "-"], "-A -t 198.18.1.100:80\n", "no virtual service in it"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(words: list[str], given_: str | None, sentence: str) -> None:
    done = CliRunner().invoke(cli, ["import", *words], input=given_)
    assert sentence in str(done.exception)
