"""Does dsrlb come to serve what IPVS did, and is the rest told?"""

from __future__ import annotations

from typing import Any

import pytest

from dsrlb.config import Config, config_in
from dsrlb.errors import ConfigError
from dsrlb.importing.found import Found
from dsrlb.importing.ipvsadm import read
from dsrlb.importing.written import written

WEB = "-A -t 198.18.1.100:80 -s {}\n-a -t 198.18.1.100:80 -r 198.18.1.11:80 -g -w 1\n"


def imported(text: str) -> tuple[Config, list[str]]:
    """Return the configuration that lines come to, and the report."""
    found = read(text, "dump")
    made, problems = written(found, ["made"])
    assert not problems, problems
    return config_in(made.encode(), "dsrlb.toml"), report(found)


def report(found: Found) -> list[str]:
    return [f"{one.where}: {one.sentence}" for one in found.notes]


def services(text: str) -> tuple[Any, ...]:
    config, notes = imported(text)
    assert notes == []
    return config.services


def test_direct_routing_tunnels_and_masquerading_are_three_modes() -> None:
    direct, tunnel, nat = services(
        "-A -t 198.18.1.100:80 -s wrr\n"
        "-a -t 198.18.1.100:80 -r 198.18.1.11:80 -g -w 1\n"
        "-a -t 198.18.1.100:80 -r 198.18.1.12:80 -g -w 0\n"
        "-A -u [2001:db8:1::100]:53 -s rr\n"
        "-a -u [2001:db8:1::100]:53 -r [2001:db8:2::11]:53 -i -w 1 --tun-type gue --tun-port 7777 "
        "--tun-nocsum\n"
        "-A -t 198.18.1.101:443 -s lc\n"
        "-a -t 198.18.1.101:443 -r 198.18.2.11:8443 -m -w 300\n"
    )
    assert [one.mode for one in (direct, tunnel, nat)] == ["l2dsr", "l3dsr", "inline"]
    assert [(str(one.address), one.weight) for one in direct.backends] == [
        ("198.18.1.11", 1),
        ("198.18.1.12", 0),
    ]
    assert (tunnel.name, tunnel.options.encap, tunnel.options.encap_port) == (
        "[2001:db8:1::100]:53/udp",
        "gue",
        7777,
    )
    assert (nat.backends[0].port, nat.backends[0].weight, nat.scheduler) == (8443, 300, "lc")


@pytest.mark.parametrize(
    ("told", "scheduler"),
    [
        ("rr", "rr"),
        ("wlc", "wlc"),
        ("sh", "hash"),
        ("mh", "hash"),
        ("sh -b sh-fallback,sh-port", "maglev"),
        ("mh -b mh-port", "maglev"),
    ],
)
def test_schedulers_are_those_that_pick_alike(told: str, scheduler: str) -> None:
    (web,) = services(WEB.format(told))
    assert web.scheduler == scheduler


def test_without_a_scheduler_it_is_ipvs_s_own() -> None:
    (web,) = services("-A -t 198.18.1.100:80\n-a -t 198.18.1.100:80 -r 198.18.1.11:80\n")
    assert (web.scheduler, web.mode) == ("wlc", "l2dsr")


@pytest.mark.parametrize("name", ["sed", "nq", "lblc", "lblcr", "dh", "fo", "ovf", "twos", "own"])
def test_schedulers_without_an_equivalent_are_told(name: str) -> None:
    _, (note,) = imported(WEB.format(name))
    assert note.startswith("dump:1: scheduler ") and name in note


@pytest.mark.parametrize(
    ("told", "persist"),
    [
        ("-p 300", (300, 32)),
        ("-p", (300, 32)),
        ("-p 60 -M 255.255.255.0", (60, 24)),
        ("-p 60 -M 255.255.255.255", (60, 32)),
    ],
)
def test_persistence_keeps_its_time_and_its_network(told: str, persist: tuple[int, int]) -> None:
    (web,) = services(WEB.format(f"rr {told}"))
    assert (web.persist.timeout_s, web.persist.ipv4_prefix) == persist


def test_a_service_for_every_port_stays_one() -> None:
    (web,) = services("-A -t 198.18.1.100:0 -s rr -p 60\n-a -t 198.18.1.100:0 -r 198.18.1.11:0 -g\n")
    assert web.name == "198.18.1.100:*/tcp"


