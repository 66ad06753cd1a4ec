"""Do the laws of the data path hold for any input?"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import balancer
import packets as p
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dsrlb.config import parse_vip
from dsrlb.datapath import process
from dsrlb.flows import TIMEOUT_S, FlowState, FlowTable
from dsrlb.fragments import FragmentTable
from dsrlb.model import Action, Backend, Hop, Reason, Service, wire_address
from dsrlb.schedulers import SCHEDULERS
from dsrlb.state import State, expire
from dsrlb.table import ForwardingTable, apply, compile_table, diff
from dsrlb.transition import carry

NAMES = [scheduler.name for scheduler in SCHEDULERS]
MAC = p.mac_bytes(p.BALANCER_MAC)
VIPS = {ip_address(p.VIP).packed, ip_address(p.VIP6).packed}
TABLES = {name: balancer.table(scheduler=name) for name in NAMES}
ANSWERS = (Reason.ARP_REPLY, Reason.ND_REPLY, Reason.ECHO_REPLY)

LAW = settings(max_examples=100)
SLOW_LAW = settings(LAW, max_examples=25)

VALID = [
    bytes(frame)
    for vip in (p.VIP, p.VIP6)
    for frame in (
        p.tcp("S", dst=vip),
        p.tcp("PA", dst=vip, load=b"GET /", tags=(5,)),
        p.udp(dst=vip, tags=(5, 6)),
        p.echo(vip),
        p.error_about(p.tcp(dst=vip)),
        *p.pieces(p.udp(dst=vip, load=bytes(100)), 48),
    )
] + [
    bytes(p.who_has()),
    bytes(p.claims()),
    bytes(p.solicits()),
    bytes(p.solicits(src="::")),
    bytes(p.advertises()),
]


@st.composite
def mutated(draw: Callable[..., Any]) -> bytes:
    """Return a valid frame with some bytes changed, perhaps cut short or with a tail."""
    frame = bytearray(draw(st.sampled_from(VALID)))
    for at, byte in draw(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=4)):
        frame[at % len(frame)] = byte
    return bytes(frame[: draw(st.integers(0, 200))])


FRAMES = st.one_of(st.binary(max_size=120), st.sampled_from(VALID), mutated())
BURSTS = st.lists(FRAMES, min_size=1, max_size=12)


@LAW
@given(BURSTS, st.sampled_from(NAMES), st.lists(st.integers(0, 40), min_size=12, max_size=12))
def test_no_frame_raises_and_each_is_counted_under_exactly_one_reason(
    burst: list[bytes], scheduler: str, gaps_s: list[int]
) -> None:
    state, now_s = State(), 0
    for count, (frame, gap_s) in enumerate(zip(burst, gaps_s, strict=False), 1):
        now_s += gap_s
        expire(state, now_s)
        _, reason, _, _ = process(frame, p.IFINDEX, TABLES[scheduler], state, now_s)
        assert sum(state.reasons) == count
        assert state.reasons[reason] > 0
        assert min(state.reasons) >= 0
    expire(state, now_s + 1000)
    assert sum(state.reasons) == len(burst)
    assert state.reasons[Reason.FRAGMENT_HELD] == state.fragments.held_bytes == 0


@LAW
@given(BURSTS, st.sampled_from(NAMES))
def test_what_is_forwarded_came_to_our_mac_for_a_vip_and_only_its_first_twelve_bytes_changed(
    burst: list[bytes], scheduler: str
) -> None:
    state, unseen = State(), list(burst)
    for frame in burst:
        verdict = process(frame, p.IFINDEX, TABLES[scheduler], state, 0)
        sent = [
            *state.released,
            *([verdict] if verdict[0] >= Action.TX and verdict[1] not in ANSWERS else []),
        ]
        state.released.clear()
        for action, _, ifindex, out in sent:
            came = next(one for one in unseen if one[12:] == out[12:] and one[:6] == MAC)
            unseen.remove(came)
            assert (action, ifindex, out[6:12]) == (Action.TX, p.IFINDEX, MAC)
            assert out[:6] in {p.mac_bytes(mac) for mac in p.BACKEND_MACS}
            assert any(vip in out[14:62] for vip in VIPS)


@LAW
@given(FRAMES)
def test_a_frame_that_is_not_sent_has_no_bytes_to_send(frame: bytes) -> None:
    action, reason, _, out = process(frame, p.IFINDEX, TABLES["maglev"], State(), 0)
    assert (action >= Action.TX) == bool(out) == (reason < Reason.NOT_FOR_US)


@LAW
@given(
    st.binary(min_size=6, max_size=6),
    st.sampled_from([p.VIP, p.VIP6, p.OTHER_VIP, p.BACKENDS[0], p.BACKENDS6[0]]),
)
def test_nothing_is_forwarded_for_another_mac_or_another_address(mac: bytes, dst: str) -> None:
    raw = mac + bytes(p.tcp(dst=dst))[6:]
    action, reason, _, _ = process(raw, p.IFINDEX, TABLES["rr"], State(), 0)
    ours = mac == MAC and dst in (p.VIP, p.VIP6)
    assert (action is Action.TX) is ours
    assert ours or reason in (Reason.NOT_FOR_US, Reason.NOT_VIP)


ELSEWHERE = balancer.table([f"{p.OTHER_VIP}:80"], scheduler="rr")


@LAW
@given(FRAMES.filter(lambda frame: len(frame) >= 14 and ip_address(p.OTHER_VIP).packed not in frame))
def test_what_names_no_vip_is_left_to_the_host_however_broken(frame: bytes) -> None:
    assert process(frame, p.IFINDEX, ELSEWHERE, State(), 0)[0] is Action.PASS


def test_an_interface_that_is_not_served_forwards_and_answers_nothing() -> None:
    for frame in VALID:
        action, _, _, out = process(frame, p.OTHER_IFINDEX, TABLES["rr"], State(), 0)
        assert action not in (Action.TX, Action.REDIRECT), frame.hex()
        assert not out


# -- flows ------------------------------------------------------------------------------------

WEIGHTS = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=3, max_size=3)
LATER_FLAGS = st.sampled_from(["A", "PA", "FA", "A", "PAU", "SA", ""])


def table_of(behind: list[tuple[int, bool]], scheduler: str, keep: bytes | None = None) -> ForwardingTable:
    """Return a table by each backend's weight and whether its MAC is known (that of ``keep`` is)."""
    backends, hops = [], {}
    for address, mac, (weight, is_known) in zip(p.BACKENDS, p.BACKEND_MACS, behind, strict=True):
        hop = Hop(p.IFINDEX, MAC, p.mac_bytes(mac))
        backends.append(Backend(ip_address(address), weight))
        hops[ip_address(address)] = hop if is_known or hop.dst_mac == keep else None
    services = [Service(*parse_vip(vip), "l2dsr", scheduler, tuple(backends)) for vip in balancer.ALL_VIPS]
    return compile_table(services, hops, {p.IFINDEX: MAC})


