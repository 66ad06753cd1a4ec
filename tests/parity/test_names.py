"""Second names and source ports: what is left of them, and what happens when the marks of ports are lost."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import balancer
import packets as p
import pytest
from parity import names
from parity.ground import SIZES, Runner, interfaces

from dsrlb.config import parse_vip
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.program import Loaded, loaded, set_clock
from dsrlb.engines.xdp.rings import Rings
from dsrlb.host import bpf, bpf_maps
from dsrlb.model import Backend, Hop, ModeOptions, Service, Timeouts
from dsrlb.ports import REST_S
from dsrlb.table import ForwardingTable, compile_table

SERVER = ip_address(p.SERVERS[0])
BRIEF = Timeouts(udp_s=5, syn_s=3, established_s=9, fin_s=4, closed_s=2)
CLIENTS = 40
NOW_S = 1000


@pytest.fixture(scope="module")
def program() -> Iterator[Loaded]:
    with interfaces(), loaded(SIZES, test_clock=True) as it:
        yield it


def table(source: str = p.VIP) -> ForwardingTable:
    """Return that of a service whose server sees this address in place of its clients'."""
    options = ModeOptions(snat=True, source=ip_address(source))
    hop = Hop(p.IFINDEX, balancer.BALANCER, bytes((2, 0, 0, 0, 0, 1)))
    vip, backends = parse_vip(f"{p.VIP}:80"), (Backend(SERVER),)
    service = Service(*vip, "inline", "rr", backends, options, timeouts=BRIEF)
    return compile_table([service], {SERVER: hop}, {p.IFINDEX: balancer.BALANCER})


def install(program: Loaded) -> Tables:
    tables = Tables(program)
    tables.install(table())
    return tables


def open_connections(program: Loaded, sport: int) -> None:
    run = Runner(program.entry)
    for host in range(1, CLIENTS + 1):
        packet = p.IP(src=f"198.18.0.{host}", dst=p.VIP) / p.TCP(sport=sport, dport=80, flags="S")
        assert run(bytes(p.Ether(dst=p.BALANCER_MAC) / packet), p.IFINDEX)[0] == 3  # XDP_TX


def let_end(program: Loaded, now_s: int) -> None:
    set_clock(program, now_s)
    bpf.run(program.programs["sweep"], bytes(64), repeat=SIZES.flows)


def test_flows_that_are_over_leave_no_name_and_no_port_whatever_their_source_is_now(program) -> None:
    set_clock(program, NOW_S)
    tables = install(program)
    open_connections(program, 4000)
    names.check(program, tables, may_lack=0)
    assert len(names.ports_in_use(program)) == CLIENTS
    tables.install(table(source=p.OTHER_VIP))
    let_end(program, NOW_S + BRIEF.syn_s + 1)
    assert not names.ports_in_use(program)
    assert not list(bpf_maps.keys(program.maps["replies"]))


def test_no_two_flows_have_one_port_when_the_marks_are_lost(program) -> None:
    set_clock(program, NOW_S)
    tables = install(program)
    open_connections(program, 5000)
    for name in ("rings", "arcs"):
        for key in list(bpf_maps.keys(program.maps[name])):
            bpf_maps.delete(program.maps[name], key)
    open_connections(program, 5001)
    names.check(program, tables, may_lack=CLIENTS)
    assert len(list(bpf_maps.keys(program.maps["replies"]))) == 2 * CLIENTS
    let_end(program, NOW_S + BRIEF.syn_s + 1)
    assert not names.ports_in_use(program)


def test_a_ring_is_forgotten_when_its_last_port_has_rested(program) -> None:
    set_clock(program, NOW_S)
    install(program)
    open_connections(program, 6000)
    rings, there = Rings(program), program.maps["rings"]
    let_end(program, NOW_S + BRIEF.syn_s + 1)
    rings.expire(NOW_S)
    rings.expire(NOW_S + REST_S - 1)
    assert list(bpf_maps.keys(there))
    rings.expire(NOW_S + REST_S)
    assert not list(bpf_maps.keys(there))
