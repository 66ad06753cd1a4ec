"""Does least connection give each new flow to the backend that has the least to do?"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest

from dsrlb.flows import BackendCount
from dsrlb.least import EXACT_MOST, Race, pick_least, prepare
from dsrlb.wire.flowhash import flow_hash


def race_of(loads: dict[str, tuple[int, int]], shares: dict[str, int] | None = None) -> Race:
    """Return a race among named backends with these active and inactive connections."""
    race = Race()
    join(race, loads, shares)
    return race


def join(race: Race, loads: dict[str, tuple[int, int]], shares: dict[str, int] | None = None) -> None:
    """Run the race from now on among these; a backend that runs already keeps its connections."""
    kept = dict(zip(race.names, race.counts, strict=True))
    names = tuple(name.encode() for name in loads)
    counts = tuple(
        kept.get(name, BackendCount(active=active, inactive=inactive))
        for name, (active, inactive) in zip(names, loads.values(), strict=True)
    )
    prepare(race, object(), names, tuple((shares or {}).get(name, 1) for name in loads), counts)


def picks(race: Race, number: int, *, lasting: bool = True) -> str:
    """Return the names of the backends that so many flows get; lasting ones stay connected."""
    chosen = ""
    slots = list(race.running)
    for turn in range(number):
        place = pick_least(race, slots, flow_hash(turn.to_bytes(40, "big")))
        race.counts[place].active += lasting
        chosen += race.names[place].decode()
    return chosen


def test_an_active_connection_weighs_as_much_as_256_inactive_ones() -> None:
    assert picks(race_of({"a": (1, 0), "b": (0, 255)}), 1) == "b"
    assert picks(race_of({"a": (1, 0), "b": (0, 257)}), 1) == "a"


def test_the_load_is_divided_by_the_share() -> None:
    assert picks(race_of({"a": (5, 0), "b": (2, 0)}, {"a": 3}), 1) == "a"
    assert picks(race_of({"a": (7, 0), "b": (2, 0)}, {"a": 3}), 1) == "b"
    chosen = picks(race_of({"a": (0, 0), "b": (0, 0), "c": (0, 0)}, {"a": 3, "b": 2}), 600)
    assert Counter(chosen) == {"a": 300, "b": 200, "c": 100}


def test_a_backend_without_a_share_gets_nothing() -> None:
    chosen = picks(race_of({"a": (9, 0), "b": (0, 0), "c": (9, 0)}, {"b": 0}), 100)
    assert Counter(chosen) == {"a": 50, "c": 50}


def test_idle_backends_are_taken_in_turn() -> None:
    assert picks(race_of({"a": (0, 0), "b": (0, 0), "c": (0, 0)}), 6, lasting=False) == "abcabc"
    assert picks(race_of({"a": (0, 0), "b": (0, 0), "c": (9, 0)}), 4, lasting=False) == "abab"


def test_a_backend_that_holds_its_connections_is_passed_over_until_the_others_have_as_many() -> None:
    race = race_of({"a": (10, 0), "b": (0, 0), "c": (0, 0)})
    assert Counter(picks(race, 20)) == {"b": 10, "c": 10}
    assert Counter(picks(race, 30)) == {"a": 10, "b": 10, "c": 10}


def test_a_newcomer_gets_half_more_than_its_fair_share_until_it_has_caught_up() -> None:
    race = race_of({"a": (1000, 0), "b": (1000, 0), "c": (1000, 0)})
    picks(race, 3)
    join(race, {"a": (0, 0), "b": (0, 0), "c": (0, 0), "d": (0, 0)})
    assert 25 <= picks(race, 100).count("d") <= 39
    assert "dd" not in picks(race, 1000)
    picks(race, 6000)
    loads = [count.active for count in race.counts]
    assert max(loads) - min(loads) <= 1
    assert Counter(picks(race, 400)) == dict.fromkeys("abcd", 100)


@pytest.mark.parametrize(("others", "share", "most"), [(1, 1, 76), (9, 1, 16), (3, 3, 76), (1, 3, 100)])
def test_a_newcomer_s_fair_share_goes_by_its_weight(others: int, share: int, most: int) -> None:
    old = {str(number): (1000, 0) for number in range(others)}
    race = race_of(old)
    join(race, {**old, "n": (0, 0)}, {"n": share})
    assert 100 * share // (others + share) <= picks(race, 100).count("n") <= most


def test_a_backend_that_comes_back_with_its_connections_is_no_newcomer_for_long() -> None:
    race = race_of({"a": (50, 0), "b": (50, 0), "c": (50, 0)})
    picks(race, 1)
    join(race, {"a": (0, 0), "b": (0, 0), "c": (0, 0)}, {"c": 0})
    picks(race, 1)
    join(race, {"a": (0, 0), "b": (0, 0), "c": (0, 0)})
    assert Counter(picks(race, 31)) == {"a": 10, "b": 10, "c": 11}
    assert not race.due


def test_newcomers_among_themselves_and_the_first_backends_of_all_share_evenly() -> None:
    race = race_of({"a": (0, 0), "b": (0, 0)})
    assert Counter(picks(race, 10)) == {"a": 5, "b": 5}
    join(race, {"x": (0, 0), "y": (0, 0)})
    assert Counter(picks(race, 10)) == {"x": 5, "y": 5}


def test_one_that_leaves_and_others_that_move_up_keep_what_is_theirs() -> None:
    race = race_of({"a": (100, 0), "b": (100, 0), "c": (100, 0)})
    join(race, {"a": (0, 0), "b": (0, 0), "c": (0, 0), "d": (0, 0)})
    picks(race, 10)
    join(race, {"b": (0, 0), "c": (0, 0), "d": (0, 0)})  # d's place is another one now
    assert 30 <= picks(race, 100).count("d") <= 51


def test_of_many_backends_a_few_are_looked_at_and_the_loads_stay_close() -> None:
    number = 10 * EXACT_MOST
    race = race_of({f"<{place:03}>": (0, 0) for place in range(number)})
    picks(race, 20 * number)
    loads = [count.active for count in race.counts]
    assert sum(loads) == 20 * number
    assert max(loads) <= 24
    assert Fraction(sum(load < 16 for load in loads), number) < Fraction(5, 100)


def test_a_newcomer_among_many_gets_half_more_than_its_fair_share_at_most() -> None:
    names = [f"<{place:03}>" for place in range(100)]
    race = race_of(dict.fromkeys(names, (1000, 0)))
    join(race, {**dict.fromkeys(names, (0, 0)), "n": (0, 0)})
    assert 1 <= picks(race, 2000).count("n") <= 31
