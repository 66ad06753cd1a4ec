"""Does a flow keep its backend, and is it remembered for as long as its state says?"""

from __future__ import annotations

import balancer
import packets as p
import pytest
from datapath_laws import LAW, NAMES, SLOW_LAW, TABLES, WEIGHTS, table_of
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.flows import TIMEOUT_S, FlowState, FlowTable
from dsrlb.model import Action, Reason
from dsrlb.state import State, expire
from dsrlb.transition import carry

LATER_FLAGS = st.sampled_from(["A", "PA", "FA", "A", "PAU", "SA", ""])


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
