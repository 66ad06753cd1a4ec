"""The short way of translated flows gives what the long way gives, in both directions, whatever comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import balancer
import packets as p
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.datapath import decide, process
from dsrlb.model import Action, ModeOptions
from dsrlb.shortcut import forward_known
from dsrlb.state import State, Verdict
from dsrlb.table import ForwardingTable
from dsrlb.wire.checksum import checksum
from dsrlb.wire.offload import Offload

VIPS = (f"{p.VIP}:80", f"{p.VIP}:53/udp")
SERVERS = tuple(f"{one}:8080,mac={mac}" for one, mac in zip(p.SERVERS, p.SERVER_MACS, strict=True))


def table(snat: bool = False, mtu_bytes: int = 1500, samples: bool = False) -> ForwardingTable:
    mtus, options = {p.IFINDEX: mtu_bytes}, ModeOptions(snat=snat)
    limits: Any = {"mtu_bytes": mtu_bytes, "mtus": mtus}
    return balancer.table(VIPS, SERVERS, "rr", mode="inline", options=options, samples=samples, **limits)


# Two of each: a table that is installed anew is another edition; 100 bytes: some packets do not fit.
TABLES = [table(), table(), table(mtu_bytes=100), table(snat=True), table(snat=True, mtu_bytes=100)]
SAMPLED = [table(samples=True), table(mtu_bytes=100, samples=True)]
FLAGS = st.sampled_from(["S", "A", "A", "A", "PA", "FA", "R", ""])
LINKS = st.sampled_from([p.ether()] * 4 + [p.ether(p.STRANGER_MAC), p.ether(tags=(5,))])
LIVES = st.sampled_from([64, 64, 64, 1, 2])
OFFLOADS = st.sampled_from([None, None, Offload(True, 0), Offload(True, 40), Offload(False, 40)])


def refreshed(frame: bytes) -> bytes:
    zeroed = frame[:24] + b"\0\0" + frame[26:]
    return zeroed[:24] + checksum(zeroed[14:34]) + zeroed[26:]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    head = draw(LINKS) / p.IP(
        src=p.CLIENT, dst=p.VIP, ttl=draw(LIVES), flags=draw(st.sampled_from(["DF", ""]))
    )
    sport, load = draw(st.integers(4000, 4001)), p.Raw(bytes(draw(st.integers(0, 90))))
    if draw(st.booleans()):
        return bytes(head / p.TCP(sport=sport, dport=80, flags=draw(FLAGS)) / load)
    sums = draw(st.sampled_from([{}, {"chksum": 0}]))
    return bytes(head / p.UDP(sport=sport, dport=53, **sums) / load)


@st.composite
def replies(draw: st.DrawFn) -> Callable[[list[bytes]], bytes]:
    """Return how a server answers one of the frames that it was sent lately."""
    back, flags, size = draw(st.integers(1, 3)), draw(FLAGS), draw(st.integers(0, 90))
    life, kept = draw(LIVES), draw(st.sampled_from(["DF", ""]))

    def answer(arrived: list[bytes]) -> bytes:
        asked: Any = p.Ether(arrived[-min(back, len(arrived))]) if arrived else p.udp()
        ip, l4 = asked[p.IP], asked[p.TCP] if p.TCP in asked else asked[p.UDP]
        head = p.ether(asked.dst, p.INNER_MAC) / p.IP(src=ip.dst, dst=ip.src, ttl=life, flags=kept)
        ports = {"sport": l4.dport, "dport": l4.sport}
        own = p.TCP(flags=flags, **ports) if p.TCP in asked else p.UDP(**ports)
        return bytes(head / own / p.Raw(bytes(size)))

    return answer


@st.composite
def steps(draw: st.DrawFn) -> list[Any]:
    """Return frames, or how to make them; where they come in; offload; damage; table; seconds that pass."""
    tables = draw(st.sampled_from([TABLES[:2], TABLES[1:3], TABLES[3:], SAMPLED]))
    one = st.tuples(
        st.one_of(requests(), replies()),
        st.booleans(),  # now and then by the other interface
        OFFLOADS,
        st.one_of(st.none(), st.none(), st.tuples(st.integers(0, 59), st.integers(0, 7), st.booleans())),
        st.sampled_from(tables),
        st.sampled_from([0, 0, 0, 1, 301]),
    )
    return draw(st.lists(one, max_size=25))


def outcome(way: Callable[..., Verdict], those: list[Any]) -> object:
    state, now_s, arrived, verdicts = State(), 0, [], []
    for make, is_odd, offload, damage, here, later_s in those:
        is_reply = callable(make)
        frame = make(arrived) if is_reply else make
        ifindex = p.OTHER_IFINDEX if is_reply else p.IFINDEX
        if is_odd and damage is not None:
            ifindex = p.IFINDEX + p.OTHER_IFINDEX - ifindex
        elif damage is not None and damage[0] < len(frame):
            at, bit, mended = damage
            frame = frame[:at] + bytes((frame[at] ^ 1 << bit,)) + frame[at + 1 :]
            frame = refreshed(frame) if mended and len(frame) >= 34 else frame
        now_s += later_s
        state.clock_us += later_s * 1_000_000 + 900
        verdict = way(frame, ifindex, here, state, now_s, offload)
        verdicts += [*state.released, verdict]
        state.released.clear()
        if not is_reply and verdict[0] >= Action.TX and verdict[2] == p.OTHER_IFINDEX:
            arrived.append(verdict[3])
    flows = {
        key: (flow.backend, flow.state, flow.seen_s, flow.translation and flow.translation.reply_key)
        for key, flow in state.flows
    }
    return verdicts, state.reasons, state.backends, flows, state.handshakes.seen(state.clock_us)


def test_a_packet_by_the_old_way_turns_the_answers_back_to_it() -> None:
    def asked(tags: tuple[int, ...]) -> bytes:
        return bytes(p.udp(tags=tags, load=bytes(20)))

    for way in (process, decide):
        state = State()
        for tags in ((), (5,), ()):
            sent = way(asked(tags), p.IFINDEX, TABLES[0], state, 0)[3]
            answer = bytes(p.from_server() / p.answer_of(p.Ether(sent)))
            back = way(answer, p.OTHER_IFINDEX, TABLES[0], state, 0)[3]
            assert back[12:18] == asked(tags)[12:18] if tags else back[12:14] == b"\x08\0"


@given(steps())
def test_the_short_way_and_the_long_way_have_one_outcome(those: list[Any]) -> None:
    assert outcome(process, those) == outcome(decide, those)


@pytest.mark.parametrize("make", [p.tcp, p.udp])
def test_packets_of_a_proven_flow_take_the_short_way_in_both_directions(make: Any) -> None:
    asked, state, here = make(load=bytes(20)) if make is p.udp else make("A"), State(), TABLES[0]
    for _ in range(1 if make is p.udp else 2):  # a connection is proven by its second packet
        assert forward_known(bytes(asked), p.IFINDEX, here, state, 0) is None
        sent = decide(bytes(asked), p.IFINDEX, here, state, 0)
    assert forward_known(bytes(asked), p.IFINDEX, here, state, 0) == sent
    answer = bytes(p.from_server() / p.answer_of(p.Ether(sent[3])))
    assert forward_known(answer, p.OTHER_IFINDEX, here, state, 0) is None
    back = decide(answer, p.OTHER_IFINDEX, here, state, 0)
    assert forward_known(answer, p.OTHER_IFINDEX, here, state, 0) == back
    for frame, ifindex in ((bytes(asked), p.IFINDEX), (answer, p.OTHER_IFINDEX)):
        assert forward_known(frame, ifindex, TABLES[1], state, 0) is None
        assert forward_known(frame, p.IFINDEX + p.OTHER_IFINDEX - ifindex, here, state, 0) is None


def begun(*frames: tuple[bytes, int]) -> State:
    """Return what is remembered after these."""
    state = State()
    for frame, ifindex in frames:
        decide(frame, ifindex, TABLES[0], state, 0)
    return state


def test_any_bit_of_a_translated_flow_s_packet_may_flip_and_any_end_be_missing() -> None:
    asked = bytes(p.tcp("A", load=bytes(20)))
    sent = decide(asked, p.IFINDEX, TABLES[0], State(), 0)[3]
    answer = bytes(p.from_server() / p.answer_of(p.Ether(sent)))
    before = [(asked, p.IFINDEX), (asked, p.IFINDEX), (answer, p.OTHER_IFINDEX)]
    for frame, ifindex in before[1:]:
        flipped = [
            frame[:at] + bytes((frame[at] ^ 1 << bit,)) + frame[at + 1 :]
            for at in range(54)
            for bit in range(8)
        ]
        cut = [frame[:size] for size in range(len(frame))]
        for odd in (*flipped, *map(refreshed, flipped), *cut):
            short, long = begun(*before), begun(*before)
            way = process(odd, ifindex, TABLES[0], short, 0), decide(odd, ifindex, TABLES[0], long, 0)
            assert way[0] == way[1], odd.hex()
            assert (short.reasons, short.backends) == (long.reasons, long.backends), odd.hex()
