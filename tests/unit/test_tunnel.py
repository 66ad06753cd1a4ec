"""Are errors about wrapped packets believed as far as they can be, and no further?"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import balancer
import packets as p
import pytest

from dsrlb.budget import PER_NETWORK, PER_SECOND, Budget
from dsrlb.model import ModeOptions, Reason, wire_address
from dsrlb.state import State, expire
from dsrlb.tunnel import LEARNED_FOR_S, LEAST_IPV4_MTU_BYTES, refusing_server

FAR = wire_address(ip_address(p.FAR))
FROM_CLIENT = p.tcp("A", load=bytes(1000))
FROM_CLIENT[p.IP].flags = "DF"


def table(encap: str = "ipip", backend: str = f"{p.FAR},mac={p.ROUTER_MAC}", **more: Any) -> Any:
    options = ModeOptions(encap=encap, **more)  # type: ignore[arg-type]  # one of its words
    return balancer.table([f"{p.VIP}:80"], [backend], "rr", mode="l3dsr", options=options)


def wrapped(encap: str = "ipip", dst: str = p.FAR, port: int = 6080) -> bytes:
    """Return the wrapped packet that an error quotes."""
    inner = p.Raw(bytes(FROM_CLIENT)[14:])
    head = p.IP(src=p.BALANCER_IP, dst=dst, id=0, flags="DF", proto=4 if encap == "ipip" else 17)
    gue = p.Raw(bytes((0, 4, 0, 0)) if encap == "gue" else b"")
    return bytes(head / inner if encap == "ipip" else head / p.UDP(sport=50_000, dport=port) / gue / inner)


def needs(mtu_bytes: int, quote: bytes, src: str = p.ROUTER, mac: str = p.ROUTER_MAC) -> p.Packet:
    error = p.ICMP(type=3, code=4, nexthopmtu=mtu_bytes) / p.Raw(quote)
    return p.ether(src=mac) / p.IP(src=src, dst=p.BALANCER_IP) / error


def known_flow(to: Any) -> State:
    state = State()
    balancer.feed([p.tcp("S"), FROM_CLIENT], to, state)
    return state


@pytest.mark.parametrize(("encap", "added"), [("ipip", 20), ("gue", 32), ("gue1", 28)])
def test_the_client_is_told_what_fits_whatever_the_encapsulation(encap: str, added: int) -> None:
    to = table(encap)
    state = known_flow(to)
    _, reason, _, out = balancer.one(needs(900, wrapped(encap)), to, state)
    assert reason is Reason.TUNNEL_ERROR_TOLD
    answer = p.Ether(out)
    assert answer[p.ICMP].nexthopmtu == 900 - added
    assert (answer[p.IP].src, answer[p.IP].dst) == (p.VIP, p.CLIENT)
    assert bytes(FROM_CLIENT)[14:].startswith(bytes(answer[p.ICMP].payload))
    assert state.paths[FAR].mtu_bytes == 900


@pytest.mark.parametrize(
    ("encap", "quote"),
    [
        ("gue", wrapped("ipip")),
        ("ipip", wrapped("gue")),
        ("gue", wrapped("gue", port=6081)),
        ("ipip", wrapped(dst=p.CLIENT)),
        ("ipip", b""),
        ("ipip", wrapped()[:19]),
    ],
)
def test_what_was_never_sent_is_the_host_s_own_affair(encap: str, quote: bytes) -> None:
    state = State()
    assert balancer.one(needs(900, quote), table(encap), state)[1] is Reason.NOT_VIP
    assert not state.paths


def test_a_router_that_names_no_size_is_answered_with_the_next_smaller_plateau() -> None:
    state = State()
    balancer.one(needs(0, wrapped()), table(), state)
    assert state.paths[FAR].mtu_bytes == 1006  # of 1060 bytes


def test_a_forged_size_does_no_more_harm_than_576() -> None:
    state = State()
    balancer.one(needs(1, wrapped()), table(), state)
    assert state.paths[FAR].mtu_bytes == LEAST_IPV4_MTU_BYTES


def test_a_lower_size_replaces_a_higher_one_and_stays_until_its_time_is_up() -> None:
    state, to = State(), table()
    for now_s, said, known in (
        (0, 900, 900),
        (1, 1000, 900),
        (2, 800, 800),
        (601, 1000, 800),
        (602, 1000, 800),
    ):
        balancer.one(needs(said, wrapped()), to, state, now_s)
        assert state.paths[FAR].mtu_bytes == known
    expire(state, 2 + LEARNED_FOR_S)
    assert FAR in state.paths
    expire(state, 3 + LEARNED_FOR_S)
    assert not state.paths


def test_a_neighbour_that_is_the_server_itself_is_not_asked_to_tell_the_client() -> None:
    to = table(backend=balancer.ALL_BACKENDS[0])
    state = known_flow(to)
    near = {"src": p.BACKENDS[0], "mac": p.BACKEND_MACS[0]}
    assert balancer.one(needs(900, wrapped(dst=p.BACKENDS[0]), **near), to, state)[1] is Reason.TUNNEL_ERROR


def test_no_more_clients_are_told_than_the_budget_allows() -> None:
    to = table()
    state = known_flow(to)
    told = [balancer.one(needs(900, wrapped()), to, state, 5)[1] for _ in range(PER_NETWORK + 9)]
    assert told.count(Reason.TUNNEL_ERROR_TOLD) == PER_NETWORK
    assert balancer.one(needs(900, wrapped()), to, state, 6)[1] is Reason.TUNNEL_ERROR_TOLD


def test_a_budget_is_for_each_network_and_for_all() -> None:
    budget = Budget()
    ours, beside, other = (wire_address(ip_address(f"198.18.{n}")) for n in ("0.2", "0.77", "1.2"))
    assert sum(budget.spend(one, 0) for _ in range(PER_NETWORK) for one in (ours, beside)) == PER_NETWORK
    assert budget.spend(other, 0)
    v6 = [wire_address(ip_address(f"2001:db8:0:{n:x}::1")) for n in range(PER_SECOND)]
    assert sum(budget.spend(one, 0) for one in v6) == PER_SECOND - PER_NETWORK - 1
    assert budget.spend(wire_address(ip_address("2001:db8::2")), 1)
    assert len(budget.spent) == 1


def test_who_refuses_is_read_from_the_frame() -> None:
    for tags in ((), (5,)):
        four = p.ether(tags=tags) / p.IP(src=p.FAR, dst=p.BALANCER_IP) / p.ICMP(type=3, code=2)
        six = p.ether(tags=tags) / p.IPv6(src=p.FAR6, dst=p.BALANCER_IP6) / p.ICMPv6DestUnreach(code=4)
        assert str(refusing_server(bytes(four))) == p.FAR
        assert str(refusing_server(bytes(six))) == p.FAR6
