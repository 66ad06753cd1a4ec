"""Does a new table carry along just those former slots that flows without a record still need?"""

from __future__ import annotations

import balancer
import numpy as np
import pytest

from dsrlb.model import person_backend
from dsrlb.table import EMPTY, GONE, CompiledService, ForwardingTable, diff
from dsrlb.transition import carry, window_s

ONE, TWO, THREE = balancer.ALL_BACKENDS
VIP = "198.18.1.100:80"


def table(*backends: str, scheduler: str = "maglev", vip: str = VIP) -> ForwardingTable:
    return balancer.table([vip], backends, scheduler)


def only(made: ForwardingTable) -> CompiledService:
    (service,) = made.services.values()
    return service


def owners(service: CompiledService, slots: memoryview) -> list[str]:
    """Return the last digits of the backends in the slots; nothing where there is none."""
    names = [person_backend(target.key).rpartition(".")[2] for target in service.targets]
    return ["" if place == GONE else names[place] for place in slots]


def former(made: ForwardingTable) -> list[str]:
    service = only(made)
    assert service.former is not None
    return owners(service, service.former.slots)


def current(made: ForwardingTable) -> list[str]:
    return owners(only(made), only(made).slots)


def test_nothing_is_carried_while_nothing_changes_or_only_a_mac_does() -> None:
    first = carry(EMPTY, table(ONE, TWO), 0)
    again = carry(first, table(ONE, TWO), 5)
    moved = carry(again, table(ONE, "198.18.1.12,mac=02:00:c6:12:01:77"), 6)
    assert only(first).former is only(again).former is only(moved).former is None
    assert not diff(first, again)
    assert diff(first, moved)


def test_a_backend_that_is_added_leaves_the_former_slots_to_those_who_had_them() -> None:
    before = carry(EMPTY, table(ONE, THREE), 0)
    after = carry(before, table(ONE, TWO, THREE), 10)  # .13 is another index now
    assert former(after) == current(before)
    assert "12" in current(after)
    assert only(after).former.until_s == 10 + window_s(only(after)) == 911


def test_the_former_slots_stay_the_same_when_slots_change_again_and_time_begins_anew() -> None:
    first = carry(EMPTY, table(ONE, TWO), 0)
    second = carry(first, table(ONE, TWO, THREE), 100)
    third = carry(second, table(ONE, TWO + ",weight=9", THREE), 200)
    assert former(third) == former(second) == current(first)
    assert only(third).former.until_s == 200 + 901
    same = carry(third, table(ONE, TWO + ",weight=9", THREE), 300)
    assert not diff(third, same)


def test_the_former_slots_go_when_their_time_is_over_and_those_of_now_become_the_former() -> None:
    first = carry(EMPTY, table(ONE, TWO), 0)
    second = carry(first, table(ONE, TWO, THREE), 100)
    assert only(carry(second, table(ONE, TWO, THREE), 1000)).former is not None
    over = carry(second, table(ONE, TWO, THREE), 1001)
    assert only(over).former is None
    assert diff(second, over)
    late = carry(second, table(ONE, THREE, TWO + ",weight=0"), 1001)
    assert former(late) == current(second)


def test_a_change_that_is_taken_back_ends_the_transition_at_once() -> None:
    first = carry(EMPTY, table(ONE, TWO), 0)
    assert not diff(first, carry(carry(first, table(ONE, TWO, THREE), 1), table(ONE, TWO), 2))


def test_where_a_backend_is_gone_the_slots_of_now_are_the_former_ones() -> None:
    first = carry(EMPTY, table(ONE, TWO, THREE), 0)
    second = carry(first, table(ONE, TWO), 1)
    if only(second).former is not None:  # Maglev moves a few slots between those who stay
        assert "13" not in former(second)
        for was, before, now in zip(current(first), former(second), current(second), strict=True):
            assert before == (now if was == "13" else was)
    third = carry(second, table(ONE, TWO, THREE), 2)  # it is back, as another one: its flows were given up
    kept = former(second) if only(second).former is not None else current(second)
    assert former(third) == kept


def test_drained_and_silent_backends_are_still_the_former_ones() -> None:
    first = carry(EMPTY, table(ONE, TWO), 0)
    for changed in (table(ONE, TWO + ",weight=0"), table(ONE, "198.18.1.12")):
        assert former(carry(first, changed, 1)) == current(first)
    nobody = carry(first, table("198.18.1.11", "198.18.1.12"), 1)
    assert current(nobody) == []
    assert former(nobody) == current(first)
    assert not diff(first, carry(nobody, table(ONE, TWO), 2))


def test_at_the_start_silent_backends_are_waited_for() -> None:
    start = carry(EMPTY, table(ONE, "198.18.1.12"), 0)
    assert former(start) == current(table(ONE, TWO))
    assert only(carry(start, table(ONE, TWO), 1)).former is None


@pytest.mark.parametrize(("to", "carries"), [("rr", True), ("wlc", True), ("hash", True), ("maglev", False)])
def test_another_scheduler_inherits_the_flows_that_a_hash_left_without_a_record(
    to: str, carries: bool
) -> None:
    first = carry(EMPTY, table(ONE, TWO), 0)
    second = carry(first, table(ONE, TWO, scheduler=to), 1)
    assert (only(second).former is not None) == carries
    if carries:
        assert only(second).former.prefixes == only(first).prefixes


def test_flows_of_a_counter_all_have_records_so_nothing_is_carried() -> None:
    first = carry(EMPTY, table(ONE, TWO, scheduler="rr"), 0)
    for to in ("rr", "maglev"):
        assert only(carry(first, table(ONE, THREE, scheduler=to), 1)).former is None


def test_udp_is_waited_for_as_long_as_udp_may_be_silent() -> None:
    first = carry(EMPTY, table(ONE, TWO, vip="198.18.1.100:53/udp"), 0)
    second = carry(first, table(ONE, THREE, TWO, vip="198.18.1.100:53/udp"), 7)
    assert only(second).former.until_s == 7 + 301


def test_a_transition_of_thousand_backends_moves_indices_and_no_flows() -> None:
    many = [
        f"198.18.{4 + n // 250}.{1 + n % 250},mac=02:00:00:00:{n // 256:02x}:{n % 256:02x}"
        for n in range(1000)
    ]
    first = carry(EMPTY, table(*many[1:]), 0)
    second = carry(first, table(*many), 1)  # every index goes up by one
    assert only(second).former is not None
    was = np.frombuffer(only(first).slots, np.uint16)
    assert np.array_equal(np.frombuffer(only(second).former.slots, np.uint16), was + 1)


def test_a_service_whose_flows_are_all_on_record_carries_nothing_when_its_slots_change() -> None:
    def inline(*backends: str) -> ForwardingTable:
        return balancer.table([f"{VIP}/udp"], backends, mode="inline")

    after_restart = carry(EMPTY, inline(ONE, TWO), 0)
    drained = carry(after_restart, inline(ONE, TWO + ",weight=0"), 10)
    assert only(drained).former is None