@SLOW_LAW
@given(
    st.sampled_from(NAMES),
    st.sampled_from([p.VIP, p.VIP6]),
    st.integers(1, 65535),
    st.booleans(),
    st.lists(st.tuples(WEIGHTS, LATER_FLAGS), min_size=1, max_size=4),
)
def test_a_known_flow_keeps_its_backend_whatever_happens_to_weights_and_other_backends(
    scheduler: str, vip: str, sport: int, is_udp: bool, changes: list[tuple[list[tuple[int, bool]], str]]
) -> None:
    state = State()
    first = p.udp(sport, dst=vip) if is_udp else p.tcp("S", sport, dst=vip)
    table = TABLES[scheduler]
    owner = balancer.one(first, table, state)[3][:6]
    for now_s, (behind, flags) in enumerate(changes):
        table = carry(table, table_of(behind, scheduler, owner), now_s)
        verdict = balancer.one(first if is_udp else p.tcp(flags, sport, dst=vip), table, state, now_s)
        assert verdict[3][:6] == owner
    assert len(state.flows) == 1 or scheduler in ("hash", "maglev")


@pytest.mark.parametrize("scheduler", NAMES)
def test_a_flow_waits_for_its_backend_and_a_new_connection_does_not(scheduler: str) -> None:
    state = State()
    owner = balancer.one(p.tcp("S"), TABLES[scheduler], state)[3][:6]
    away = table_of([(1, p.mac_bytes(mac) != owner) for mac in p.BACKEND_MACS], scheduler)
    away = carry(TABLES[scheduler], away, 0)
    back = carry(away, TABLES[scheduler], 0)
    assert balancer.one(p.tcp("A"), away, state)[1] is Reason.BACKEND_UNRESOLVED
    assert balancer.one(p.tcp("A"), back, state)[3][:6] == owner
    moved = balancer.one(p.tcp("S"), away, state)[3][:6]
    assert moved not in (owner, b"")
    assert balancer.one(p.tcp("A"), back, state)[3][:6] == moved


