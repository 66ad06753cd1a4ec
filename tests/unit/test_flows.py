"""Does the flow table remember each flow for as long as it lives, and no more than fits?"""

from __future__ import annotations

import pytest

from dsrlb import flows
from dsrlb.flows import (
    TIMEOUT_S,
    BackendCount,
    Flow,
    FlowState,
    FlowTable,
    Translation,
    begins_anew,
    by_state,
    first_state,
    next_state,
)
from dsrlb.model import Timeouts
from dsrlb.ports import COUNT
from dsrlb.wire.l4 import ACK, FIN, RST, SYN

PSH = 0x08
SERVER = bytes(16)
UDP, SYN_RECEIVED, ESTABLISHED, FIN_WAIT, CLOSED = FlowState


def after(*packets: int | None) -> FlowState:
    """Return the state of a flow after these packets' flags, the first one first (None: UDP)."""
    state = first_state(packets[0])
    for flags in packets[1:]:
        assert flags is not None
        state = next_state(state, flags)
    return FlowState(state)


@pytest.mark.parametrize(
    ("packets", "state"),
    [
        ((None,), UDP),
        ((SYN,), SYN_RECEIVED),
        ((SYN, SYN), SYN_RECEIVED),
        ((SYN | 0xC0,), SYN_RECEIVED),  # with ECN's two flags
        ((SYN, ACK), ESTABLISHED),
        ((SYN, ACK | PSH, ACK), ESTABLISHED),
        ((SYN, ACK, SYN), ESTABLISHED),  # a forged SYN does not end a connection
        ((SYN, ACK, ACK | FIN), FIN_WAIT),
        ((SYN, ACK, ACK | FIN, ACK), FIN_WAIT),  # half closed: the server may go on for long
        ((SYN, ACK, RST), CLOSED),
        ((SYN, RST | ACK), CLOSED),
        ((SYN, ACK, ACK | FIN, RST), CLOSED),
        ((SYN, ACK, RST, ACK | FIN), CLOSED),
        ((SYN, ACK, ACK | FIN | RST), CLOSED),
        ((SYN, ACK | FIN), FIN_WAIT),
        ((RST,), CLOSED),
        ((ACK | FIN,), FIN_WAIT),
        ((ACK, ACK), ESTABLISHED),  # under way before the balancer was started
    ],
)
def test_the_client_s_packets_tell_how_far_a_flow_has_come(
    packets: tuple[int | None, ...], state: FlowState
) -> None:
    assert after(*packets) is state


@pytest.mark.parametrize("state", FlowState)
def test_a_flow_is_over_when_it_has_been_silent_for_longer_than_its_state_allows(state: FlowState) -> None:
    flow = record(state, 1000)
    assert not flow.is_over(1000 + TIMEOUT_S[state])
    assert flow.is_over(1001 + TIMEOUT_S[state])


def test_the_time_outs_are_those_of_ipvs_unless_a_service_says_otherwise() -> None:
    ipvs = {UDP: 300, SYN_RECEIVED: 60, ESTABLISHED: 900, FIN_WAIT: 120, CLOSED: 10}
    assert dict(zip(FlowState, TIMEOUT_S, strict=True)) == ipvs
    own = Flow(SERVER, ESTABLISHED, 1000, BackendCount(), by_state(Timeouts(established_s=5)))
    assert not own.is_over(1005)
    assert own.is_over(1006)


@pytest.mark.parametrize(
    ("state", "flags", "then"),
    [
        (SYN_RECEIVED, SYN | ACK, SYN_RECEIVED),  # answers a forged SYN as well
        (SYN_RECEIVED, ACK, SYN_RECEIVED),
        (SYN_RECEIVED, RST | ACK, CLOSED),  # nobody listens
        (ESTABLISHED, ACK | PSH, ESTABLISHED),
        (ESTABLISHED, FIN | ACK, FIN_WAIT),
        (ESTABLISHED, RST, CLOSED),
        (FIN_WAIT, ACK, FIN_WAIT),
        (FIN_WAIT, RST, CLOSED),
        (CLOSED, ACK, CLOSED),
        (CLOSED, FIN | ACK, CLOSED),
    ],
)
def test_a_server_s_packets_end_a_connection_and_never_prove_one(
    state: FlowState, flags: int, then: FlowState
) -> None:
    assert next_state(state, flags, from_server=True) == then


@pytest.mark.parametrize("state", FlowState)
@pytest.mark.parametrize("flags", [SYN, SYN | 0xC0, SYN | ACK, ACK, FIN | ACK, RST, 0])
def test_only_a_syn_alone_opens_a_connection_anew_and_only_over_one_that_has_ended(
    state: FlowState, flags: int
) -> None:
    opens = flags & (SYN | ACK) == SYN
    assert begins_anew(state, flags) == (opens and state in (FIN_WAIT, CLOSED))


def key(number: int) -> bytes:
    return number.to_bytes(40, "big")


def record(state: int, now_s: int, server: bytes = SERVER, count: BackendCount | None = None) -> Flow:
    return Flow(server, state, now_s, BackendCount() if count is None else count)


