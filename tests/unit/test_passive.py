"""Is a server left when its clients' handshakes fail, unlike the others', and never otherwise?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from handshaking import World, service_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrlb.control.passive import Passive
from dsrlb.ejections import Ejections
from dsrlb.outliers import Evidence, outliers
from dsrlb.sampling import BUCKETS, Handshakes
from dsrlb.standing import AS_CONFIGURED, Ejection, Health, Names, Wish


def times_away_s(it: World) -> list[int]:
    """Return how long each time was for which the one server that is ever left is left."""
    return [
        round(back - gone) for (gone, _, _), (back, _, _) in zip(it.said[::2], it.said[1::2], strict=False)
    ]


SEEDS = pytest.mark.parametrize("seed", range(5))


def world(servers: int = 4, seed: int = 1, a_second: float = 100, warm_s: float = 3) -> World:
    it = World(service_of(servers), seed)
    if a_second:
        it.traffic(a_second)
    it.run(warm_s)
    assert not it.said
    return it


def left_after_s(it: World, number: int, within_s: float = 30) -> float:
    """Kill a server and return how long it is until it is left."""
    began, it.servers[number].takes_s = it.now_s, None
    it.run(within_s)
    return next((at - began for at, one, out in it.said if one == number and out), float("inf"))


@SEEDS
@pytest.mark.parametrize(("servers", "a_second"), [(2, 100), (3, 100), (4, 100), (4, 1000), (2, 60)])
def test_a_server_that_dies_under_load_is_left_within_a_second(
    seed: int, servers: int, a_second: float
) -> None:
    it = world(servers, seed, a_second)
    assert left_after_s(it, 1, 2) <= 1.0
    assert it.out == {1}


@SEEDS
def test_nor_does_it_take_longer_soon_after_the_clients_came(seed: int) -> None:
    assert left_after_s(world(3, seed, warm_s=0.6), 0, 2) <= 1.1


@SEEDS
def test_nor_where_all_clients_wait_for_the_dead_server_at_once(seed: int) -> None:
    it = world(3, seed, a_second=0, warm_s=0)
    it.clients(16, 0.02)
    it.run(2)
    assert left_after_s(it, 1, 2) <= 1.0


@SEEDS
def test_a_server_that_refuses_where_that_is_seen_is_left_at_once(seed: int) -> None:
    it = World(service_of(3, mode="inline"), seed, resets=True)
    it.traffic(100)
    it.run(2)
    assert left_after_s(it, 2, 2) <= 0.75


@SEEDS
def test_two_of_four_that_die_together_are_both_left(seed: int) -> None:
    it = world(4, seed)
    it.servers[0].takes_s = None
    assert left_after_s(it, 3, 2) <= 1.0
    assert it.out == {0, 3}


def test_it_says_why_and_until_when() -> None:
    it = world()
    left_after_s(it, 1, 1)
    standing = it.standings[it.names[1]]
    assert standing.why_ejected.endswith("handshakes failed (others 0 %)")
    assert standing.ejected_until_s - it.now_s == pytest.approx(5, abs=1)


@SEEDS
def test_a_server_that_is_dead_from_the_start_is_left_too(seed: int) -> None:
    it = World(service_of(3), seed)
    it.servers[0].takes_s = None
    it.traffic(100)
    it.run(2)
    assert it.out == {0}


@SEEDS
def test_a_flood_of_syns_that_nobody_goes_on_with_ejects_nobody(seed: int) -> None:
    it = world(4, seed)
    it.traffic(2000, dead=True)
    it.run(15)
    assert not it.said


@SEEDS
def test_nor_does_one_at_a_single_server_that_goes_on_answering_its_clients(seed: int) -> None:
    it = world(4, seed)
    it.traffic(1000, at=2, dead=True)
    it.run(15)
    assert not it.said


@SEEDS
@pytest.mark.parametrize("takes_s", [0.05, 0.18, 0.3, 0.45])
def test_a_server_that_is_slow_or_becomes_so_stays(seed: int, takes_s: float) -> None:
    it = world(4, seed)
    it.servers[1].takes_s = takes_s
    it.run(20)
    assert not it.said


@SEEDS
@pytest.mark.parametrize("a_second", [2, 20, 100, 300])
@pytest.mark.parametrize("lost", [0.05, 0.1, 0.25])
def test_clients_behind_bad_lines_eject_nobody(seed: int, a_second: float, lost: float) -> None:
    it = World(service_of(4), seed)
    for server in it.servers:
        server.lost = lost
    it.traffic(a_second)
    it.run(30)
    assert not it.said


@SEEDS
def test_nor_does_a_single_client_that_one_server_does_not_answer(seed: int) -> None:
    it = world(3, seed)
    it.traffic(10, at=0, dead=True)
    it.run(30)
    assert not it.said


@SEEDS
def test_when_all_die_at_most_half_are_left(seed: int) -> None:
    it = world(4, seed)
    for server in it.servers:
        server.takes_s = None
    it.run(30)
    out = 0
    for _, _, is_out in it.said:
        out += 1 if is_out else -1
        assert out <= 2


def test_few_clients_are_no_evidence_but_in_time_they_are() -> None:
    assert 10 < left_after_s(world(4, a_second=2, warm_s=30), 1, 60) < 60
    assert 5 < left_after_s(world(2, a_second=3, warm_s=30), 1, 60) < 20


def test_the_only_server_and_one_alone_among_those_that_are_down_stay() -> None:
    assert left_after_s(world(1), 0, 10) == float("inf")
    it = world(3)
    for one in (0, 2):
        it.hear([(it.names[one], Health(False, "refused"))])
    assert left_after_s(it, 1, 10) == float("inf")


def test_each_time_it_fails_again_it_is_left_for_longer() -> None:
    it = world(3)
    left_after_s(it, 1, 100)
    assert times_away_s(it)[:4] == [5, 10, 20, 40]


def test_a_server_that_came_back_and_stayed_good_begins_anew() -> None:
    ejections, able, why = Ejections(), {(b"s", b"1"), (b"s", b"2")}, {(b"s", b"1"): "why"}
    now_s, lasted = 0.0, []
    for pause_s in (0.0, 299.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 301.0):
        now_s += pause_s
        ((names, change),) = ejections.changes(able, why, now_s)
        lasted.append(change.until_s - now_s)
        now_s = change.until_s
        assert list(ejections.changes(able, {}, now_s)) == [(names, Ejection(False))]
    assert lasted == [5, 10, 20, 40, 80, 160, 300, 300, 5]


def test_a_check_that_failed_too_and_passes_again_ends_it_early() -> None:
    it = world(3)
    assert left_after_s(it, 1, 1) < 1
    it.hear([(it.names[1], Health(False, "refused"))])
    it.run(1)
    assert it.out == {1}
    it.servers[1].takes_s = 0.001
    it.hear([(it.names[1], Health(True))])
    it.run(0.3)
    assert not it.out


@pytest.mark.parametrize("change", [Health(False, "refused"), Wish(drained=True), Wish(enabled=False)])
def test_one_that_is_left_is_taken_back_when_the_others_go(change: Health | Wish) -> None:
    it = world(2)
    assert left_after_s(it, 1, 1) < 1
    it.hear([(it.names[0], change)])
    it.hear(it.passive.relent(it.standings, it.table, it.now_s))
    assert not it.out


def test_a_server_that_flaps_is_away_longer_and_longer() -> None:
    it = world(3, warm_s=5)

    def flap() -> None:
        it.servers[0].takes_s = None if it.servers[0].takes_s else 0.001
        it.at(3, flap)

    flap()
    it.run(200)
    assert sum(times_away_s(it)) > 100


def test_counters_that_begin_anew_and_engines_that_see_nothing_are_no_evidence() -> None:
    it = world(3)
    it.seen.tallies.clear()
    it.seen.cells.clear()
    it.run(3)
    assert not list(it.passive.look({}, it.standings, it.table, it.now_s)) and not it.said


def test_a_reload_keeps_what_is_known_and_forgets_who_is_gone() -> None:
    it = world(3)
    left_after_s(it, 1, 1)
    fewer = replace(it.service, backends=it.service.backends[:1] + it.service.backends[2:])
    it.passive.change_to([it.service])
    it.run(3.5)
    assert it.out == {1}
    it.run(2)
    assert [out for _, one, out in it.said if one == 1][:2] == [True, False]
    it.passive.change_to([fewer])
    it.passive.change_to([it.service])
    it.standings[it.names[1]] = AS_CONFIGURED
    it.run(1.5)
    assert it.out == {1}
    assert it.standings[it.names[1]].ejected_until_s - it.now_s < 5.5  # the first time again


def test_a_service_that_does_not_want_it_is_not_watched() -> None:
    assert not Passive([service_of(3, passive=False), service_of(3, check=None)]).watches
    assert Passive([service_of(3, check=None, passive=True)]).watches


def seen(well: int, again: int = 0, reset: int = 0) -> Handshakes:
    times = [0] * BUCKETS
    times[10] = well
    return Handshakes(well + again + reset, well, again, reset, 0, times, ())


def test_resets_count_only_where_they_are_the_servers_own() -> None:
    for resets in (True, False):
        of = {(b"s", bytes((one,))): Evidence() for one in range(3)}
        for look in range(10):
            for number, one in enumerate(of.values()):
                reset = 10 * max(0, look - 5) if number == 0 else 0
                one.add(
                    seen(10 * min(look, 5) if number == 0 else 10 * look, reset=reset),
                    look / 4,
                    resets=resets,
                )
        assert bool(outliers(of)) is resets


STEPS = st.lists(
    st.tuples(
        st.sets(st.integers(0, 5)),  # able
        st.sets(st.integers(0, 5)),  # outliers
        st.floats(0, 400),
    ),
    max_size=30,
)


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_never_more_than_half_are_out_and_never_all(steps: list[tuple[set[int], set[int], float]]) -> None:
    ejections, now_s, out = Ejections(), 0.0, set[Names]()
    for able, bad, pause_s in steps:
        now_s += pause_s
        names = {(b"s", bytes((one,))) for one in able}
        why = {(b"s", bytes((one,))): "why" for one in bad}
        for one, change in ejections.changes(names, why, now_s):
            assert (one in out) != change.out
            out ^= {one}
        assert out == set(ejections.out)
        assert 2 * len(out & names) <= len(names)
        assert all(now_s < one.until_s <= now_s + 300 for one in ejections.out.values())