@pytest.mark.parametrize("scheduler", ["hash", "maglev"])
def test_a_connection_under_way_finds_its_backend_again_after_a_restart(scheduler: str) -> None:
    for sport in range(40_000, 40_050):
        before = balancer.one(p.tcp("S", sport), TABLES[scheduler])[3]
        after = balancer.one(p.tcp("A", sport), balancer.table(scheduler=scheduler))[3]
        assert before[:12] == after[:12]


def test_the_hash_scheduler_looks_at_the_client_alone() -> None:
    table = TABLES["hash"]
    for host in range(2, 60):
        sent = [
            p.tcp("S", 40_000 + host, src=f"198.18.0.{host}"),
            p.udp(src=f"198.18.0.{host}"),
            p.tcp("A", 1, src=f"198.18.0.{host}"),
        ]
        assert len({balancer.one(frame, table)[3][:6] for frame in sent}) == 1


GAPS = st.one_of(st.integers(0, 1000), st.sampled_from([9, 10, 11, 59, 60, 61, 119, 120, 121, 899, 900, 901]))


@LAW
@given(st.lists(st.tuples(st.sampled_from(["S", "A", "PA", "FA", "R", "RA"]), GAPS), min_size=1, max_size=6))
def test_a_connection_is_remembered_for_as_long_as_its_state_says(steps: list[tuple[str, int]]) -> None:
    """Told by a second bookkeeper: when must the data path see a new flow?"""
    state, now_s, known, seen_s, begun = State(), 0, None, 0, 0
    for flags, gap_s in steps:
        now_s += gap_s
        expire(state, now_s)
        ended = known in (FlowState.FIN_WAIT, FlowState.CLOSED) and flags == "S"
        if known is None or now_s - seen_s > TIMEOUT_S[known] or ended:
            known, begun = FlowState.SYN_RECEIVED, begun + 1
            opens = "R" not in flags and "F" not in flags
        else:
            opens = False
        if "R" in flags:
            known = FlowState.CLOSED
        elif known is FlowState.CLOSED and "A" in flags and "F" not in flags:
            known = FlowState.SYN_RECEIVED
        elif known in (FlowState.SYN_RECEIVED, FlowState.ESTABLISHED) and flags != "S" and not opens:
            known = FlowState.FIN_WAIT if "F" in flags else FlowState.ESTABLISHED
        seen_s = now_s
        balancer.one(p.tcp(flags), TABLES["rr"], state, now_s)
        assert sum(count.flows for count in state.backends.values()) == begun
        ((_, flow),) = state.flows
        assert (flow.state, flow.seen_s) == (known, now_s)


@pytest.mark.parametrize("scheduler", NAMES)
def test_when_the_table_is_full_flows_go_on_by_hash_without_a_record(scheduler: str) -> None:
    state = State(flows=FlowTable(max_flows=5))
    for sport in range(5):
        balancer.one(p.tcp("S", 100 + sport), TABLES[scheduler], state)
    owners: dict[int, bytes] = {}
    for flags in ("S", "A", "PA", "FA", "A"):
        for sport in range(200, 230):
            out = balancer.one(p.tcp(flags, sport), TABLES[scheduler], state)[3]
            assert owners.setdefault(sport, out[:6]) == out[:6]
    if scheduler in ("hash", "maglev"):
        assert (len(state.flows), state.flows.refused) == (0, 0)
    else:
        assert len(state.flows) == 5
        assert state.flows.refused >= 30
    assert len(set(owners.values())) > 1 or scheduler == "hash"  # one client
    assert state.reasons[Reason.FORWARDED] == 5 + 5 * 30