def filled(count: int, state: int = ESTABLISHED, now_s: int = 0, max_flows: int = 100) -> FlowTable:
    table = FlowTable(max_flows)
    for number in range(count):
        table.insert(key(number), record(state, now_s))
    return table


def swept(table: FlowTable, now_s: int, most: int = flows.SWEEP_FLOWS) -> int:
    """Expire until the whole table has been looked at; return how many flows went."""
    calls = 2 + 2 * (len(table) // most + 1)
    return sum(table.expire(now_s, most) for _ in range(calls))


def test_a_full_table_refuses_new_flows_and_counts_them_and_keeps_the_old_ones() -> None:
    table = filled(100)
    assert not table.insert(key(100), record(SYN_RECEIVED, 0))
    assert (len(table), table.refused, table.get(key(100))) == (100, 1, None)
    assert table.insert(key(99), record(SYN_RECEIVED, 0, bytes(15) + b"\x01"))  # a known flow may change
    assert (len(table), table.refused) == (100, 1)


def test_expiry_forgets_what_is_over_and_nothing_else() -> None:
    table = filled(60, ESTABLISHED)
    for number in range(60, 100):
        table.insert(key(number), record(CLOSED, 0))
    assert swept(table, TIMEOUT_S[CLOSED]) == 0
    assert swept(table, TIMEOUT_S[CLOSED] + 1) == 40
    assert {number for number in range(100) if table.get(key(number))} == set(range(60))
    assert swept(table, TIMEOUT_S[ESTABLISHED] + 1) == 60
    assert len(table) == 0


@pytest.mark.parametrize("most", [1, 7, 100])
def test_one_call_of_expiry_looks_at_a_bounded_number_of_flows(most: int) -> None:
    table = filled(100, CLOSED)
    gone = [table.expire(1000, most) for _ in range(2 * 100 // most + 4)]
    assert max(gone) <= most
    assert sum(gone) == 100


def test_a_sweep_goes_on_while_flows_come_and_go() -> None:
    table = filled(50, CLOSED)
    table.expire(0, 10)
    table.insert(key(50), record(ESTABLISHED, 1000))
    assert swept(table, 1000, 10) == 50
    assert [flow_key for flow_key, _ in table] == [key(50)]


def test_what_is_over_makes_room_again() -> None:
    table = filled(100, CLOSED)
    swept(table, 1000)
    assert table.insert(key(200), record(UDP, 1000))


def test_a_flow_is_counted_for_its_backend_from_the_moment_it_is_recorded_until_it_is_forgotten() -> None:
    table, one, other = FlowTable(2), BackendCount(), BackendCount()

    def live() -> list[tuple[int, int]]:
        return [(count.active, count.inactive) for count in (one, other)]

    flow = record(SYN_RECEIVED, 0, count=one)
    table.insert(key(1), flow)
    assert live() == [(0, 1), (0, 0)]
    flow.enter(ESTABLISHED)
    flow.enter(ESTABLISHED)
    assert live() == [(1, 0), (0, 0)]
    flow.enter(FIN_WAIT)
    table.insert(key(2), record(UDP, 0, count=other))
    assert not table.insert(key(3), record(UDP, 0, count=one))  # no room
    assert live() == [(0, 1), (1, 0)]
    table.insert(key(1), record(ESTABLISHED, 0, count=other))  # the port is used again
    assert live() == [(0, 0), (2, 0)]
    table.forget(key(2))
    table.forget(key(2))
    assert live() == [(0, 0), (1, 0)]
    swept(table, TIMEOUT_S[ESTABLISHED] + 1)  # its FIN was lost
    assert live() == [(0, 0), (0, 0)]


def translated(table: FlowTable, key: bytes, reply_key: bytes, has_port: bool = False) -> Flow:
    """Record a flow with a second name."""
    assert table.insert(key, record(SYN_RECEIVED, 0))
    flow = table.get(key)
    assert flow is not None
    table.translate(flow, Translation(key, reply_key, 1, bytes(14), has_port))
    return flow


def test_a_translated_flow_is_found_by_both_names_until_it_ends() -> None:
    table = FlowTable()
    flow = translated(table, b"request", b"reply")
    assert table.replies == {b"reply": flow}
    table.insert(b"request", record(SYN_RECEIVED, 5))  # the client uses its port again
    assert table.replies == {}
    translated(table, b"request", b"another")
    table.expire(0)  # begins a sweep
    assert table.expire(1000) == 1
    assert (table.replies, len(table)) == ({}, 0)


def test_a_port_goes_back_when_its_flow_ends() -> None:
    table, name = FlowTable(), bytes(40)
    taken = [table.ports.take(name, 0) for _ in range(COUNT)]
    assert table.ports.take(name, 0) is None
    assert taken[0] is not None
    translated(table, b"request", taken[0], has_port=True)
    table.insert(b"request", record(SYN_RECEIVED, 1))
    assert table.ports.take(name, 0) == taken[0]
