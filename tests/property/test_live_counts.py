"""The live counts of flows are those of the records, whatever happens, and end at nothing."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import balancer
import packets as p
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrlb.flows import BackendCount, FlowState, FlowTable
from dsrlb.least import Race, lightest, prepare
from dsrlb.state import State, expire

LAW = settings(max_examples=100, deadline=None, derandomize=True)
ACTIVE = (FlowState.UDP, FlowState.ESTABLISHED)


def recounted(state: State) -> dict[bytes, Counter[str]]:
    """Return active and inactive flows by backend, by looking at every record."""
    found: dict[bytes, Counter[str]] = {}
    for _, flow in state.flows:
        found.setdefault(flow.backend, Counter())["active" if flow.state in ACTIVE else "inactive"] += 1
    return found


def live(state: State) -> dict[bytes, Counter[str]]:
    """Return active and inactive flows by backend as they are counted, without those of none."""
    found: dict[bytes, Counter[str]] = {}
    for (_, backend), count in state.backends.items():
        assert min(count.active, count.inactive) >= 0
        found[backend] = found.get(backend, Counter()) + Counter(
            {"active": count.active, "inactive": count.inactive}
        )
    return {backend: counts for backend, counts in found.items() if counts}


def tables(scheduler: str) -> list[object]:
    one, two, three = balancer.ALL_BACKENDS
    return [
        balancer.table(scheduler=scheduler),
        balancer.table(backends=(one, two + ",weight=0", three), scheduler=scheduler),
        balancer.table(backends=(one, "198.18.1.12", three), scheduler=scheduler),  # unresolved
        balancer.table(backends=(two, three), scheduler=scheduler),
    ]


TABLES = {name: tables(name) for name in ("rr", "lc", "wlc", "maglev")}
FRAMES = st.tuples(st.sampled_from(["S", "A", "PA", "FA", "R", "UDP"]), st.integers(40_000, 40_005))
STEPS = st.lists(
    st.tuples(FRAMES, st.integers(0, 3), st.sampled_from([0, 0, 0, 1, 9, 61, 130, 301, 901])), max_size=40
)


@LAW
@given(st.sampled_from(sorted(TABLES)), STEPS, st.sampled_from([3, 100]))
def test_the_counts_are_those_of_the_records_and_go_back_to_nothing(
    scheduler: str, steps: list[tuple[tuple[str, int], int, int]], max_flows: int
) -> None:
    state, now_s = State(flows=FlowTable(max_flows)), 0
    for (flags, sport), which, later_s in steps:
        now_s += later_s
        expire(state, now_s)
        frame = p.udp(sport) if flags == "UDP" else p.tcp(flags, sport)
        balancer.one(frame, TABLES[scheduler][which], state, now_s)  # type: ignore[arg-type]
        assert live(state) == recounted(state)
    for _ in range(3):
        expire(state, now_s + 1000)
    assert live(state) == {}
    assert len(state.flows) == 0


@LAW
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 600), st.integers(0, 4)), min_size=1, max_size=12),
    st.integers(0, 11),
)
def test_the_lightest_is_the_one_with_the_least_load_for_its_share(
    backends: list[tuple[int, int, int]], first: int
) -> None:
    """Told by fractions, as IPVS would if the kernel had them."""
    race = Race()
    counts = tuple(BackendCount(active=active, inactive=inactive) for active, inactive, _ in backends)
    names = tuple(bytes([place]) for place in range(len(backends)))
    prepare(race, object(), names, tuple(share for _, _, share in backends), counts)
    order = [place for place in (*range(first, len(backends)), *range(first)) if place in race.running]
    loads = {
        place: Fraction(backends[place][0] * 256 + backends[place][1], backends[place][2]) for place in order
    }
    assert lightest(race, order) == (min(order, key=lambda place: loads[place]) if order else -1)


@pytest.mark.parametrize("scheduler", ["lc", "wlc"])
def test_new_connections_avoid_a_server_that_holds_its_own_in_the_right_proportion(scheduler: str) -> None:
    state, table = State(), balancer.table(scheduler=scheduler)
    held: Counter[str] = Counter()
    for sport in range(1000, 1030):
        owner = balancer.backend_of(balancer.one(p.tcp("S", sport), table, state))
        balancer.one(p.tcp("A", sport), table, state)
        held[owner] += 1
        if owner != p.BACKENDS[0]:  # all but the first close theirs at once
            balancer.one(p.tcp("FA", sport), table, state, 1)
    assert held[p.BACKENDS[0]] <= 2
    for sport in range(2000, 2100):  # these stay
        balancer.one(p.tcp("S", sport), table, state, 1)
        balancer.one(p.tcp("A", sport), table, state, 1)
    active = [state.backends[key].active for key in sorted(state.backends)]
    assert sum(active) == 100 + held[p.BACKENDS[0]]
    assert max(active) - min(active) <= 1
