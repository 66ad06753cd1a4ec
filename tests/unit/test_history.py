"""Is there a way back to what was in force?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dsrlb.control.history import MOST_KEPT, History
from dsrlb.errors import UsageError

DEADLINE_S = 10


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    it = History(tmp_path / "blue.configs")
    yield it
    it.close()


def done(history: History, what: Callable[[], Any]) -> Any:
    """Return what is found when all that was asked for before is done."""
    is_over, found = threading.Event(), []

    def look() -> None:
        try:
            found.append(what())
        except UsageError as error:
            found.append(str(error))
        is_over.set()

    history.do(look)
    assert is_over.wait(DEADLINE_S)
    return found[0]


def kept(history: History) -> list[tuple[int, str]]:
    rows = done(history, history.rows)
    return [
        (row["number"], "now" if row["is_in_force"] else "undone" if row["is_undone"] else "") for row in rows
    ]


def go(history: History, *steps: bytes | int) -> None:
    """Let contents come into force, one after the other; a number: by going back to that one."""
    contents: dict[int, bytes] = {}
    for step in steps:
        if isinstance(step, int):
            history.going_back_to(step)
            history.keep(contents[step])
        else:
            contents[len(contents) + 1] = step
            history.keep(step)


def before(history: History) -> Any:
    return done(history, lambda: history.content(None))


def test_each_that_was_in_force_is_kept_and_the_one_before_is_the_way_back(history: History) -> None:
    for text in (b"a = 1", b"a = 1", b"a = 2", b""):
        history.keep(text)
    assert kept(history) == [(2, "now"), (1, "")]
    assert before(history) == (1, "a = 1")


def test_one_that_was_gone_back_from_is_no_way_back_any_more(history: History) -> None:
    go(history, b"good", b"bad", 1)
    assert kept(history) == [(2, ""), (1, "now")]
    assert "before is kept" in before(history)
    history.keep(b"better")
    assert kept(history) == [(3, "now"), (2, "undone"), (1, "")]
    assert before(history) == (1, "good")
    assert done(history, lambda: history.content(2)) == (2, "bad")


def test_going_back_goes_on_to_the_ones_before(history: History) -> None:
    go(history, b"1", b"2", b"3", 2)
    assert before(history) == (1, "1")


def test_one_that_is_applied_again_is_not_gone_back_to(history: History) -> None:
    go(history, b"1", b"2", b"3", b"1")
    assert kept(history) == [(4, "now"), (3, ""), (2, ""), (1, "")]
    assert before(history) == (3, "3")


def test_going_back_that_was_refused_is_forgotten(history: History) -> None:
    go(history, b"1", b"2")
    history.going_back_to(1)
    history.going_back_to(None)
    history.keep(b"1")
    assert kept(history)[0] == (3, "now")


def test_only_the_last_ones_are_kept(history: History) -> None:
    for number in range(MOST_KEPT + 5):
        history.keep(str(number).encode())
    assert [number for number, _ in kept(history)] == list(range(MOST_KEPT + 5, 5, -1))


def test_the_next_process_knows_which_one_is_in_force(history: History, tmp_path: Path) -> None:
    history.keep(b"1")
    history.keep(b"2")
    history.close()
    again = History(tmp_path / "blue.configs")
    again.keep(b"2")
    assert kept(again) == [(2, "now"), (1, "")]
    again.close()
    changed = History(tmp_path / "blue.configs")
    changed.keep(b"3")
    assert before(changed) == (2, "2")
    changed.close()


def test_what_is_not_kept_is_one_sentence_and_strange_files_are_left_alone(
    history: History, tmp_path: Path
) -> None:
    history.keep(b"1")
    assert before(history) == f"no configuration that was in force before is kept in {tmp_path}/blue.configs"
    (tmp_path / "blue.configs" / "notes.txt").write_text("mine")
    assert done(history, lambda: history.content(7)).endswith("there are 1")
    history.keep(b"2")
    assert kept(history) == [(2, "now"), (1, "")]


def test_a_folder_that_cannot_be_is_told_once_and_nothing_else_happens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    history = History(tmp_path / "file" / "configs")
    history.keep(b"1")
    history.keep(b"2")
    assert kept(history) == []
    assert [one.message.partition(": ")[2] for one in caplog.records] == [
        "what is in force cannot be kept for a rollback (Not a directory)"
    ]
    history.close()


def test_what_could_not_be_kept_leaves_the_way_back_to_the_last_that_could(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(history, b"one", b"two", 1)
    assert kept(history) == [(2, ""), (1, "now")]
    with monkeypatch.context() as disk:
        disk.setattr("dsrlb.control.history.replace_whole", full)
        disk.setattr(Path, "replace", full)
        history.keep(b"three")
        assert [note for _, note in kept(history)] == ["", ""]
    assert before(history) == (1, "one")
    history.going_back_to(1)
    history.keep(b"one")
    assert kept(history) == [(2, ""), (1, "now")]


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")