def test_a_flow_that_found_no_room_is_not_counted_again_with_every_packet() -> None:
    state = State(flows=FlowTable(max_flows=0))
    for flags in ("S", "A", "PA", "FA", "A"):
        balancer.one(p.tcp(flags), TABLES["maglev"], state)
    assert sum(count.flows for count in state.backends.values()) <= 1
    assert sum(count.packets for count in state.backends.values()) == 5


@pytest.mark.parametrize("scheduler", NAMES)
def test_turns_are_even_and_weights_are_kept(scheduler: str) -> None:
    table = table_of([(1, True), (2, True), (0, True)], scheduler)
    state = State()
    frames = [p.tcp("S", 1000 + n, src=f"198.18.0.{2 + n % 250}") for n in range(300)]
    macs = [out[:6] for out in balancer.sent(balancer.feed(frames, table, state))]
    first, second, none = (macs.count(p.mac_bytes(mac)) for mac in p.BACKEND_MACS)
    assert none == 0
    if scheduler in ("rr", "lc"):
        assert (first, second) == (150, 150)
    elif scheduler == "wlc":
        assert first in (99, 100, 101)
    elif scheduler == "wrr":
        assert (first, second) == (100, 200)
    else:
        assert 60 <= first <= 140


# -- the table --------------------------------------------------------------------------------


@SLOW_LAW
@given(st.sampled_from(NAMES), st.permutations(range(6)), st.lists(st.integers(0, 5), min_size=6, max_size=6))
def test_compiling_ignores_the_order_of_the_backends(
    scheduler: str, order: list[int], weights: list[int]
) -> None:
    backends = [Backend(ip_address(0xC612010B + n), weight) for n, weight in enumerate(weights)]
    hops = {one.address: Hop(p.IFINDEX, MAC, bytes([2, 0, 0, 0, 0, n])) for n, one in enumerate(backends)}
    straight = Service(ip_address(p.VIP), 80, "tcp", "l2dsr", scheduler, tuple(backends))
    shuffled = Service(ip_address(p.VIP), 80, "tcp", "l2dsr", scheduler, tuple(backends[n] for n in order))
    interfaces = {p.IFINDEX: MAC}
    one, other = compile_table([straight], hops, interfaces), compile_table([shuffled], hops, interfaces)
    assert one == other
    assert not diff(one, other)


@st.composite
def tables(draw: Callable[..., Any]) -> ForwardingTable:
    vips = draw(
        st.lists(st.sampled_from(["198.18.1.100:80", "198.18.1.100:*", "198.18.1.101:53/udp"]), unique=True)
    )
    behind: list[tuple[int, bool]] = draw(WEIGHTS)
    backends = [
        f"{text.split(',')[0]},weight={weight}" + (f",mac={mac}" if is_known else "")
        for text, mac, (weight, is_known) in zip(p.BACKENDS, p.BACKEND_MACS, behind, strict=True)
    ]
    interfaces = draw(st.sampled_from([{}, {7: MAC}, {7: None}, {7: MAC, 8: MAC}]))
    return balancer.table(vips, backends, "rr", interfaces)


@LAW
@given(tables(), tables())
def test_applying_a_difference_gives_the_other_table(old: ForwardingTable, new: ForwardingTable) -> None:
    change = diff(old, new)
    assert apply(change, old) == new
    assert bool(change) == (old != new)
    assert not diff(new, apply(change, old))


# -- answers ----------------------------------------------------------------------------------

