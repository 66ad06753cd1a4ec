"""Do drains end when they are to, and is that told?"""

from __future__ import annotations

import errno
import json
import logging
import os
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import balancer
import pytest
from packets import BACKENDS, VIP

from dsrlb.control import durable
from dsrlb.control.drains import Left
from dsrlb.control.durable import Durable
from dsrlb.control.kept import Kept, written
from dsrlb.control.standings import Standings
from dsrlb.control.wishes import Wishes
from dsrlb.engines.base import Counters
from dsrlb.errors import DsrlbError
from dsrlb.flows import BackendCount
from dsrlb.model import Service
from dsrlb.standing import Names, Wish, named
from dsrlb.table import compile_table
from dsrlb.transition import carry

WAIT_S = 10.0
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
        self.table = compile_table([self.service], hops, {})

    def web(self, scheduler: str, *backends: str) -> Service:
        macs = [one for one in balancer.ALL_BACKENDS if one.partition(",")[0] in backends]
        (made,) = balancer.services([f"{VIP}:80"], macs, scheduler)
        return made

    def has(self, active: int, inactive: int = 0) -> None:
        """Let the first server have so many flows."""
        self.counts[self.names[0]] = BackendCount(active=active, inactive=inactive)

    def counted(self) -> Counters:
        return Counters([], self.counts, 0, 0)

    def drain(self, now_s: float, within_s: float | None = None) -> None:
        wish = Wish(drained=True, gone=None if within_s is None else False)
        self.wishes.hear({self.names[0]: wish}, now_s, within_s)

    @property
    def is_gone(self) -> bool:
        return self.standings.of[self.names[0]].gone


@pytest.fixture
def world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    caplog.set_level(logging.INFO)
    made = World(tmp_path)
    yield made
    made.wishes.durable.close()


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
    assert not world.wishes.look(world.counted, world.table, 5000) and said(caplog) == []
    world.has(0, 2)
    assert not world.wishes.look(world.counted, world.table, 5001)
    assert said(caplog) == ["is empty: no connection is left, 4901 s after it was drained"]
    assert not world.wishes.look(world.counted, world.table, 5002) and said(caplog) == []
    assert not world.is_gone


def test_at_its_deadline_what_is_left_is_told_and_let_go(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.has(3, 1)
    world.drain(100, within_s=60)
    said(caplog)
    assert not world.wishes.look(world.counted, world.table, 159.9) and not world.is_gone
    assert world.wishes.look(world.counted, world.table, 160) and world.is_gone
    assert said(caplog) == ["its drain is over: 3 active, 1 inactive flows are let go"]
    assert world.wishes.drains[world.names[0]].let_go == Left(3, 1, False)
    assert not world.wishes.look(world.counted, world.table, 161) and said(caplog) == []


def test_a_deadline_that_finds_nothing_says_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.drain(100, within_s=60)
    assert not world.wishes.look(world.counted, world.table, 100.5), "a handshake may be under way"
    said(caplog)
    assert world.wishes.look(world.counted, world.table, 160)
    assert said(caplog) == ["its drain is over: no connection was left"] and world.is_gone


def test_who_lets_go_at_once_of_nothing_is_told_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.drain(100, within_s=0)
    said(caplog)
    assert world.wishes.look(world.counted, world.table, 100)
    assert said(caplog) == ["its drain is over: no connection was left"] and world.is_gone


def test_what_hash_cursors_have_not_seen_is_not_taken_for_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, "maglev")
    world.drain(100, within_s=60)
    hops, drained = balancer.hops(world.service.backends), world.standings.effective(100)
    table = compile_table([world.service], hops, {}, effective=drained)
    world.table = carry(world.table, table, 100)
    world.wishes.look(world.counted, world.table, 130)
    assert "is empty" not in caplog.text
    world.wishes.look(world.counted, world.table, 160)
    assert "its drain is over: 0 active, 0 inactive flows or more are let go" in caplog.text


