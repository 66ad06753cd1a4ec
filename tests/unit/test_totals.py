"""Do totals never go backwards, whatever engines and processes do?"""

from __future__ import annotations

from typing import Any

from engine_counts import MAPS, OTHER_MAPS, A, B, counted
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.control.totals import MOST_GONE, Totals
from dsrlb.engines.base import Counters
from dsrlb.flows import BackendCount
from dsrlb.model import Reason


def packets(totals: Totals, now: Counters) -> dict[Any, int]:
    return {names: count.packets for names, count in totals.look(now).backends.items()}


def after(totals: Totals, counts_in: str, now_in: str) -> Totals:
    """Return what the next process goes on from."""
    following = Totals()
    following.go_on(totals.kept(counts_in).as_text(), now_in)
    return following


def test_a_process_that_counts_from_zero_goes_on_from_the_one_before() -> None:
    totals = Totals()
    assert packets(totals, counted(a=10)) == {A: 10}
    following = after(totals, "", "")
    assert packets(following, counted(a=3)) == {A: 13}
    assert packets(after(following, "", ""), counted(a=1)) == {A: 14}


def test_what_maps_count_on_is_not_counted_twice() -> None:
    totals = Totals()
    totals.look(counted(forwarded=10, a=10))
    following = after(totals, MAPS, MAPS)
    seen = following.look(counted(forwarded=25, a=25))
    assert (seen.reasons[Reason.FORWARDED], seen.backends[A].packets) == (25, 25)


def test_maps_that_were_made_anew_count_beside_what_others_counted() -> None:
    totals = Totals()
    totals.look(counted(forwarded=10, a=10))
    seen = after(totals, MAPS, OTHER_MAPS).look(counted(forwarded=25, a=25))
    assert (seen.reasons[Reason.FORWARDED], seen.backends[A].packets) == (35, 35)
    seen = after(totals, MAPS, "").look(counted(forwarded=1, a=1))
    assert (seen.reasons[Reason.FORWARDED], seen.backends[A].packets) == (11, 11)


def test_a_place_in_the_maps_that_became_another_backend_s_is_counted_once() -> None:
    """Its former counts are this process's alone: the next one finds in the maps what came after."""
    totals = Totals()
    assert packets(totals, counted(ends=100, a=105)) == {A: 105}
    assert packets(after(totals, MAPS, MAPS), counted(a=7)) == {A: 107}


def test_a_backend_that_was_away_comes_back_with_what_it_had() -> None:
    totals = Totals()
    totals.look(counted(a=10, b=1))
    assert packets(totals, counted(b=2)) == {A: 10, B: 2}
    assert packets(totals, counted(a=4, b=2)) == {A: 14, B: 2}
    assert packets(totals, counted(a=3, b=2)) == {A: 17, B: 2}, "between two looks"
    assert packets(after(totals, "", ""), counted()) == {A: 17, B: 2}


def test_a_count_that_is_put_right_stands_still_meanwhile() -> None:
    totals = Totals()
    for said, told in ((5, 5), (4, 5), (6, 6)):
        assert totals.look(counted(forwarded=said)).reasons[Reason.FORWARDED] == told


def test_what_is_there_now_is_no_total() -> None:
    totals = Totals()
    totals.look(counted(held=3, a=1))
    seen = after(totals, "", "").look(counted(held=1, a=1))
    assert seen.reasons[Reason.FRAGMENT_HELD] == 1
    assert (seen.backends[A].active, seen.backends[A].inactive) == (1, 2)


def test_backends_that_are_gone_are_forgotten_when_there_are_too_many() -> None:
    totals = Totals()
    crowd = {(b"%d" % n, b"x"): BackendCount(1, 1, 1) for n in range(MOST_GONE + 10)}
    totals.look(counted()._replace(backends=crowd))
    totals.look(counted(a=1))
    assert len(totals.kept("").sent) <= MOST_GONE + 1


HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.sampled_from("ab"), st.integers(1, 50)),
        st.tuples(st.just("forget"), st.sampled_from("ab"), st.none()),
        st.tuples(st.sampled_from(("restart", "new maps", "told")), st.none(), st.none()),
    ),
    max_size=40,
)


@given(HAPPENINGS, st.sampled_from(("", MAPS)))
def test_no_total_that_was_told_is_ever_greater_than_a_later_one(
    happenings: list[tuple[str, str | None, int | None]], counts_in: str
) -> None:
    totals, engine, told = Totals(), {}, {}
    for what, name, number in happenings:
        if what == "count" and name is not None:
            engine[name] = engine.get(name, 0) + (number or 0)
        elif what == "forget" and name is not None:
            engine.pop(name, None)
        elif what in ("restart", "new maps"):
            totals.look(counted(sum(engine.values()), **engine))  # as a scrape, or the last one, does
            lasts = counts_in and what == "restart"
            engine = engine if lasts else {}
            totals = after(totals, counts_in, counts_in if lasts else counts_in and OTHER_MAPS)
            counts_in = counts_in if lasts or not counts_in else OTHER_MAPS
        seen = totals.look(counted(**engine))
        now = {names: count.packets for names, count in seen.backends.items()}
        assert all(now[names] >= before for names, before in told.items())
        told = now
