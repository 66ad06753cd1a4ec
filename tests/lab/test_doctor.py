"""Does the doctor find by name what is wrong on a balancer and its links, and nothing where all is well?"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab_fork import run_forked
from lab_running import NEW_MAC, RS1, VERSIONS, Serve
from lab_wire import GUEST_MAC, inside
from pyroute2.nftables.expressions import genex, verdict
from pyroute2.nftables.main import NFTables

from dsrlb.config import Config, read_config
from dsrlb.doctor import look_balancer
from dsrlb.doctor.finding import Finding
from dsrlb.doctor.scene import Look, Scene, scene_of
from dsrlb.host.jit import compiled_bytes
from dsrlb.host.offloads import offloads
from dsrlb.lab.balancer import serve_flags
from dsrlb.lab.topology import VIP, Lab, run
from dsrlb.lab.topology import inside as command_inside

NFT_CT_STATE, INVALID, NOT_EQUAL, DROP = 0, 1, 1, 0  # linux/netfilter/nf_tables.h, nf_conntrack_common.h
CHECKED = ("--check", "tcp,interval=0.3")
Wrong = Callable[..., dict[str, str]]


def wrong_in(found: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the names of what is wrong, and where."""
    return {one["name"]: one["where"] for one in found if one["verdict"] == "wrong"}


