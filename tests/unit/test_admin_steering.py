"""Does what an operator asks for hold as long as it is to, and is it told how long that is?"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pretended_loop import SERVICE, A, B, Loop, rows, web


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    made = Loop(web(), folder=tmp_path)
    yield made
    made.wishes.durable.close()


def test_a_drain_with_a_deadline_shows_the_time_that_is_left_and_then_that_it_is_over(loop: Loop) -> None:
    loop.clients(6)
    loop.ask(do="drain", backend="rs1", within=60)
    drain = rows(loop)[A]["drain"]
    assert (drain["state"], drain["let_go"]) == ("draining", None) and 59 < drain["left_s"] <= 60
    assert loop.wishes.look(loop.engine.counters, loop.table(), time.monotonic() + 61)
    loop.look_again()
    row = rows(loop)[A]
    assert row["standing"] == ["drained", "gone"] and row["drain"]["state"] == "over"
    assert loop.ask(do="show", what="table")[0]["targets"][0]["backend"] == B
    assert loop.ask(do="enable", backend="rs1")["backends"][0]["standing"] == ["up"]


def test_when_it_is_known_that_none_is_left_is_told_where_flows_are_put_on_record_late() -> None:
    loop = Loop(web("maglev"))
    (note,) = loop.ask(do="drain", backend="rs1")["notes"]
    assert note.startswith(f"{SERVICE} (web): with maglev flows are put on record as they are seen")
    assert rows(loop)[A]["remaining"]["at_least"] is True


def durably(loop: Loop, **request: Any) -> dict[str, Any]:
    """Ask for a change that is to be durable, and return the answer."""
    answers = loop.answers(durable=True, **request)
    _, do = loop.events.get(timeout=10)
    assert answers == [], "it is answered when it is on the disk"
    do()
    return answers[0]


def test_what_is_durable_is_shown_as_that_and_what_a_restart_would_change_back(loop: Loop) -> None:
    answer = durably(loop, do="weight", backend="rs1", weight=5)
    assert answer["answer"]["backends"][0]["drift"] == ["weight 5, file says 1 (durable)"]
    assert durably(loop, do="drain", backend="rs2")["ok"]
    assert rows(loop)[B]["durable"] == ["drained"]
    loop.ask(do="undrain", backend="rs2")
    loop.ask(do="weight", backend="rs1", weight="configured")
    assert [row["drift"] for row in rows(loop).values()] == [
        ["weight 5 again after a restart (durable)"],
        ["drained again after a restart (durable)"],
        [],
    ]
    assert durably(loop, do="undrain", backend="rs2")["answer"]["backends"][0]["drift"] == []


def test_what_cannot_be_made_durable_holds_and_is_an_error_of_one_sentence(loop: Loop) -> None:
    loop.wishes.durable.path = Path("/dev/null/nowhere.json")
    answer = durably(loop, do="drain", backend="rs1")
    assert not answer["ok"] and answer["code"] == 1 and "\n" not in answer["error"]
    assert answer["error"].startswith("this holds, but only until dsrlb ends: /dev/null/nowhere.json cannot")
    assert rows(loop)[A]["drift"] == ["drained, not by the file"]


def test_where_a_drain_is_to_end_at_another_time_after_a_restart_is_told(loop: Loop) -> None:
    def drift() -> list[str]:
        first, *more = rows(loop)[A]["drift"]
        assert first == "drained, not by the file (durable)"
        return more

    durably(loop, do="drain", backend="rs1", within=500)
    assert drift() == []
    loop.ask(do="drain", backend="rs1", within=0)
    loop.wishes.look(loop.engine.counters, loop.table(), time.monotonic())
    (told,) = drift()
    assert re.fullmatch(r"its drain ends in (499|500) s after a restart \(durable\)", told)
    durably(loop, do="drain", backend="rs1")
    assert drift() == [], "it is over, and is so after a restart"
    loop.ask(do="drain", backend="rs1", within=60)
    assert drift() == ["its drain is over after a restart (durable)"]
    loop.ask(do="undrain", backend="rs1")
    durably(loop, do="drain", backend="rs1")
    loop.ask(do="drain", backend="rs1", within=60)
    assert drift() == ["its drain has no deadline after a restart (durable)"]
    durably(loop, do="drain", backend="rs1")
    assert (
        drift() == [] and 0 < loop.wishes.durable.of[next(iter(loop.wishes.drains))].until - time.time() <= 60
    )
