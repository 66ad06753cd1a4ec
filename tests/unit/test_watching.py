"""Is what is watched shown again and again, and a drain waited for, over restarts of dsrlb?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dsrlb.cli import asking as commands
from dsrlb.cli import cli, watching
from dsrlb.errors import DsrlbError, UsageError

COUNTED = [{"reason": "forwarded", "frames": 3}]
MORE = [{"reason": "forwarded", "frames": 4}]
NOBODY = DsrlbError("No dsrlb runs here.")
ROW = {
    "service": "198.18.1.100:80/tcp",
    "backend": "198.18.1.11",
    "name": "rs1",
    "standing": ["drained"],
    "why": "",
    "ejected_left_s": None,
    "starting_percent": 100,
    "weight": 0,
    "response": None,
    "remaining": {"active": 2, "inactive": 0, "at_least": False},
    "drain": {"state": "draining", "for_s": 3.0, "left_s": 57.0, "let_go": None},
    "drift": [],
}
EMPTY = {**ROW, "drain": {"state": "empty", "for_s": 9.0, "left_s": 51.0, "let_go": None}}
OVER = {**ROW, "drain": {"state": "over", "for_s": 60.0, "left_s": None, "let_go": ROW["remaining"]}}


class Asked:
    """Stands in for a running dsrlb: gives one answer after the other, then it is interrupted."""

    def __init__(self) -> None:
        self.answers: Iterator[Any] = iter(())
        self.slept: list[float] = []

    def says(self, *answers: Any) -> None:
        self.answers = iter(answers)

    def __call__(self, path: Path, request: dict[str, Any]) -> Any:
        answer = next(self.answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    it = Asked()
    monkeypatch.setattr(commands, "ask_at", it)
    monkeypatch.setattr(watching.time, "sleep", it.slept.append)
    return it


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def test_elsewhere_than_on_a_terminal_it_is_a_table_after_the_other_until_an_interrupt(asked: Asked) -> None:
    asked.says(COUNTED, MORE, KeyboardInterrupt())
    done = run("show", "counters", "--watch", "0.5")
    assert done.exception is None and done.exit_code == 0
    first, second = done.stdout.split("\n\n")
    assert first.split() == ["reason", "frames", "forwarded", "3"]
    assert second.split() == ["reason", "frames", "forwarded", "4"]
    assert asked.slept == [0.5, 0.5]


def test_for_programs_each_look_is_a_line(asked: Asked) -> None:
    asked.says(COUNTED, MORE, KeyboardInterrupt())
    done = run("show", "counters", "--watch", "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [COUNTED, MORE]
    assert asked.slept == [watching.WATCH_EVERY_S] * 2


def test_while_dsrlb_is_away_that_is_told_once_and_watching_goes_on(asked: Asked) -> None:
    asked.says(COUNTED, NOBODY, NOBODY, MORE, KeyboardInterrupt())
    done = run("show", "counters", "--watch", "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [COUNTED, MORE]
    assert done.stderr == "dsrlb: No dsrlb runs here.\ndsrlb: it answers again\n"


@pytest.mark.parametrize("answers", [(NOBODY,), (COUNTED, UsageError("no service is 'web'"))])
def test_what_is_not_there_at_first_or_any_more_is_an_error(asked: Asked, answers: Iterable[Any]) -> None:
    asked.says(*answers)
    assert isinstance(run("show", "counters", "--watch").exception, DsrlbError)


def test_on_a_terminal_the_table_is_drawn_again_in_its_place(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    class Terminal:
        def __init__(self, **_: Any) -> None: ...
        def __enter__(self) -> Terminal:
            return self

        def __exit__(self, *_: object) -> None: ...
        def update(self, shown: Any, refresh: bool) -> None:
            console = watching.Console(width=80, force_terminal=False)
            with console.capture() as captured:
                console.print(shown)
            drawn.append(captured.get())

    monkeypatch.setattr(watching, "Live", Terminal)
    monkeypatch.setattr(watching.sys.stdout.__class__, "isatty", lambda _: True, raising=False)
    asked.says(COUNTED, NOBODY, MORE, KeyboardInterrupt())
    watching.present(lambda: asked(Path(), {}), watching.View(lambda rows: str(rows[0]["frames"])),
                     is_json=False, watch_s=1.0)  # fmt: skip
    assert [one.split("\n")[:-1] for one in drawn] == [
        ["3"],
        ["No dsrlb runs here. As it was last:", "3"],
        ["4"],
    ]


def test_a_drain_that_is_waited_for_ends_when_no_connection_is_left(asked: Asked) -> None:
    asked.says({"backends": [ROW], "notes": ["a note"]}, [ROW, EMPTY], NOBODY, [ROW, EMPTY], [EMPTY, EMPTY])
    done = run("drain", "rs1", "--within", "60", "--wait")
    assert done.exception is None and done.stdout.count("drained, weight 0") == 2
    assert done.stderr.splitlines()[0] == "dsrlb: a note"


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ([EMPTY, OVER], "rs1 did not become empty: 2 active, 0 inactive flows left when its time was over"),
        ([{**ROW, "drain": None}], "rs1 did not become empty: its drain was taken back"),
    ],
)
def test_a_drain_that_ends_otherwise_is_an_error(asked: Asked, last: list[Any], why: str) -> None:
    asked.says({"backends": [ROW], "notes": []}, last)
    done = run("drain", "rs1", "--wait")
    assert isinstance(done.exception, DsrlbError) and done.exception.exit_code == 1
    assert str(done.exception) == why


def test_a_drain_that_was_over_with_nothing_left_is_none(asked: Asked) -> None:
    over = {**OVER, "drain": {**OVER["drain"], "let_go": None}}  # type: ignore[dict-item]
    asked.says({"backends": [ROW], "notes": []}, [over])
    assert run("drain", "rs1", "--wait", "--json").exception is None
