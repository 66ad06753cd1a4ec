"""Does one set-up at a time hold, and does nobody wait for one that has ended?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from check_servers import eventually

from dsrlb.errors import HostError
from dsrlb.host import steps_lock
from dsrlb.host.steps_lock import alone

AT_WORK = [sys.executable, "-c", "import time; time.sleep(600)", "backend", "setup", "--mode", "l2dsr"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps_lock, "PATIENCE_S", 0.2)


def hold(state: Path, words: list[str]) -> subprocess.Popen[bytes]:
    """Start a process that stands in the file."""
    process = subprocess.Popen(words, start_new_session=True)
    state.mkdir(parents=True, exist_ok=True)
    (state / "running").write_text(f"{process.pid}\n")
    return process


def test_it_leaves_nothing_behind_and_what_is_on_record_alone(tmp_path: Path) -> None:
    with alone(tmp_path / "record", "setup") as ended:
        assert ended == [] and (tmp_path / "record/running").exists()
    assert not (tmp_path / "record").exists()
    with pytest.raises(ZeroDivisionError), alone(tmp_path / "record", "setup"):
        (tmp_path / "record/vip").touch()
        raise ZeroDivisionError
    assert [one.name for one in (tmp_path / "record").iterdir()] == ["vip"]


def test_a_setup_does_not_go_beside_another_one(tmp_path: Path) -> None:
    with hold(tmp_path, AT_WORK) as other:
        try:
            refused = rf"^process {other.pid} is at work on this here, and nothing was changed"
            with pytest.raises(HostError, match=refused), alone(tmp_path, "setup"):
                pass
            assert other.poll() is None
        finally:
            other.kill()


def test_who_has_only_made_the_file_is_not_taken_for_one_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hold(tmp_path, AT_WORK) as other:
        running = tmp_path / "running"
        running.write_text("")
        assert eventually(Path("/proc", str(other.pid), "cmdline").read_bytes)
        monkeypatch.setattr(steps_lock.time, "sleep", lambda _: running.write_text(f"{other.pid}\n"))
        try:
            with pytest.raises(HostError, match="is at work on this here"), alone(tmp_path, "setup"):
                pass
        finally:
            other.kill()


def test_an_undo_ends_what_is_at_work(tmp_path: Path) -> None:
    with hold(tmp_path, AT_WORK) as other:
        try:
            with alone(tmp_path, "undo") as ended:
                assert other.wait(30) < 0
            assert ended == [f"ended    process {other.pid}, which was at work on this and hung"]
        finally:
            other.kill()


@pytest.mark.parametrize("text", ["", "no number", "4194304000\n", "1\n"])
def test_what_is_no_setup_at_work_holds_nobody_up(tmp_path: Path, text: str) -> None:
    tmp_path.joinpath("running").write_text(text)
    with alone(tmp_path, "setup") as ended:
        assert ended == []
