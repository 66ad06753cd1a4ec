"""Does a balancer that starts again know every flow that the one before it knew?"""

from __future__ import annotations

import balancer
import packets as p
import pytest
from flowing import ONE, SERVERS, SNAT, THREE, TWO, goes_to, opened, segment, table

from dsrlb.engines.records import pack, restore, unpack
from dsrlb.flows import FlowTable
from dsrlb.model import ModeOptions, Persist, Reason
from dsrlb.state import State
from dsrlb.table import EMPTY, ForwardingTable
from dsrlb.transition import carry


def started_again(state: State, was: ForwardingTable, new: ForwardingTable) -> tuple[ForwardingTable, State]:
    fresh = State()
    return carry(restore(unpack(pack(state, was, 5, "here")), fresh, 6), new, 6), fresh


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "lc", "wlc", "hash", "maglev"])
@pytest.mark.parametrize(
    ("mode", "options"),
    [("l2dsr", ModeOptions()), ("inline", ModeOptions()), ("inline", SNAT)],
    ids=["l2dsr", "inline", "snat"],
)
def test_every_flow_goes_on_as_it_was(scheduler: str, mode: str, options: ModeOptions) -> None:
    backends = SERVERS if mode == "inline" else balancer.ALL_BACKENDS

    def made() -> ForwardingTable:
        return table(*backends, scheduler=scheduler, mode=mode, options=options)

    state, first = State(), carry(EMPTY, made(), 0)
    before = opened(first, state)
    again, fresh = started_again(state, first, made())
    assert goes_to(again, fresh, "A", 7) == before
    assert len(fresh.flows) == len(state.flows)
    assert [one.active for one in fresh.backends.values()] == [one.active for one in state.backends.values()]


def test_an_answer_that_comes_first_finds_its_client() -> None:
    made = table(*SERVERS, scheduler="rr", mode="inline", options=SNAT)
    state = State()
    opened(made, state)
    again, fresh = started_again(state, made, made)
    for name, flow in state.flows.replies.items():
        server, own = str(p.SERVERS[0]), int.from_bytes(name[34:36], "big")
        if flow.backend != next(iter(again.services.values())).targets[0].key:
            continue
        answer = p.ether(p.SERVER_MACS[0], p.INNER_MAC) / p.IP(src=server, dst=p.VIP)
        verdict = balancer.one(
            answer / p.TCP(sport=8080, dport=own, flags="A"), again, fresh, 7, p.OTHER_IFINDEX
        )
        assert verdict[1] is Reason.REPLY_FORWARDED


def test_no_port_that_stands_in_for_a_clients_is_given_twice_and_the_head_goes_on() -> None:
    made = table(SERVERS[0], scheduler="rr", mode="inline", options=SNAT)
    state = State()
    opened(made, state)
    again, fresh = started_again(state, made, made)
    held = set(fresh.flows.replies)
    assert held == set(state.flows.replies)
    balancer.one(segment(5000, "S"), again, fresh, 7)
    balancer.one(segment(5000, "S"), made, state, 7)
    assert set(fresh.flows.replies) == set(state.flows.replies) > held


def test_slots_that_were_changing_hands_go_on_changing_hands() -> None:
    state, first = State(), carry(EMPTY, table(ONE, THREE), 0)
    before = opened(first, state)
    second = carry(first, table(ONE, TWO, THREE), 5)
    again, fresh = started_again(state, second, table(ONE, TWO, THREE))
    assert goes_to(again, fresh, "A", 7) == before
    (was,), (now,) = second.services.values(), again.services.values()
    assert was.former == now.former is not None


def test_a_backend_added_while_nobody_was_there_takes_nothing_away() -> None:
    state, first = State(), carry(EMPTY, table(ONE, THREE), 0)
    before = opened(first, state)
    assert len(state.flows) == 0
    again, fresh = started_again(state, first, table(ONE, TWO, THREE))
    assert goes_to(again, fresh, "A", 7) == before


def test_a_backend_that_was_down_still_is_and_its_slots_are_where_they_were() -> None:
    state, first = State(), carry(EMPTY, table(ONE, TWO, down=["198.18.1.11"]), 0)
    before = opened(first, state)
    left = unpack(pack(state, first, 5, "here"))
    (service,) = restore(left, State(), 6).services.values()
    assert [target.up for target in service.targets] == [False, True]
    again, fresh = started_again(state, first, table(ONE, TWO))
    assert goes_to(again, fresh, "A", 7) == before


def test_a_client_stays_with_its_server_and_turns_go_on() -> None:
    made = table(ONE, TWO, THREE, scheduler="rr", persist=Persist(600, 32, 128))
    state = State()
    balancer.feed([segment(4000, "S"), segment(4000, "A")], made, state, 5)
    again, fresh = started_again(state, made, made)
    own = balancer.backend_of(balancer.one(segment(4000, "A"), made, state, 6))
    assert balancer.backend_of(balancer.one(segment(4999, "S"), again, fresh, 6)) == own
    assert fresh.turns == state.turns


def test_what_is_over_or_does_not_fit_is_left_out() -> None:
    made, state = table(ONE, TWO, scheduler="rr"), State()
    opened(made, state)
    packed = pack(state, made, 5, "here")
    late, small = State(), State(flows=FlowTable(10))
    restore(unpack(packed), late, 10_000)
    restore(unpack(packed), small, 6)
    assert (len(late.flows), len(small.flows), small.flows.refused) == (0, 10, 0)


def test_slots_for_which_there_is_no_room_begin_as_at_a_first_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsrlb.engines.records.SLOTS_MOST", 100)
    state, first = State(), table(ONE, THREE)
    opened(first, state)
    assert not restore(unpack(pack(state, first, 5, "here")), State(), 6).services