def test_time_outs_are_those_of_each_protocol() -> None:
    (web, dns) = services(
        WEB.format("rr")
        + "--set 600 0 30\n-A -u 198.18.1.100:53 -s rr\n-a -u 198.18.1.100:53 -r 198.18.1.11:53 -g\n"
    )
    assert (web.timeouts.established_s, web.timeouts.fin_s, web.timeouts.udp_s) == (600, 120, 300)
    assert (dns.timeouts.established_s, dns.timeouts.udp_s) == (900, 30)


def test_a_script_of_commands_does_as_well_and_the_last_word_counts() -> None:
    (web,) = services(
        "#!/bin/sh\n/sbin/ipvsadm -A -t 198.18.1.9:80 -s rr\nipvsadm -C\n"
        "ipvsadm --add-service --tcp-service 198.18.1.100:http --scheduler=rr  # web\n"
        "ipvsadm --add-server --tcp-service 198.18.1.100:80 --real-server 198.18.1.11 --masquerading\n"
        "ipvsadm -e -t 198.18.1.100:80 -r 198.18.1.11 --gatewaying --weight 7\n"
        "ipvsadm -E -t 198.18.1.100:80 -s wrr\n"
    )
    assert (web.scheduler, web.mode, web.backends[0].weight) == ("wrr", "l2dsr", 7)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("-A -f 7 -s rr", "a firewall mark (7) has no equivalent"),
        ("-A --sctp-service 198.18.1.1:99 -s rr", "serves TCP (-t) and UDP (-u)"),
        ("-a -t 198.18.1.100:80 -r rs1.example.com:80 -g", "ipvsadm -S -n"),
        ("-A -t www.example.com:80 -s rr", "ipvsadm -S -n"),
        ("-a -t 198.18.1.100:80 -r 198.18.1.12:80 -g -x 100", "upper threshold"),
        ("-a -t 198.18.1.100:80 -r 198.18.1.12:8080 -g", "so it never was in use"),
        ("-a -t 198.18.1.100:80 -r 198.18.1.12:80 -m", "so this server is left out"),
        ("-a -t 198.18.1.100:80 -r 198.18.1.12:80 -g -w 99999", "weight 99999 is more than 65535"),
        ("-a -t 198.18.9.9:80 -r 198.18.1.12:80 -g", "is not added before it"),
        ("-A -u 198.18.1.100:53 -s rr -o", "one-packet scheduling"),
        ("-A -t 198.18.1.100:80 -s rr -p soon", "cannot be read"),
        ("--start-daemon master --mcast-interface eth0", "neither adds a service nor a server"),
        ('-a -t "198.18.1.100:80', "quotes are not closed"),
        ("-a -t 198.18.1.100:80 -r 198.18.1.12:80 --frob 1", "'--frob' is not known"),
        ("--set 900 0", "are not three numbers"),
    ],
)
def test_what_has_no_equivalent_is_told_at_its_line(line: str, sentence: str) -> None:
    _, notes = imported(f"{WEB.format('rr')}{line}\n")
    assert any(note.startswith("dump:3: ") and sentence in note for note in notes), notes


def test_tunnels_by_gre_are_told() -> None:
    text = WEB.format("rr").replace("-g", "-i --tun-type gre --tun-csum")
    config, (note,) = imported(text)
    assert config.services[0].options.encap == "ipip" and "tunnels of type gre have no equivalent" in note


def test_the_table_for_people_is_refused_with_the_right_command() -> None:
    with pytest.raises(ConfigError, match="give what ipvsadm -S -n prints"):
        read("IP Virtual Server version 1.2.1 (size=4096)\n", "dump")


def test_a_value_may_stand_close_by_its_option() -> None:
    (service,) = services(
        "ipvsadm -A -t198.18.1.100:80 -swrr -p300\nipvsadm -a -t198.18.1.100:80 -r198.18.1.11:80 -g -w3\n"
    )
    assert (service.scheduler, service.backends[0].weight) == ("wrr", 3)
    assert service.persist is not None


def test_which_tunnel_a_server_that_is_left_out_has_is_told() -> None:
    begin = "-a -t 198.18.1.100:80 -r 198.18.1.{} -i --tun-type gue --tun-port {}\n"
    lines = "-A -t 198.18.1.100:80 -s rr\n" + begin.format("11:80", 6080) + begin.format("12:80", 6081)
    _, notes = imported(lines + "-a -t 198.18.1.100:80 -r 198.18.1.13:80 -i\n")
    assert [note.partition(", others")[0] for note in notes] == [
        "dump:3: server 198.18.1.12 is reached by tunnelling (gue to port 6081)",
        "dump:4: server 198.18.1.13 is reached by tunnelling (ipip)",
    ]
