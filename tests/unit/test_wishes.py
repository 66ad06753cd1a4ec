"""Do drains end when they are to, and is that told?"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import balancer
import pytest
from packets import BACKENDS, VIP

from dsrlb.control.drains import Left
from dsrlb.control.durable import Durable
from dsrlb.control.kept import Kept, written
from dsrlb.control.standings import Standings
from dsrlb.control.wishes import Wishes
from dsrlb.flows import BackendCount
from dsrlb.model import Service
from dsrlb.standing import Names, Wish, named
from dsrlb.table import compile_table
from dsrlb.transition import carry

DRAIN = Wish(drained=True)
FIRST, SECOND = BACKENDS[:2]


class World:
    """A service of two servers, their flows, and what is wished of them."""

    def __init__(self, folder: Path, scheduler: str = "rr") -> None:
        self.service = self.web(scheduler, FIRST, SECOND)
        self.names: list[Names] = [names for names, _ in named(self.service)]
        self.standings = Standings([self.service])
        self.counts: dict[Names, BackendCount] = {}
        self.wishes = Wishes(self.standings, Durable(folder / "default.json"))
        hops = balancer.hops(self.service.backends)
        self.engine: Any = SimpleNamespace(
            table=compile_table([self.service], hops, {}),
            counters=lambda: SimpleNamespace(backends=self.counts),
        )

    def web(self, scheduler: str, *backends: str) -> Service:
        macs = [one for one in balancer.ALL_BACKENDS if one.partition(",")[0] in backends]
        (made,) = balancer.services([f"{VIP}:80"], macs, scheduler)
        return made

    def has(self, active: int, inactive: int = 0) -> None:
        """Let the first server have so many flows."""
        self.counts[self.names[0]] = BackendCount(active=active, inactive=inactive)

    def drain(self, now_s: float, within_s: float | None = None) -> None:
        wish = Wish(drained=True, gone=None if within_s is None else False)
        self.wishes.hear({self.names[0]: wish}, now_s, within_s)

    @property
    def is_gone(self) -> bool:
        return self.standings.of[self.names[0]].gone


@pytest.fixture
def world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level(logging.INFO)
    return World(tmp_path)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged since this was asked last, without the backend's name."""
    words = [one.getMessage().partition(" of ")[2].partition(" ")[2] for one in caplog.records]
    caplog.clear()
    return words


def test_a_drain_without_a_deadline_tells_once_that_it_is_empty_and_lets_nothing_go(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.has(3)
    world.drain(100)
    assert said(caplog) == ["is drained: it keeps its flows, gets no new ones"]
    assert not world.wishes.look(world.engine, 5000) and said(caplog) == []
    world.has(0, 2)
    assert not world.wishes.look(world.engine, 5001)
    assert said(caplog) == ["is empty: no connection is left, 4901 s after it was drained"]
    assert not world.wishes.look(world.engine, 5002) and said(caplog) == []
    assert not world.is_gone


def test_at_its_deadline_what_is_left_is_told_and_let_go(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.has(3, 1)
    world.drain(100, within_s=60)
    said(caplog)
    assert not world.wishes.look(world.engine, 159.9) and not world.is_gone
    assert world.wishes.look(world.engine, 160) and world.is_gone
    assert said(caplog) == ["its drain is over: 3 active, 1 inactive flows are let go"]
    assert world.wishes.drains[world.names[0]].let_go == Left(3, 1, False)
    assert not world.wishes.look(world.engine, 161) and said(caplog) == []


def test_a_deadline_that_finds_nothing_says_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.drain(100, within_s=60)
    assert not world.wishes.look(world.engine, 100.5), "a handshake may be under way"
    said(caplog)
    assert world.wishes.look(world.engine, 160)
    assert said(caplog) == ["its drain is over: no connection was left"] and world.is_gone


def test_who_lets_go_at_once_of_nothing_is_told_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.drain(100, within_s=0)
    said(caplog)
    assert world.wishes.look(world.engine, 100)
    assert said(caplog) == ["its drain is over: no connection was left"] and world.is_gone


def test_what_hash_cursors_have_not_seen_is_not_taken_for_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, "maglev")
    world.drain(100, within_s=60)
    hops, drained = balancer.hops(world.service.backends), world.standings.effective(100)
    table = compile_table([world.service], hops, {}, effective=drained)
    world.engine.table = carry(world.engine.table, table, 100)
    world.wishes.look(world.engine, 130)
    assert "is empty" not in caplog.text
    world.wishes.look(world.engine, 160)
    assert "its drain is over: 0 active, 0 inactive flows or more are let go" in caplog.text


def test_undrain_brings_back_and_a_drain_again_begins_anew(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.has(1)
    world.drain(100, within_s=1)
    world.wishes.look(world.engine, 101)
    said(caplog)
    world.wishes.hear({world.names[0]: Wish(drained=False, gone=False)}, 102)
    assert not world.is_gone and world.wishes.drains == {}
    assert said(caplog) == ["is drained no more", "takes part again"]
    world.drain(200, within_s=1)
    world.wishes.look(world.engine, 201)
    world.drain(202, within_s=50)
    assert not world.is_gone and world.wishes.drains[world.names[0]].began_s == 202


def test_a_drain_said_again_keeps_its_deadline_unless_another_is_said(world: World) -> None:
    world.drain(100, within_s=60)
    world.drain(110)
    assert world.wishes.drains[world.names[0]].until_s == 160
    world.drain(120, within_s=5)
    assert world.wishes.drains[world.names[0]].until_s == 125


def test_a_reload_forgets_the_drain_of_a_backend_that_goes_and_no_other(world: World) -> None:
    world.wishes.hear(dict.fromkeys(world.names, DRAIN), 100, 60)
    world.standings.change_to([world.web("rr", SECOND)], 110)
    world.wishes.change_to()
    assert [*world.wishes.drains] == [world.names[1]]
    world.standings.change_to([world.service], 120)
    world.wishes.change_to()
    assert not world.standings.of[world.names[0]].drained


def test_a_start_takes_over_what_was_durable_with_the_time_that_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    people = World(tmp_path).standings.people()
    first, second = people.values()
    kept = {
        first: Kept(drained=True, until=time.time() + 50),
        second: Kept(drained=True, until=1.0, weight=7),
    }
    (tmp_path / "default.json").write_bytes(written(kept, people))
    world = World(tmp_path)
    world.wishes.begin(1000)
    drains = world.wishes.drains
    assert 1040 < (drains[first].until_s or 0) <= 1050 and not world.is_gone
    assert world.standings.of[second].gone and drains[second].is_over
    assert world.standings.of[second].weight == 7
    assert "its drain was over before this start" in caplog.text
