"""The short way gives what the long way gives: verdict, counters, flows; for any frames in any order."""

from __future__ import annotations

from collections.abc import Callable

import balancer
import packets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from dsrlb import state as remembered
from dsrlb.datapath import decide, process
from dsrlb.model import ModeOptions
from dsrlb.shortcut import forward_known
from dsrlb.state import State, Verdict
from dsrlb.transition import carry
from dsrlb.wire.checksum import checksum

ETHER = Ether(dst=packets.BALANCER_MAC, src=packets.ROUTER_MAC)
THREE, TWO = balancer.table(), balancer.table(backends=balancer.ALL_BACKENDS[:2])
TABLES = (THREE, TWO, carry(THREE, TWO, 0), carry(TWO, THREE, 0), balancer.table(scheduler="rr"))
TABLES += (balancer.table(samples=True), balancer.table(scheduler="rr", samples=True))
FAR = (f"{packets.FAR},mac={packets.ROUTER_MAC}", f"{packets.FAR6},mac={packets.ROUTER_MAC}")
WRAPPING = [  # 80 bytes: some packets fit, some do not
    balancer.table(backends=FAR, mode="l3dsr", options=ModeOptions(encap=encap), mtu_bytes=mtu_bytes)
    for encap in ("ipip", "gue", "gue1")
    for mtu_bytes in (80, 1500)
]
CLIENT_TO_VIP = IP(src=packets.CLIENT, dst=packets.VIP)


def tcp(sport: int, flags: str, options: bool, tag: bool) -> bytes:
    layers = ETHER / Dot1Q(vlan=5) if tag else ETHER
    segment = TCP(sport=sport, dport=80, flags=flags, options=[("Timestamp", (1, 2))] if options else [])
    return bytes(layers / CLIENT_TO_VIP / segment).ljust(60, b"\0")


def udp(sport: int, size: int) -> bytes:
    return bytes(ETHER / CLIENT_TO_VIP / UDP(sport=sport, dport=53) / bytes(size))


def piece(sport: int, offset: int, more: bool) -> bytes:
    header = IP(src=packets.CLIENT, dst=packets.VIP, frag=offset, flags="MF" if more else "")
    return bytes(ETHER / header / TCP(sport=sport, dport=80, flags="A") / bytes(20))


def damaged(frame: bytes, at: int, value: int) -> bytes:
    at %= len(frame)
    return frame[:at] + bytes((value,)) + frame[at + 1 :]


def refreshed(frame: bytes) -> bytes:
    """Return the frame with an IPv4 checksum that is right for whatever its header says now."""
    zeroed = frame[:24] + b"\0\0" + frame[26:]
    return zeroed[:24] + checksum(zeroed[14:34]) + zeroed[26:]


def marked(frame: bytes, tos: int) -> bytes:
    """Return the frame with another TOS, if it is long enough to have one."""
    return refreshed(frame[:15] + bytes((tos,)) + frame[16:]) if len(frame) >= 34 else frame


def too_big(mtu_bytes: int, options: ModeOptions) -> list[bytes]:
    """Return what routers say of the ways to the far servers: the outer header of anything will do."""
    udp = packets.UDP(dport=options.encap_port)
    inner4 = packets.IP(src=packets.CLIENT, dst=packets.VIP) / packets.Raw(bytes(1400))
    inside = inner4 if options.encap == "ipip" else udp / packets.Raw(bytes(1400))
    outer4 = packets.IP(src=packets.BALANCER_IP, dst=packets.FAR) / inside
    outer6 = packets.IPv6(src=packets.BALANCER_IP6, dst=packets.FAR6) / inside
    error4 = packets.ICMP(type=3, code=4, nexthopmtu=mtu_bytes) / packets.Raw(bytes(outer4)[:40])
    error6 = packets.ICMPv6PacketTooBig(mtu=mtu_bytes) / packets.Raw(bytes(outer6)[:60])
    return [
        bytes(packets.ether() / packets.IP(src=packets.ROUTER, dst=packets.BALANCER_IP) / error4),
        bytes(packets.ether() / packets.IPv6(src=packets.ROUTER6, dst=packets.BALANCER_IP6) / error6),
    ]


ERRORS = [error for encap in ("ipip", "gue") for error in too_big(1290, ModeOptions(encap=encap))]


SPORTS = st.integers(4000, 4002)
FLAGS = st.sampled_from(["S", "A", "PA", "FA", "R", "SA", ""])
SOUND = st.one_of(
    st.builds(tcp, SPORTS, FLAGS, st.booleans(), st.booleans()),
    st.builds(piece, SPORTS, st.sampled_from([0, 5]), st.booleans()),
    st.builds(udp, SPORTS, st.integers(0, 40)),
)
FRAMES = st.one_of(
    SOUND,
    st.builds(damaged, SOUND, st.integers(0, 59), st.integers(0, 255)),
    st.builds(lambda frame, size: frame[:size], SOUND, st.integers(0, 60)),
)
IFINDEXES = st.sampled_from([packets.IFINDEX, packets.IFINDEX, packets.OTHER_IFINDEX])
LATER_S = st.sampled_from([0, 0, 0, 1, 301, 901])
STEPS = st.lists(st.tuples(FRAMES, IFINDEXES, st.sampled_from(TABLES), LATER_S), max_size=30)
WRAPPED_STEPS = st.lists(
    st.tuples(
        st.one_of(st.builds(marked, FRAMES, st.integers(0, 255)), st.sampled_from(ERRORS)),
        IFINDEXES,
        st.sampled_from(WRAPPING),
        LATER_S,
    ),
    max_size=30,
)


