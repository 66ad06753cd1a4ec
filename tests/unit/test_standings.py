"""Are standings taken over, told in the log, kept over reloads, and do servers start slowly?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import balancer
import pytest

from dsrlb.control.standings import Standings, standing_event
from dsrlb.model import Check, Service
from dsrlb.standing import CONFIGURED, Effective, Health, Names, Wish, named

ONE, TWO, THREE = "198.18.1.11", "198.18.1.12,name=rs2", "198.18.1.13"
DOWN = Health(False, "refused (3 of 3 checks)")


def web(*backends: str, **fields: Any) -> Service:
    (made,) = balancer.services(["198.18.1.100:80"], backends or (ONE, TWO, THREE))
    return replace(made, **{"check": Check("tcp"), **fields})


def names_of(service: Service) -> list[Names]:
    return [names for names, _ in named(service)]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    caplog.set_level("INFO", "dsrlb")

    class Told(list[str]):
        def __eq__(self, other: object) -> bool:
            heard = [record.getMessage() for record in caplog.records]
            caplog.clear()
            return heard == other

    yield Told()


def test_each_event_is_one_line(told: list[str]) -> None:
    service = web()
    standings, (one, two, _) = Standings([service]), names_of(service)
    standings.hear(one, DOWN, 1)
    assert told == ["backend 198.18.1.11 of 198.18.1.100:80/tcp is down: refused (3 of 3 checks)"]
    standings.hear(one, DOWN, 2)
    assert told == []
    standings.hear(one, Health(False, "no answer"), 3)
    assert told == ["backend 198.18.1.11 of 198.18.1.100:80/tcp is still down: no answer"]
    standings.hear(one, Health(True), 4)
    assert told == ["backend 198.18.1.11 of 198.18.1.100:80/tcp is up again"]
    for wish in (Wish(weight=5), Wish(weight=CONFIGURED), Wish(enabled=False), Wish(enabled=True)):
        standings.hear(two, wish, 5)
    assert told == [
        "backend 198.18.1.12 (rs2) of 198.18.1.100:80/tcp has weight 5, in place of the configured 1",
        "backend 198.18.1.12 (rs2) of 198.18.1.100:80/tcp has weight 1, as configured",
        "backend 198.18.1.12 (rs2) of 198.18.1.100:80/tcp is disabled: it gets no new flows, and no UDP",
        "backend 198.18.1.12 (rs2) of 198.18.1.100:80/tcp is enabled",
    ]
    standings.hear(two, Wish(drained=True), 6)
    standings.hear(two, Wish(drained=False), 6)
    assert told == [
        "backend 198.18.1.12 (rs2) of 198.18.1.100:80/tcp is drained: it keeps its flows, gets no new ones",
        "backend 198.18.1.12 (rs2) of 198.18.1.100:80/tcp is drained no more",
    ]


@pytest.mark.parametrize(
    ("fate", "words"),
    [("keep", "those that are down get them"), ("reject", "they are refused"), ("drop", "they are dropped")],
)
def test_a_service_without_a_backend_for_new_flows_says_what_becomes_of_them(
    fate: Any, words: str, told: list[str]
) -> None:
    service = web(ONE, on_all_down=fate)
    standings, (one,) = Standings([service]), names_of(service)
    standings.hear(one, DOWN, 1)
    standings.hear(one, Health(True), 2)
    assert told == [
        "backend 198.18.1.11 of 198.18.1.100:80/tcp is down: refused (3 of 3 checks)",
        f"198.18.1.100:80/tcp has no backend for new flows: {words}",
        "backend 198.18.1.11 of 198.18.1.100:80/tcp is up again",
        "198.18.1.100:80/tcp has a backend for new flows again",
    ]


def test_a_service_whose_backends_are_all_drained_keeps_nobody(told: list[str]) -> None:
    service = web(ONE)
    standings, (one,) = Standings([service]), names_of(service)
    standings.hear(one, Wish(drained=True), 1)
    assert told == [
        "backend 198.18.1.11 of 198.18.1.100:80/tcp is drained: it keeps its flows, gets no new ones",
        "198.18.1.100:80/tcp has no backend for new flows: they are dropped",
    ]


def test_what_is_said_of_a_backend_that_is_gone_is_nothing(told: list[str]) -> None:
    service = web(ONE, TWO)
    standings, (_, two) = Standings([service]), names_of(service)
    standings.change_to([web(ONE)], 1)
    standings.hear(two, DOWN, 2)
    standings.hear((b"no service", two[1]), DOWN, 2)
    assert told == []
    assert standings.effective(3) == Effective()


def percents(standings: Standings, names: Names, *times: float) -> list[int]:
    return [standings.effective(at).percents.get(names, 100) for at in times]


@pytest.mark.parametrize(
    ("away", "back"),
    [
        (DOWN, Health(True)),
        (Wish(drained=True), Wish(drained=False)),
        (Wish(weight=0), Wish(weight=CONFIGURED)),
    ],
)
def test_a_server_that_returns_starts_slowly(away: Health | Wish, back: Health | Wish) -> None:
    service = web(slow_start_s=8)
    standings, (one, two, _) = Standings([service]), names_of(service)
    assert percents(standings, one, 0) == [100]
    standings.hear(one, away, 90)
    standings.hear(one, back, 100)
    assert percents(standings, one, 100, 102, 105.9, 107.9, 108, 200) == [20, 40, 60, 80, 100, 100]
    assert percents(standings, two, 108) == [100]


def test_with_a_counter_it_grows_each_second() -> None:
    service = web(slow_start_s=9, scheduler="rr")
    standings, (one, *_) = Standings([service]), names_of(service)
    standings.hear(one, DOWN, 0)
    standings.hear(one, Health(True), 100)
    assert percents(standings, one, *range(100, 110)) == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]


def test_going_down_while_it_grows_begins_anew() -> None:
    service = web(slow_start_s=8)
    standings, (one, *_) = Standings([service]), names_of(service)
    for at, up in ((0, False), (10, True), (13, False), (14, True)):
        standings.hear(one, Health(up), at)
    assert percents(standings, one, 14, 22) == [20, 100]


def test_a_reload_keeps_the_standings_of_what_stays() -> None:
    service = web()
    standings, (one, two, _) = Standings([service]), names_of(service)
    standings.hear(one, DOWN, 1)
    standings.hear(two, Wish(weight=7), 1)
    standings.change_to([web(ONE, TWO + ",weight=3")], 2)
    assert standings.effective(3) == Effective(weights={two: 7}, down=frozenset({one}))


def test_a_reload_that_takes_the_check_away_has_everybody_up() -> None:
    service = web()
    standings, (one, *_) = Standings([service]), names_of(service)
    standings.hear(one, DOWN, 1)
    standings.hear(one, Wish(weight=7), 1)
    standings.change_to([web(check=None)], 2)
    assert standings.effective(3) == Effective(weights={one: 7})


def test_servers_that_a_reload_adds_start_slowly_and_those_of_a_new_service_do_not() -> None:
    (other,) = balancer.services(["198.18.1.101:80"], [ONE])
    before, now = web(ONE, TWO + ",weight=0", slow_start_s=8), web(ONE, TWO, THREE, slow_start_s=8)
    standings, (one, two, three) = Standings([before]), names_of(now)
    standings.change_to([now, replace(other, slow_start_s=8)], 100)
    assert standings.effective(100).percents == {two: 20, three: 20}
    assert percents(standings, one, 101) == [100]
    standings.change_to([replace(now, slow_start_s=0)], 102)
    assert standings.effective(102).percents == {}


def test_who_was_down_for_the_process_before_is_down_until_health_says_otherwise() -> None:
    before = balancer.table(
        ["198.18.1.100:80"], [ONE, TWO], down=["198.18.1.11", "198.18.1.12"], on_all_down="drop"
    )
    service = web(ONE, TWO)
    standings, (one, two) = Standings([service]), names_of(service)
    standings.hear(two, Wish(enabled=False), 1)
    standings.adopt(before)
    assert (standings.of[one].up, standings.of[two].up) == (False, True)
    for unchecked in (Standings([web(ONE, TWO, check=None)]), Standings([web(THREE)])):
        unchecked.adopt(before)
        assert unchecked.effective(1) == Effective()


def test_nothing_is_worked_out_anew_while_nothing_changes() -> None:
    standings = Standings([web()])
    assert standings.effective(1) is standings.effective(2)


def test_an_event_names_the_backend_and_what_is_said() -> None:
    (one, *_) = names_of(web())
    assert standing_event(one, DOWN) == ("standing", *one, DOWN)


def test_what_is_tried_aside_comes_to_what_then_holds_and_changes_nothing_before(told: list[str]) -> None:
    before = web(ONE, TWO, slow_start_s=10)
    after = web(TWO, f"{THREE},weight=3", slow_start_s=10)
    standings = Standings([before])
    standings.hear(names_of(before)[1], DOWN, 1)
    assert told == ["backend 198.18.1.12 (rs2) of 198.18.1.100:80/tcp is down: refused (3 of 3 checks)"]
    said, aside = standings.effective(5), standings.aside()
    aside.change_to([web(TWO)], 5)  # none is up there
    aside.change_to([after], 5)
    foreseen = aside.effective(5)
    assert told == []
    assert standings.effective(5) == said and foreseen != said
    standings.change_to([after], 5)
    assert standings.effective(5) == foreseen
    assert foreseen.percents[names_of(after)[1]] < 100 and names_of(after)[0] in foreseen.down