V4 = st.ip_addresses(v=4).filter(lambda a: not a.is_multicast and not a.is_loopback and 0 < a.packed[0] < 240)
V6 = st.ip_addresses(v=6).filter(
    lambda a: (
        not (a.is_multicast or a.is_loopback or a.is_unspecified or a.packed[:12] == bytes(10) + b"\xff\xff")
    )
)
UNICAST_MAC = (
    st.binary(min_size=6, max_size=6).map(lambda mac: bytes([mac[0] & 0xFE | 2]) + mac[1:]).filter(MAC.__ne__)
)
TAGS = st.sampled_from([(), (5,), (5, 6)])


@LAW
@given(st.one_of(V4, V6), UNICAST_MAC, st.binary(max_size=64), st.integers(0, 65535), TAGS)
def test_an_echo_is_answered_to_whoever_asked_with_checksums_as_scapy_counts_them(
    client: IPv4Address | IPv6Address, mac: bytes, load: bytes, ident: int, tags: tuple[int, ...]
) -> None:
    vip = p.VIP if client.version == 4 else p.VIP6
    assume(str(client) != vip)
    ask = (
        p.ICMP(type=8, id=ident) / p.Raw(load)
        if client.version == 4
        else p.ICMPv6EchoRequest(id=ident, data=load)
    )
    frame = p.ether(src=mac.hex(":"), tags=tags) / p.ip(str(client), vip) / ask
    action, reason, ifindex, out = balancer.one(frame, TABLES["rr"])
    assert (action, reason, ifindex) == (Action.TX, Reason.ECHO_REPLY, p.IFINDEX)
    assert out[:12] == mac + MAC
    assert p.rebuilt(p.Ether(out)) == out
    assert out.endswith(load)


@LAW
@given(V6, UNICAST_MAC, TAGS)
def test_a_neighbour_is_told_our_mac_with_a_checksum_as_scapy_counts_it(
    asker: IPv6Address, mac: bytes, tags: tuple[int, ...]
) -> None:
    assume(str(asker) != p.VIP6)
    out = balancer.one(p.solicits(src=str(asker), mac=mac.hex(":"), tags=tags), TABLES["rr"])[3]
    reply = p.Ether(out)
    assert out[:12] == mac + MAC
    assert p.rebuilt(reply) == out
    assert (reply[p.IPv6].dst, reply[p.ICMPv6ND_NA].tgt) == (str(asker), p.VIP6)


@LAW
@given(V4, UNICAST_MAC)
def test_whoever_asks_by_arp_is_told_our_mac(asker: IPv4Address, mac: bytes) -> None:
    assume(str(asker) != p.VIP)
    out = balancer.one(p.who_has(src=str(asker), mac=mac.hex(":")), TABLES["rr"])[3]
    reply = p.Ether(out)
    assert (out[:12], reply[p.ARP].hwsrc, reply[p.ARP].psrc) == (mac + MAC, p.BALANCER_MAC, p.VIP)
    assert (reply[p.ARP].hwdst, reply[p.ARP].pdst) == (mac.hex(":"), str(asker))


def test_no_one_is_answered_at_an_address_that_no_one_can_have() -> None:
    for src in ("ff02::1", "::1", "::ffff:198.18.0.2", p.VIP6):
        action, _, _, _ = balancer.one(p.solicits(src=src), TABLES["rr"])
        assert action is not Action.TX, src


def test_a_capture_of_the_balancer_s_own_announcements_is_no_conflict() -> None:
    """Replay without a MAC cannot tell whose announcement it is, and says nothing, for ARP as for ND."""
    table = balancer.table(interfaces={p.IFINDEX: None})
    for frame in (p.claims(mac=p.BALANCER_MAC), p.advertises(mac=p.BALANCER_MAC)):
        assert balancer.one(frame, table)[1] in (Reason.ARP_OTHER, Reason.ND_OTHER)


# -- fragments --------------------------------------------------------------------------------


@LAW
@given(st.permutations(range(4)), st.sampled_from([p.VIP, p.VIP6]), st.sampled_from(NAMES))
def test_all_pieces_of_a_datagram_reach_one_backend_in_whatever_order_they_come(
    order: list[int], vip: str, scheduler: str
) -> None:
    cut = p.pieces(p.udp(dst=vip, load=bytes(200)), 56)
    assert len(cut) == 4
    state = State()
    out = balancer.sent(balancer.feed([cut[place] for place in order], TABLES[scheduler], state))
    assert sorted(one[12:] for one in out) == sorted(bytes(one)[12:] for one in cut)
    assert len({one[:6] for one in out}) == 1
    assert balancer.counted(state) == {"forwarded": 1, "fragment_forwarded": 3}


