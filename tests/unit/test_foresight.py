"""Is it told rightly why a packet goes where it goes?"""

from __future__ import annotations

import balancer
import packets as p
import pytest

from dsrlb.admin.because import because
from dsrlb.datapath import process
from dsrlb.foresight.foretold import Foretold, Scene, Why, foretell
from dsrlb.foresight.layer import Layer
from dsrlb.foresight.overlay import overlay
from dsrlb.foresight.subject import Kind
from dsrlb.model import Persist, person_backend
from dsrlb.state import State
from dsrlb.table import ForwardingTable
from dsrlb.transition import carry

FIRST, SECOND, THIRD = balancer.ALL_BACKENDS


def told(frame: p.Packet, table: ForwardingTable, state: State, now_s: int = 0) -> Foretold:
    return foretell(bytes(frame), p.IFINDEX, Scene(table, now_s, lambda: overlay(state)))


def come(frame: p.Packet, table: ForwardingTable, state: State, now_s: int = 0) -> bytes:
    """Let a frame come; return the MAC that it goes to."""
    return process(bytes(frame), p.IFINDEX, table, state, now_s)[3][:6]


def sentences(foretold: Foretold) -> str:
    return "; ".join(because(foretold, person_backend))


def test_a_newcomer_waits_for_its_turn_in_what_is_told_as_well() -> None:
    state, table = State(), balancer.table(backends=[FIRST, SECOND], scheduler="lc")
    for sport in range(1000, 1060):
        come(p.tcp("S", sport), table, state)
        come(p.tcp("A", sport), table, state)
    table = carry(table, balancer.table(scheduler="lc"), 0)
    went = []
    for sport in range(2000, 2020):
        foretold = told(p.tcp("S", sport), table, state)
        went.append(come(p.tcp("S", sport), table, state))
        assert foretold.verdict[3][:6] == went[-1]
        assert foretold.why is Why.LEAST
    assert 0 < went.count(p.mac_bytes(p.BACKEND_MACS[2])) < len(went)


def test_a_flow_on_record_stays_though_its_backend_gets_nothing_new() -> None:
    state, table = State(), balancer.table(scheduler="rr")
    come(p.tcp("S"), table, state)
    come(p.tcp("A"), table, state)
    drained = carry(table, balancer.table(backends=[f"{FIRST},weight=0", SECOND], scheduler="rr"), 5)
    foretold = told(p.tcp("PA"), drained, state, 5)
    assert (foretold.why, foretold.target and foretold.target.weight) == (Why.RECORD, 0)
    assert "on record at 198.18.1.11: established, silent for 5 s, kept for 895 s yet" in sentences(foretold)


@pytest.mark.parametrize(
    ("down", "said"),
    [
        (["198.18.1.11"], "is not heeded: that backend takes what is under way by TCP alone"),
        ([], "has ended (closed), and this SYN opens another connection"),
    ],
)
def test_a_record_that_is_not_heeded_is_told_with_what_speaks_against_it(down: list[str], said: str) -> None:
    state, table = State(), balancer.table(scheduler="rr")
    come(p.tcp("S"), table, state)
    if not down:
        come(p.tcp("R"), table, state)
    table = balancer.table(scheduler="rr", down=down)
    foretold = told(p.tcp("S"), table, state)
    assert foretold.why is Why.TURN
    assert said in sentences(foretold)


def test_a_record_that_is_over_is_told() -> None:
    state, table = State(), balancer.table(scheduler="rr")
    come(p.tcp("S"), table, state)
    assert "is over: the flow was silent for 61 s" in sentences(told(p.tcp("S"), table, state, 61))


def test_a_client_that_stays_is_told_by_its_template() -> None:
    state, table = State(), balancer.table(scheduler="rr", persist=Persist(300))
    come(p.tcp("S", 1), table, state)
    foretold = told(p.tcp("S", 2), table, state, 10)
    assert foretold.why is Why.TEMPLATE
    assert "its client was at 198.18.1.11 lately, and stays there for 50 s yet" in sentences(foretold)


def test_where_slots_change_hands_a_flow_under_way_is_told_by_its_former_slot() -> None:
    state, before = State(), balancer.table(backends=[FIRST])
    after = carry(before, balancer.table(backends=[FIRST, SECOND]), 0)
    sport = next(
        one for one in range(1, 99) if come(p.tcp("S", one), after, State()) == p.mac_bytes(p.BACKEND_MACS[1])
    )
    new, old = (told(p.tcp(flags, sport), after, state) for flags in "SA")
    assert (new.why, old.why) == (Why.SLOT, Why.FORMER)
    assert "slots change hands: the flow's was 198.18.1.11's before" in sentences(old)
    assert "it gets a record" in sentences(new)


def test_a_servers_answer_is_told_as_a_reply() -> None:
    state = State()
    table = balancer.table([f"{p.VIP}:80"], [f"{p.SERVERS[0]},mac={p.SERVER_MACS[0]}"], mode="inline")
    come(p.tcp("S"), table, state)
    answer = (
        p.ether(p.SERVER_MACS[0], p.INNER_MAC)
        / p.IP(src=p.SERVERS[0], dst=p.CLIENT)
        / p.TCP(sport=80, dport=40_000, flags="SA")
    )
    foretold = foretell(bytes(answer), p.OTHER_IFINDEX, Scene(table, 0, lambda: overlay(state)))
    assert (foretold.subject.kind, foretold.verdict[1].word) == (Kind.REPLY, "reply_forwarded")
    assert "it is what 198.18.2.11 answers" in sentences(foretold)


def test_a_layer_answers_as_what_is_below_and_keeps_what_is_written() -> None:
    below = {1: "a", 2: "b"}
    over: Layer[int, str] = Layer(below.get, lambda: len(below))
    over[3] = "c"
    del over[1]
    assert over.setdefault(2, "x") == "b"
    assert over.pop(9, None) is None
    assert (1 in over, 2 in over, 3 in over, len(over)) == (False, True, True, 2)
    over[1] = "d"
    assert (over[1], len(over), below) == ("d", 3, {1: "a", 2: "b"})
    over.clear()
    assert (over.get(2), len(over)) == (None, 0)
