"""Is a plan answered, whatever goes wrong, and does it never keep reloads waiting?"""

from __future__ import annotations

import queue
import time
from types import SimpleNamespace
from typing import Any

import pytest
from lab_wire import eventually

from dsrlb.admin import planning
from dsrlb.admin.planning import begin_plan
from dsrlb.control.reloading import Reloads
from dsrlb.errors import ConfigError, HostError

TEXT = '[[service]]\nvip = "198.18.1.100:80"\nmode = "l2dsr"\nbackend = [{ address = "198.18.1.11" }]\n'


class Loop:
    """A control loop of which a plan needs only this."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.begun = 0
        self.reloads = Reloads(self.begin, lambda _: None)
        self.engine = SimpleNamespace(check=lambda _: None)

    def begin(self) -> Any:
        self.begun += 1
        return SimpleNamespace(outcome=None)

    def plan(self, content: object = TEXT) -> list[Any]:
        """Ask for a plan, and do what the loop is told until it is answered."""
        answers: list[Any] = []
        begin_plan(self, {"content": content}, answers.append)  # type: ignore[arg-type]  # a stand-in

        def is_answered() -> bool:
            while not self.events.empty():
                self.events.get()[1]()
            return bool(answers)

        assert eventually(is_answered, 10)
        assert eventually(lambda: is_answered() and not self.reloads._is_lent, 10)
        return answers


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setattr(planning, "_moment", lambda _: None)
    monkeypatch.setattr(planning, "plan", lambda config, _: ({"refused": [], "seen": config}, None))
    return Loop()


def test_a_plan_is_one_answer_and_reloads_go_on(loop: Loop) -> None:
    (answer,) = loop.plan()
    assert answer["ok"] and answer["answer"]["refused"] == []
    loop.reloads.begin()
    assert loop.begun == 1


def test_an_engine_that_has_no_room_is_a_reason_to_refuse(loop: Loop) -> None:
    def check(_: object) -> None:
        raise HostError("too many services")

    loop.engine.check = check
    assert loop.plan()[0]["answer"]["refused"] == ["too many services"]


@pytest.mark.parametrize("where", ["_moment", "plan"])
@pytest.mark.parametrize("error", [ConfigError("one"), ZeroDivisionError("two")])
def test_what_goes_wrong_is_answered_and_keeps_nobody_waiting(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(planning, where, fail)
    (answer,) = loop.plan()
    assert not answer["ok"] and str(error) in answer["error"]
    loop.reloads.begin()
    assert loop.begun == 1


def test_a_content_that_is_no_configuration_is_told_at_its_line(loop: Loop) -> None:
    (answer,) = loop.plan("bogus = 1\n" + TEXT)
    assert answer["code"] == 3 and answer["error"].startswith("dsrlb.toml:1: ")


def test_a_reload_that_comes_meanwhile_is_done_after_it(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> Any:
        loop.events.put(("call", loop.reloads.begin))
        until_s = time.monotonic() + 10
        while not loop.events.empty() and time.monotonic() < until_s:
            time.sleep(0.001)  # until the loop has heard of it
        return {"refused": []}, None

    monkeypatch.setattr(planning, "plan", slow)
    loop.plan()
    assert loop.begun == 1