@LAW
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["first", "later"]), st.integers(0, 2)), max_size=40
    )
)
def test_the_memory_of_fragments_is_bounded_whatever_comes(steps: list[tuple[int, str, int]]) -> None:
    state = State(fragments=FragmentTable(max_datagrams=4, max_held_bytes=500))
    first, later = (bytes(one) for one in p.pieces(p.udp(load=bytes(100)), 56)[:2])
    now_s = 0
    for count, (ident, which, gap_s) in enumerate(steps, 1):
        now_s += gap_s
        raw = bytearray(first if which == "first" else later)
        raw[19] = ident  # the low byte of the identification
        process(with_header_sum(bytes(raw)), p.IFINDEX, TABLES["rr"], state, now_s)
        state.released.clear()
        expire(state, now_s)
        assert 0 <= state.fragments.held_bytes <= 500
        assert len(state.fragments._datagrams) <= 4
        assert sum(state.reasons) == count


def with_header_sum(frame: bytes) -> bytes:
    """Return an IPv4 frame without tags with its header checksum made right (by plain words)."""
    header = frame[14:24] + b"\0\0" + frame[26:34]
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, 20, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return frame[:24] + (total ^ 0xFFFF).to_bytes(2, "big") + frame[26:]


def test_too_many_waiting_pieces_are_refused_and_counted() -> None:
    state = State(fragments=FragmentTable(max_held_bytes=700))
    later = p.pieces(p.udp(load=bytes(100)), 56)[1]
    words = [reason.word for _, reason, _, _ in balancer.feed([later] * 3, TABLES["rr"], state)]
    assert words[0] == "fragment_held"
    assert words[-1] == "fragment_table_full"


# -- errors and odd ends ----------------------------------------------------------------------


@pytest.mark.parametrize("vip", [p.VIP, p.VIP6])
@pytest.mark.parametrize("scheduler", NAMES)
def test_an_error_reaches_the_owner_of_its_flow_and_makes_no_record(scheduler: str, vip: str) -> None:
    state = State()
    owners = {
        sport: balancer.one(p.tcp("S", sport, dst=vip), TABLES[scheduler], state)[3][:6]
        for sport in range(50, 70)
    }
    known = len(state.flows)
    for sport, owner in owners.items():
        action, reason, _, out = balancer.one(
            p.error_about(p.tcp("S", sport, dst=vip)), TABLES[scheduler], state
        )
        assert (action, reason, out[:6]) == (Action.TX, Reason.ICMP_STEERED, owner)
    balancer.one(p.error_about(p.tcp("S", 9, dst=vip)), TABLES[scheduler], state)
    assert len(state.flows) == known


def test_a_backend_behind_another_interface_is_reached_by_that_one() -> None:
    services = balancer.services(scheduler="rr")
    hops = balancer.hops(services[0].backends, ifindex=p.OTHER_IFINDEX)
    table = compile_table(services, hops, {p.IFINDEX: MAC})
    action, reason, ifindex, _ = balancer.one(p.tcp(), table)
    assert (action, reason, ifindex) == (Action.REDIRECT, Reason.FORWARDED, p.OTHER_IFINDEX)


def test_octets_and_packets_are_counted_for_the_backend_that_was_sent_them() -> None:
    state = State()
    frames = [p.tcp("S"), p.tcp("PA", load=bytes(100)), *p.pieces(p.udp(load=bytes(100)), 56)]
    out = balancer.sent(balancer.feed(frames, TABLES["rr"], state))
    total = sum(count.octets for count in state.backends.values())
    assert total == sum(map(len, out)) == sum(len(bytes(frame)) for frame in frames)
    keys = {backend for _, backend in state.backends}
    assert keys <= {wire_address(ip_address(address)) for address in p.BACKENDS}
