"""Is what is durable read as it was written, and what is wrong with a file one sentence?"""

from __future__ import annotations

import json
import queue
from pathlib import Path
from typing import Any

import pytest

from dsrlb.control.durable import Durable
from dsrlb.control.kept import MOST_TOLD, NOTHING, Kept, Unfit, after, read, written
from dsrlb.errors import DsrlbError
from dsrlb.standing import CONFIGURED, Wish

A, B = (b"web", b"rs1"), (b"web", b"rs2")
PEOPLE = {("198.18.1.100:80/tcp", "198.18.1.11"): A, ("198.18.1.100:80/tcp", "198.18.1.12"): B}
RS1 = {"service": "198.18.1.100:80/tcp", "backend": "198.18.1.11"}
WAIT_S = 10.0


def file_of(*entries: Any, **more: Any) -> bytes:
    return json.dumps({"version": 1, "backends": list(entries), **more}).encode()


def test_what_is_written_is_read_again_and_what_is_as_configured_is_left_out() -> None:
    kept = {A: Kept(drained=True, until=1.5, weight=7), B: Kept(enabled=False)}
    assert read(written(kept, PEOPLE), PEOPLE) == (kept, [])
    assert read(written({A: NOTHING}, PEOPLE), PEOPLE) == ({}, [])
    assert read(written({(b"gone", b"rs9"): Kept(drained=True)}, PEOPLE), PEOPLE) == ({}, [])


def test_a_wish_changes_what_it_names_alone() -> None:
    drained = after(Kept(weight=5), Wish(drained=True), 9.0)
    assert drained == Kept(weight=5, drained=True, until=9.0)
    assert after(drained, Wish(drained=True), None) == drained
    assert after(drained, Wish(enabled=False), None) == Kept(weight=5, drained=True, until=9.0, enabled=False)
    assert after(drained, Wish(drained=False), None) == Kept(weight=5)
    assert after(drained, Wish(weight=CONFIGURED), None) == Kept(drained=True, until=9.0)


def test_a_drain_whose_end_came_while_nobody_looked_is_over() -> None:
    kept = Kept(drained=True, until=100.0)
    assert (kept.wish(99.0).gone, kept.wish(100.0).gone, Kept(drained=True).wish(1e12).gone) == (
        False,
        True,
        False,
    )
    assert NOTHING.wish(0) == Wish(enabled=True, drained=False, weight=CONFIGURED, gone=False)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "dsrlb did not write it"),
        (b"{}", "dsrlb did not write it"),
        (b'{"version": 1, "backends": {}}', "dsrlb did not write it"),
        (b'{"version": 2, "backends": []}', "of version 2, and this dsrlb knows 1"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(content: bytes, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        read(content, PEOPLE)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (7, "no object"),
        ({}, "backend 'None' of 'None' is not configured"),
        ({**RS1, "backend": "198.18.1.99"}, "'198.18.1.99' of '198.18.1.100:80/tcp' is not configured"),
        ({**RS1, "weight": -1}, "malformed"),
        ({**RS1, "weight": True}, "malformed"),
        ({**RS1, "weight": 65_536}, "malformed"),
        ({**RS1, "drained": 1}, "malformed"),
        ({**RS1, "enabled": None}, "malformed"),
        ({**RS1, "until": "soon"}, "malformed"),
        ({**RS1, "until": float("nan")}, "malformed"),
        ({**RS1, "colour": "red"}, "malformed"),
    ],
)
def test_an_entry_that_cannot_be_used_is_left_out_and_told_of(entry: Any, why: str) -> None:
    good = {"service": "198.18.1.100:80/tcp", "backend": "198.18.1.12", "weight": 3}
    kept, wrong = read(file_of(entry, good), PEOPLE)
    assert kept == {B: Kept(weight=3)}
    assert len(wrong) == 1 and why in wrong[0]


def test_many_wrong_entries_are_a_few_sentences() -> None:
    _, wrong = read(file_of(*[{"backend": "x"}] * 100), PEOPLE)
    assert len(wrong) == MOST_TOLD + 1 and wrong[-1] == "92 more entries cannot be used"


# ----------------------------------------------------------------------------- on the disk


class Told:
    """What was told of changes that were to be durable."""

    def __init__(self, durable: Durable) -> None:
        self.durable = durable
        self.told: queue.Queue[DsrlbError | None] = queue.Queue()

    def keep(self, **kept: Any) -> DsrlbError | None:
        self.durable.change(lambda of: {**of, A: Kept(**kept)}, PEOPLE, self.told.put)
        return self.told.get(timeout=WAIT_S)


def test_a_change_is_on_the_disk_when_it_is_told(tmp_path: Path) -> None:
    durable = Durable(tmp_path / "state" / "default.json")
    durable.load(PEOPLE)
    assert durable.of == {} and not durable.path.parent.exists()
    assert Told(durable).keep(weight=7) is None and durable.of == {A: Kept(weight=7)}
    durable.close()
    again = Durable(durable.path)
    again.load(PEOPLE)
    assert again.of == {A: Kept(weight=7)}
    again.close()


def test_what_cannot_be_written_is_told_and_not_taken_for_durable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    durable = Durable(tmp_path / "file" / "default.json")
    error = Told(durable).keep(weight=7)
    assert str(error).startswith(f"{durable.path} cannot be written (") and durable.of == {}
    durable.close()


def test_an_unfit_file_is_told_of_once_and_put_aside_by_the_next_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "default.json"
    path.write_text("hello")
    durable = Durable(path)
    durable.load(PEOPLE)
    assert [one.getMessage() for one in caplog.records] == [
        f"what was made durable is lost: {path} cannot be used: it is no JSON"
    ]
    assert Told(durable).keep(weight=7) is None
    assert (tmp_path / "default.json.unfit").read_text() == "hello"
    assert read(path.read_bytes(), PEOPLE)[0] == {A: Kept(weight=7)}
    durable.close()


def test_a_folder_in_the_place_of_the_file_is_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    durable = Durable(tmp_path)
    durable.load(PEOPLE)
    assert "no regular file" in caplog.text and durable.of == {}
