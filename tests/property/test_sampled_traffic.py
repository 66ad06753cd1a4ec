"""The data path looks at every handshake by whatever way its packets go, and keeps nothing of who is gone."""

from __future__ import annotations

import balancer
import packets
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrlb.datapath import process
from dsrlb.sampling import HandshakeTable
from dsrlb.state import State, expire, forget_others
from dsrlb.table import ForwardingTable
from dsrlb.wire.l4 import flow_key

LAW = settings(max_examples=200, deadline=None, derandomize=True)
VIP = (f"{packets.VIP}:80",)


def tables(scheduler: str) -> list[ForwardingTable]:
    """Return a service that is looked at, the same one without a server, and the same one left alone."""
    less = balancer.ALL_BACKENDS[1:]
    return [
        balancer.table(VIP, scheduler=scheduler, samples=True),
        balancer.table(VIP, less, scheduler, samples=True),
        balancer.table(VIP, scheduler=scheduler),
    ]


TABLES = {scheduler: tables(scheduler) for scheduler in ("rr", "maglev")}
FLAGS = st.sampled_from(["S", "S", "A", "A", "PA", "FA", "R", ""])
PACKETS = st.tuples(FLAGS, st.integers(40_000, 40_003))


@LAW
@given(st.lists(st.tuples(PACKETS, st.sampled_from([0, 100, 2_000_000, 4_000_000])), max_size=40))
def test_each_packet_of_a_handshake_is_looked_at(steps: list[tuple[tuple[str, int], int]]) -> None:
    """Where the slots alone tell the backend, all others of a flow go the short way, proven or not."""
    table, state, all_of_them, now_us = TABLES["maglev"][0], State(), HandshakeTable(), 0
    (service,) = table.services.values()
    for (flags, sport), later_us in steps:
        now_us += later_us
        state.clock_us = now_us
        frame = packets.tcp(flags, sport)
        verdict = process(bytes(frame), packets.IFINDEX, table, state, now_us // 1_000_000)
        target = next(one for one in service.targets if one.hop and one.hop.dst_mac == verdict[3][:6])
        ends = bytes(10) + b"\xff\xff" + verdict[3][26:30], service.key[:16]
        key = flow_key(*ends, verdict[3][34:38], 6)
        all_of_them.request(key, (service.key, target.key), int(frame[packets.TCP].flags), now_us)
    assert state.handshakes.seen(now_us) == all_of_them.seen(now_us)


@LAW
@given(
    st.sampled_from(sorted(TABLES)),
    st.lists(st.tuples(PACKETS, st.integers(0, 2), st.sampled_from([0, 0, 0, 1, 4, 61])), max_size=40),
)
def test_nothing_is_kept_of_backends_that_are_gone_or_looked_at_no_more(
    scheduler: str, steps: list[tuple[tuple[str, int], int, int]]
) -> None:
    state, now_s = State(), 0
    for (flags, sport), number, later_s in steps:
        now_s += later_s
        state.clock_us, table = now_s * 1_000_000, TABLES[scheduler][number]
        process(bytes(packets.tcp(flags, sport)), packets.IFINDEX, table, state, now_s)
        forget_others(state, table)
        (service,) = table.services.values()
        here = {(service.key, backend) for backend in service.by_key}
        may_be_known = (state.backends.keys() - here) | (here if service.samples else set())
        known = state.handshakes.tallies.keys() | {one.names for one in state.handshakes.cells.values()}
        assert known <= may_be_known
    for _ in range(2):  # the first call may only begin a round
        expire(state, now_s + 10_000)
    forget_others(state, TABLES[scheduler][2])
    assert not state.handshakes.tallies and not state.handshakes.cells