def doctor(lab: Lab, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the command on the balancer; return its exit code and its findings."""
    done = run_forked(lab.namespace("lb"), "doctor", "--json", *words)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def config(lab: Lab, tmp_path: Path) -> Callable[..., Config]:
    """``config(mode)``: the configuration of a service of the lab's VIPs and servers."""

    def of(more: str = "", *, mode: str = "l2dsr", interface: str = "e0") -> Config:
        services = ""
        for version, vip in zip((4, 6), lab.vips, strict=False):
            host = f"[{vip}]" if version == 6 else vip
            services += f'[[service]]\nvip = "{host}:80"\nmode = "{mode}"\n[service.check]\nkind = "tcp"\n'
            for name, address in zip(lab.server_names, lab.server_addresses(version), strict=True):
                services += f'[[service.backend]]\nname = "{name}"\naddress = "{address}"\n'
        file = tmp_path / "dsrlb.toml"
        file.write_text(f'interfaces = ["{interface}"]\n{services}{more}')
        return read_config(str(file))

    return of


@pytest.fixture
def look(lab: Lab, config: Callable[..., Config]) -> Callable[..., list[Finding]]:
    """``look(which)``: what a look finds on the balancer, where no dsrlb runs."""

    def found(which: Look, **about: Any) -> list[Finding]:
        with inside(lab.namespace("lb")):
            scene: Scene = scene_of(config(**about), None)
            return list(which(scene))

    return found


@pytest.fixture
def wrong(look: Callable[..., list[Finding]]) -> Wrong:
    """``wrong(which)``: the names of what a look finds wrong, and where."""
    return lambda which, **about: wrong_in([one.row() for one in look(which, **about)])


@pytest.fixture
def changed(lab: Lab) -> Iterator[Callable[..., None]]:
    """``changed(role, do, undo)``: run a command in a node, and the other one at the end of the test."""
    undone: list[list[str]] = []

    def change(role: str, do: str, undo: str) -> None:
        there = command_inside(lab.namespace(role))
        run([*there, *do.split()])
        undone.append([*there, *undo.split()])

    yield change
    for command in reversed(undone):
        run(command)


# ------------------------------------------------------------------------- all is well


@pytest.mark.parametrize("of_lab", ["lab", "l3_lab", "inline_lab"])
def test_nothing_is_wrong_where_no_dsrlb_runs_yet(of_lab: str, request: pytest.FixtureRequest) -> None:
    lab: Lab = request.getfixturevalue(of_lab)
    code, found = doctor(lab, *serve_flags(lab, *CHECKED))
    assert wrong_in(found) == {} and code == 0
    assert {"unreachable", "router"} & {one["name"] for one in found}


@pytest.mark.both_engines
def test_nothing_is_wrong_beside_a_running_dsrlb(lab: Lab, serve: Serve) -> None:
    running = serve(*CHECKED)
    code, found = doctor(lab, "--admin", str(running.admin), *serve_flags(lab, *CHECKED))
    assert wrong_in(found) == {} and code == 0
    assert all(one["verdict"] == "ok" for one in found if one["name"] in ("health_clock", "second_owner"))


# ------------------------------------------------------------------------- who answers


@VERSIONS
def test_another_machine_with_the_vip_is_found_and_its_mac_told(
    lab: Lab, owner: Callable[[object], None], look: Callable[..., list[Finding]], version: int
) -> None:
    vip = next(one for one in lab.vips if one.version == version)
    owner(vip)
    (found,) = (one for one in look(look_balancer.wire) if one.verdict.value == "wrong")
    assert (found.name, found.where) == ("second_owner", "balancer")
    assert GUEST_MAC in found.says and str(vip) in found.says


def test_a_server_that_answers_for_its_vip_is_told_from_a_stranger(changed: Any, wrong: Wrong) -> None:
    key = "net.ipv4.conf.all.arp_ignore"
    changed("rs2", f"sysctl -qw {key}=0", f"sysctl -qw {key}=1")
    assert wrong(look_balancer.wire) == {"arp_ignore": "rs2"}


def test_a_server_whose_cable_is_out_is_unreachable(changed: Any, wrong: Wrong) -> None:
    changed("switch", "ip link set p-rs2 down", "ip link set p-rs2 up")
    assert wrong(look_balancer.wire) == {"unreachable": "rs2"}


def test_a_mac_that_is_not_the_server_s_is_found(changed: Any, wrong: Wrong) -> None:
    there = f"ip neigh replace {RS1} lladdr {NEW_MAC} dev e0 nud permanent"
    changed("lb", there, f"ip neigh del {RS1} dev e0")
    assert wrong(look_balancer.wire) == {"server_mac": "rs1"}


# ------------------------------------------------------------------------- the host's own stack


def test_a_vip_of_the_host_is_found_and_the_line_that_is_told_mends_it(
    lab: Lab, changed: Any, look: Callable[..., list[Finding]], wrong: Wrong
) -> None:
    changed("lb", f"ip addr add {VIP}/32 dev lo", f"ip addr flush dev lo to {VIP}")
    (found,) = (one for one in look(look_balancer.stack) if one.verdict.value == "wrong")
    assert (found.name, found.where) == ("vip_on_balancer", "balancer")
    run([*command_inside(lab.namespace("lb")), *found.mend.split()])
    assert wrong(look_balancer.stack) == {}


def test_reverse_paths_that_drop_answers_to_checks_are_found(
    second: Callable[[str, str, str], None], changed: Any, wrong: Wrong
) -> None:
    second("client", "198.18.9.1/24", "198.18.9.2/24")
    changed("lb", f"ip route add {VIP}/32 dev x0", f"ip route del {VIP}/32")
    assert wrong(look_balancer.stack) == {}
    key = "net.ipv4.conf.e0.rp_filter"
    changed("lb", f"sysctl -qw {key}=1", f"sysctl -qw {key}=0")
    assert wrong(look_balancer.stack) == {"rp_filter": "balancer"}


def test_a_host_that_redirects_servers_past_it_is_found(changed: Any, wrong: Wrong) -> None:
    changed("lb", "sysctl -qw net.ipv4.ip_forward=1", "sysctl -qw net.ipv4.ip_forward=0")
    assert wrong(look_balancer.stack) == {}
    key = "net.ipv4.conf.all.send_redirects"
    changed("lb", f"sysctl -qw {key}=1", f"sysctl -qw {key}=0")
    assert wrong(look_balancer.stack) == {"forwarding": "balancer"}


@contextmanager
def rules(lab: Lab, *rule: dict[str, Any], hook: str = "forward") -> Iterator[None]:
    """A rule in a chain that packets come to by a jump from the hook's."""
    with inside(lab.namespace("lb")):
        tables = NFTables(nfgen_family=socket.AF_INET)
    to = {"attrs": [("NFTA_VERDICT_CODE", -3), ("NFTA_VERDICT_CHAIN", "more")]}  # NFT_JUMP
    jump = genex("immediate", {"dreg": 0, "data": {"attrs": [("NFTA_DATA_VERDICT", to)]}})
    with closing(tables):
        tables.table("add", name="half")
        try:
            tables.chain("add", table="half", name="first", hook=hook, type="filter")
            tables.chain("add", table="half", name="more")
            tables.rule("add", table="half", chain="more", expressions=(list(rule),))
            tables.rule("add", table="half", chain="first", expressions=([jump],))
            yield
        finally:
            tables.table("del", name="half")


def by_state(mask: int) -> list[dict[str, Any]]:
    """Take packets whose state to connection tracking is one of these."""
    value, nothing = ({"attrs": [("NFTA_DATA_VALUE", one.to_bytes(4, sys.byteorder))]} for one in (mask, 0))
    return [
        genex("ct", {"dreg": 1, "key": NFT_CT_STATE}),
        genex("bitwise", {"sreg": 1, "dreg": 1, "len": 4, "mask": value, "xor": nothing}),
        genex("cmp", {"sreg": 1, "op": NOT_EQUAL, "data": nothing}),
    ]


@pytest.mark.parametrize("hook", ["prerouting", "forward"])
def test_a_rule_that_drops_half_connections_is_found(
    lab: Lab, look: Callable[..., list[Finding]], hook: str
) -> None:
    with rules(lab, *by_state(INVALID | 8), *verdict(DROP), hook=hook):
        (found,) = (one for one in look(look_balancer.stack) if one.verdict.value == "wrong")
    assert found.name == "conntrack_invalid" and hook in found.says
    assert found.mend.startswith("nft delete rule ip half more handle ")


@pytest.mark.parametrize("rule", [by_state(8), [*by_state(8), *verdict(DROP)], by_state(INVALID)])
def test_rules_that_drop_no_half_connections_are_right(
    lab: Lab, wrong: Wrong, rule: list[dict[str, Any]]
) -> None:
    with rules(lab, *rule):
        assert wrong(look_balancer.stack) == {}


def test_rules_that_see_what_a_bridge_carries_are_found(
    lab: Lab, second: Callable[[str, str, str], None], changed: Any, wrong: Wrong
) -> None:
    second("client", "", "")
    changed("lb", "ip link add b0 type bridge", "ip link del b0")
    changed("lb", "ip link set x0 master b0", "ip link set x0 nomaster")
    key = "net.bridge.bridge-nf-call-iptables"
    changed("lb", f"sysctl -qw {key}=1", f"sysctl -qw {key}=0")
    with rules(lab, *by_state(8)):
        assert wrong(look_balancer.stack) == {}  # the VIPs' interface is of no bridge
        assert wrong(look_balancer.stack, interface="x0") == {"bridge_nf": "balancer"}


# ------------------------------------------------------------------------- interfaces, mode proxy


def test_whether_programs_are_compiled_is_seen_in_any_namespace(lab: Lab) -> None:
    says_on = int(Path("/proc/sys/net/core/bpf_jit_enable").read_text()) > 0
    with inside(lab.namespace("lb")):
        assert (compiled_bytes() > 0) is says_on


def test_what_ethtool_switches_is_what_is_seen(lab: Lab, changed: Any) -> None:
    for on, off in (("on", "off"), ("off", "on")):
        changed("lb", f"ethtool -K e0 gro {on} tx {off}", "ethtool -K e0 gro off tx on")
        with inside(lab.namespace("lb")):
            seen = offloads("e0")
        assert (seen.lro, seen.gro, seen.tx_checksum) == (False, on == "on", off == "on")


def test_a_way_to_servers_that_is_narrower_than_what_comes_in_is_found(changed: Any, wrong: Wrong) -> None:
    changed("lb", f"ip route add {RS1}/32 dev e0 mtu 1400", f"ip route del {RS1}/32")
    assert wrong(look_balancer.links) == {"mtu": "rs1"}


def test_another_program_where_mode_proxy_is_to_listen_is_found(lab: Lab, wrong: Wrong) -> None:
    with inside(lab.namespace("lb")):
        listening = socket.create_server(("", 80))
    with listening:
        assert wrong(look_balancer.proxy, mode="proxy") == {"listener_clash": "balancer"}
    assert wrong(look_balancer.proxy, mode="proxy") == {}
