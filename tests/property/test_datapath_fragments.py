"""Do all pieces of a datagram reach one backend, from a memory that is bounded?"""

from __future__ import annotations

import balancer
import packets as p
from datapath_laws import LAW, NAMES, TABLES
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.datapath import process
from dsrlb.fragments import FragmentTable
from dsrlb.state import State, expire


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