def test_undrain_brings_back_and_a_drain_again_begins_anew(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.has(1)
    world.drain(100, within_s=1)
    world.wishes.look(world.counted, world.table, 101)
    said(caplog)
    world.wishes.hear({world.names[0]: Wish(drained=False, gone=False)}, 102)
    assert not world.is_gone and world.wishes.drains == {}
    assert said(caplog) == ["is drained no more", "takes part again"]
    world.drain(200, within_s=1)
    world.wishes.look(world.counted, world.table, 201)
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
    world.wishes.change_to(110)
    assert [*world.wishes.drains] == [world.names[1]]
    world.standings.change_to([world.service], 120)
    world.wishes.change_to(120)
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


def kept_on_disk(world: World, wish: Wish, now_s: float) -> Kept:
    """Make a wish durable, and return what is on the disk then of the first server."""
    told: queue.Queue[DsrlbError | None] = queue.Queue()
    world.wishes.keep({world.names[0]: wish}, told.put, now_s)
    assert told.get(timeout=WAIT_S) is None
    return world.wishes.durable.of[world.names[0]]


def test_a_drain_is_made_durable_with_the_deadline_that_it_has(world: World) -> None:
    world.drain(100, within_s=50)
    world.drain(110)
    kept = kept_on_disk(world, DRAIN, 110)
    assert kept.until is not None and abs(kept.until - time.time() - 40) < 5
    world.drain(120, within_s=500)
    assert kept_on_disk(world, Wish(weight=7), 120) == replace(kept, weight=7), (
        "the drain was not to be durable"
    )
    world.wishes.hear({world.names[0]: Wish(drained=False, gone=False)}, 130)
    world.drain(140)
    assert kept_on_disk(world, DRAIN, 140) == Kept(drained=True, weight=7)


def test_a_drain_that_is_over_is_durable_as_that(world: World) -> None:
    world.drain(100, within_s=1)
    world.wishes.look(world.counted, world.table, 101)
    world.drain(400)
    kept = kept_on_disk(world, DRAIN, 400)
    assert kept.wish(time.time()).gone


def test_what_a_reload_made_obsolete_is_taken_out_when_the_disk_has_room_again(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.drain(100)
    kept_on_disk(world, DRAIN, 100)
    said(caplog)
    tries: list[Path] = []

    def fail(path: Path, _: bytes) -> None:
        tries.append(path)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    world.standings.change_to([world.web("rr", SECOND)], 110)
    with monkeypatch.context() as full:
        full.setattr(durable, "replace_whole", fail)
        world.wishes.change_to(110)
        for now_s, count in ((110, 1), (114.9, 1), (115, 2), (116, 2), (121, 3)):
            world.wishes.look(world.counted, world.table, now_s)
            eventually(lambda count=count: len(tries) == count and not world.wishes._is_tidying)
    assert [one.getMessage().partition(":")[0] for one in caplog.records] == [
        "what was durable of backends that are gone could not be taken out"
    ]
    world.standings.change_to([world.service], 122)
    world.wishes.change_to(122)  # it comes back, as configured
    world.wishes.look(world.counted, world.table, 126)
    eventually(lambda: world.wishes.durable.of == {})
    assert json.loads(world.wishes.durable.path.read_bytes())["backends"] == []


def test_what_is_durable_of_a_backend_that_came_back_begins_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_on_disk(world, Wish(weight=7), 100)
    with monkeypatch.context() as full:
        full.setattr(durable, "replace_whole", lambda *_: (_ for _ in ()).throw(OSError("full")))
        world.standings.change_to([world.web("rr", SECOND)], 110)
        world.wishes.change_to(110)
        eventually(lambda: not world.wishes._is_tidying)
    world.standings.change_to([world.service], 111)
    assert kept_on_disk(world, Wish(enabled=False), 111) == Kept(enabled=False)
    world.wishes.look(world.counted, world.table, 120)
    assert world.wishes.durable.of == {world.names[0]: Kept(enabled=False)}


def test_a_reload_that_brings_a_backend_forgets_what_was_kept_of_it_before(
    world: World, tmp_path: Path
) -> None:
    people = world.standings.people()
    (tmp_path / "default.json").write_bytes(written({world.names[0]: Kept(drained=True)}, people))
    world.standings.change_to([world.web("rr", SECOND)], 90)
    world.wishes.begin(100)
    assert world.wishes.durable.of == {} and len(world.wishes.durable.others) == 1
    world.standings.change_to([world.service], 110)
    world.wishes.change_to(110)
    eventually(lambda: world.wishes.durable.others == {})
    assert json.loads(world.wishes.durable.path.read_bytes())["backends"] == []


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)
