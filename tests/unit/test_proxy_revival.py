"""Is a HAProxy that has ended started again, at once at first, seldom at last, and told once?"""

from __future__ import annotations

import logging
from typing import Any

import pytest

from dsrlb.control.proxy_revival import AGAIN_AFTER_S, Revival


class Process:
    """A HAProxy that starts only if it is to."""

    def __init__(self) -> None:
        self.is_running = self.is_ready = self.starts = True
        self.launched: list[float] = []
        self.now_s = 0.0

    def why_ended(self) -> str:
        return " (out of memory)"

    def note(self) -> None:
        """It serves."""

    def launch(self) -> None:
        self.launched.append(self.now_s)
        self.is_running = self.is_ready = self.starts

    def dies(self) -> None:
        self.is_running = self.is_ready = False


class World:
    """Time that passes, a fifth of a second a look."""

    def __init__(self) -> None:
        self.process, self.revival, self.backs = Process(), Revival(), 0
        self.prepared = 0

    def look(self, seconds: float) -> None:
        until_s = self.process.now_s + seconds
        while self.process.now_s < until_s:
            self.process.now_s = round(self.process.now_s + 0.2, 1)
            process: Any = self.process
            self.backs += self.revival.look(process, self._prepare, self.process.now_s)

    def _prepare(self) -> None:
        self.prepared += 1


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level(logging.INFO)
    return World()


def test_one_that_runs_is_left_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.look(10)
    assert not world.process.launched and not caplog.records and not world.revival.is_at_work


def test_one_that_has_ended_is_back_at_the_next_looks_and_that_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.look(1)
    world.process.dies()
    world.look(1)
    assert world.process.launched == [1.2] and world.backs == 1 and world.prepared == 1
    said = [one.getMessage() for one in caplog.records]
    assert "ended by itself (out of memory)" in said[0] and "serves again, 0.2 s after" in said[1]
    assert len(said) == 2 and world.revival.count == 1


def test_one_that_ends_again_and_again_is_started_ever_more_seldom_and_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.process.starts = False
    world.process.dies()
    world.look(300)
    gaps = [b - a for a, b in zip(world.process.launched, world.process.launched[1:], strict=False)]
    assert len(world.process.launched) < 20
    assert gaps == sorted(gaps) and gaps[0] < 0.5 and gaps[-1] == pytest.approx(AGAIN_AFTER_S[-1], abs=0.5)
    assert len(caplog.records) == 2 and "does not start again (out of memory)" in caplog.messages[1]
    world.process.starts = True
    world.look(60)
    assert world.backs == 1 and not world.revival.is_at_work


def test_one_that_is_started_and_takes_long_is_waited_for(world: World) -> None:
    world.process.dies()
    world.process.launch = lambda: world.process.launched.append(world.process.now_s)  # type: ignore[method-assign]
    world.process.is_running = False
    world.look(0.2)
    world.process.is_running = True
    world.look(5)
    assert len(world.process.launched) == 1 and world.backs == 0
    world.process.is_ready = True
    world.look(0.2)
    assert world.backs == 1