def outcome(way: Callable[..., Verdict], steps: list[tuple[bytes, int, object, int]]) -> object:
    state, now_s, verdicts = State(), 0, []
    for frame, ifindex, table, later_s in steps:
        now_s += later_s
        state.clock_us += later_s * 1_000_000 + 900
        verdicts.append(way(frame, ifindex, table, state, now_s))
    flows = {key: (flow.backend, flow.state, flow.seen_s) for key, flow in state.flows}
    handshakes = state.handshakes.seen(state.clock_us)
    return verdicts, state.released, state.reasons, state.backends, flows, handshakes


@given(STEPS)
def test_the_short_way_and_the_long_way_have_one_outcome(steps: list[tuple[bytes, int, object, int]]) -> None:
    assert outcome(process, steps) == outcome(decide, steps)


@given(WRAPPED_STEPS)
def test_so_they_have_when_packets_are_wrapped(steps: list[tuple[bytes, int, object, int]]) -> None:
    assert outcome(process, steps) == outcome(decide, steps)


@pytest.mark.parametrize("table", WRAPPING[1::2])
def test_a_wrapped_packet_takes_the_short_way_until_a_router_says_that_it_is_too_long(table: object) -> None:
    plain, state = udp(4000, 1300), State()
    first = decide(plain, packets.IFINDEX, table, state, 0)  # type: ignore[arg-type]
    assert forward_known(plain, packets.IFINDEX, table, state, 0) == first  # type: ignore[arg-type]
    for error in ERRORS:
        decide(error, packets.IFINDEX, table, state, 0)  # type: ignore[arg-type]
    assert forward_known(plain, packets.IFINDEX, table, state, 0) is None  # type: ignore[arg-type]
    cut = decide(plain, packets.IFINDEX, table, state, 0)  # type: ignore[arg-type]
    assert len(cut[3]) < len(first[3])


def test_a_packet_of_a_proven_flow_takes_the_short_way_until_the_table_changes() -> None:
    plain, state = tcp(4000, "A", options=True, tag=False), State()
    first, second = balancer.table(scheduler="rr"), balancer.table(scheduler="rr")
    for _ in range(2):  # the second packet proves a connection that is seen first in its middle
        assert forward_known(plain, packets.IFINDEX, first, state, 0) is None
        expected = decide(plain, packets.IFINDEX, first, state, 0)
    assert forward_known(plain, packets.IFINDEX, first, state, 0) == expected
    assert forward_known(plain, packets.IFINDEX, second, state, 0) is None


def test_a_flow_that_the_slots_tell_the_backend_of_takes_the_short_way_without_a_record() -> None:
    plain, state = tcp(4000, "A", options=True, tag=False), State()
    assert forward_known(plain, packets.IFINDEX, THREE, state, 0) is None
    expected = decide(plain, packets.IFINDEX, THREE, state, 0)
    assert forward_known(plain, packets.IFINDEX, THREE, state, 100_000) == expected
    assert len(state.flows) == 0
    assert forward_known(plain, packets.IFINDEX, TWO, state, 0) is None


def test_the_cache_of_picks_is_bounded_and_forgetting_it_changes_nothing(monkeypatch) -> None:
    monkeypatch.setattr(remembered, "MAX_PICKS", 5)
    frames = [tcp(4000 + number % 9, "A", options=False, tag=False) for number in range(40)]
    state, fresh = State(), State()
    for frame in frames:
        verdict = process(frame, packets.IFINDEX, THREE, state, 0)
        fresh.picks.clear()
        assert verdict == process(frame, packets.IFINDEX, THREE, fresh, 0)
        assert len(state.picks) <= 5
    assert state.backends == fresh.backends


KNOWN = [tcp(4000, "A", options=True, tag=False), udp(4000, 40)]


@pytest.mark.parametrize("known", KNOWN, ids=["tcp", "udp"])
def test_any_bit_of_a_known_flow_s_packet_may_flip_and_any_end_be_missing(known: bytes) -> None:
    flipped = [damaged(known, at, known[at] ^ 1 << bit) for at in range(60) for bit in range(8)]
    cut = [known[:size] for size in range(len(known))]
    for frame in (*flipped, *(refreshed(frame) for frame in flipped), *cut):
        for table in (THREE, TABLES[-1]):
            steps = [(each, packets.IFINDEX, table, 0) for each in (known, known, frame)]
            assert outcome(process, steps) == outcome(decide, steps), frame.hex()
