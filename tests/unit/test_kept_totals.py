"""Is a total in its file before it is told, and is nobody kept up by a disk that fails?"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_counts import MAPS, A, counted

from dsrlb.control import kept_totals
from dsrlb.control.kept_totals import KeptTotals, totals_path
from dsrlb.control.totals import Totals, Unfit
from dsrlb.engines.base import Counters

WAIT_S = 10.0


class Engine:
    """An engine that says what it is told to."""

    def __init__(self, counts_in: str) -> None:
        self.counts_in, self.now, self.is_stopped = counts_in, counted(), False

    def counters(self) -> Counters:
        return self.now

    def stop(self) -> None:
        self.is_stopped = True


class Keeps(KeptTotals):
    """Totals of such an engine."""

    def count(self, now: Counters) -> Counters:
        self._engine.now = now  # type: ignore[attr-defined]  # it is a stand-in
        return self.look()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Keeps]]:
    made: list[Keeps] = []

    def start(counts_in: str = "", folder: Path = tmp_path) -> Keeps:
        made.append(Keeps(totals_path(str(folder), "blue")))
        engine = Engine(counts_in)
        made[-1].begin(engine, engine.counters)  # type: ignore[arg-type]  # a stand-in
        return made[-1]

    yield start
    for one in made:
        one.close()


def scrape(totals: Keeps, now: Counters) -> Counters:
    """Return what somebody is told, when he is told it."""
    seen, kept = totals.count(now), threading.Event()
    totals.when_kept(kept.set)
    assert kept.wait(WAIT_S)
    return seen


def killed(totals: KeptTotals) -> None:
    """Let go of the file as a process does that is killed: nothing more is written."""
    totals._looks = 0
    totals.close()


def test_what_was_told_is_in_the_file_before(started: Any, tmp_path: Path) -> None:
    first = started()
    assert scrape(first, counted(a=10)).backends[A].packets == 10
    first.count(counted(a=99))  # told to nobody
    killed(first)
    assert scrape(started(), counted(a=2)).backends[A].packets == 12
    file = tmp_path / "counters-blue.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["counters-blue.json", "counters-blue.lock"]


def test_the_last_look_is_written_at_the_end(started: Any) -> None:
    first = started(MAPS)
    first.count(counted(a=9))
    first._engine.now = counted(a=10)
    first.end()
    first.close()
    assert first._engine.is_stopped
    assert scrape(started(MAPS), counted(a=11)).backends[A].packets == 11


def test_many_that_ask_at_once_wait_for_few_writes(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    monkeypatch.setattr(kept_totals, "replace_whole", lambda path, content: writes.append(content))
    totals, done = started(), threading.Semaphore(0)
    for number in range(200):
        totals.count(counted(a=number))
        totals.when_kept(done.release)
    for _ in range(200):
        assert done.acquire(timeout=WAIT_S)
    assert 1 <= len(writes) < 20
    assert json.loads(writes[-1])["backends"][f"{A[0].hex()} {A[1].hex()}"][0] == 199


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_nothing_is_told_of_once_and_keeps_nobody(
    started: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    caplog.set_level("INFO")
    totals = started()
    with monkeypatch.context() as broken:
        broken.setattr(kept_totals, "replace_whole", fail)
        assert [scrape(totals, counted(a=n)).backends[A].packets for n in (1, 2, 3)] == [1, 2, 3]
    (told,) = caplog.records
    assert os.strerror(number) in told.getMessage() and str(totals.path) in told.getMessage()
    scrape(totals, counted(a=4))
    assert "are kept" in caplog.records[-1].getMessage() and "again" in caplog.records[-1].getMessage()
    killed(totals)
    assert scrape(started(), counted()).backends[A].packets == 4


def test_a_folder_that_cannot_be_is_told_of_and_tried_again(
    started: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.write_text("a file is in its place")
    totals = started(folder=folder)
    assert scrape(totals, counted(a=1)).backends[A].packets == 1
    assert len(caplog.records) == 1
    folder.unlink()
    scrape(totals, counted(a=2))
    killed(totals)
    assert scrape(started(folder=folder), counted()).backends[A].packets == 2


def test_a_disk_that_hangs_keeps_who_asks_for_a_moment_only(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, kept = threading.Event(), threading.Event()
    monkeypatch.setattr(kept_totals, "replace_whole", lambda *_: hangs.wait(WAIT_S))
    monkeypatch.setattr(kept_totals, "WAIT_S", 0.05)
    totals = started()
    totals.count(counted(a=1))
    totals.when_kept(kept.set)
    until = time.monotonic() + WAIT_S
    while not kept.wait(0.01):
        totals.hurry()
        assert time.monotonic() < until
    hangs.set()


DAMAGED = [
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    b'{"format": 2}',
    b'{"format": 1, "counts_in": "", "frames": {}}',
    b'{"format": 1, "counts_in": "", "frames": {"forwarded": [1]}, "backends": {}}',
    b'{"format": 1, "counts_in": "", "frames": {"forwarded": [1, -2]}, "backends": {}}',
    b'{"format": 1, "counts_in": "", "frames": {"forwarded": [1, 2.5]}, "backends": {}}',
    b'{"format": 1, "counts_in": "", "frames": {}, "backends": {"zz yy": [1, 1, 1, 1, 1, 1]}}',
    b'{"format": 1, "counts_in": "", "frames": {}, "backends": {"00": [1, 1, 1, 1, 1, 1]}}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_one_sentence_and_is_replaced(
    started: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    with pytest.raises(Unfit):
        Totals().go_on(content, "")
    file = tmp_path / "counters-blue.json"
    file.write_bytes(content)
    totals = started()
    (told,) = caplog.records
    assert str(file) in told.getMessage() and "\n" not in told.getMessage()
    assert scrape(totals, counted(a=3)).backends[A].packets == 3
    killed(totals)
    assert scrape(started(), counted()).backends[A].packets == 3


def test_two_of_one_name_do_not_write_into_one_file(
    started: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = started(), started()
    assert "--instance" in caplog.records[-1].getMessage()
    assert scrape(second, counted(a=500)).backends[A].packets == 500
    scrape(first, counted(a=7))
    killed(second)
    killed(first)
    assert scrape(started(), counted()).backends[A].packets == 7


def test_a_link_in_place_of_a_file_leads_nowhere(started: Any, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("counters-blue.json", "counters-blue.lock", ".counters-blue.json.new"):
        (tmp_path / name).symlink_to(victim)
    scrape(started(), counted(a=1))
    assert victim.read_text() == "mine"
