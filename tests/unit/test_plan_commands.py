"""Do plan, apply and rollback change what they say, and nothing when they are refused?"""

from __future__ import annotations

import json
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dsrlb.admin.server import MOST_REQUEST_BYTES
from dsrlb.cli import asking as commands
from dsrlb.cli import cli
from dsrlb.errors import ConfigError, DsrlbError

OLD = """[[service]]
vip = "198.18.1.100:80"
mode = "l2dsr"
[[service.backend]]
address = "198.18.1.11"
"""
NEW = OLD + '[[service.backend]]\naddress = "198.18.1.12"\n'
PLAN = {
    "file": "new.toml",
    "running_file": "",
    "is_running": True,
    "interfaces": None,
    "services": [],
    "unchanged": 1,
    "haproxy": "",
    "refused": [],
    "warnings": [],
    "unresolved": [],
}


class Running:
    """Stands in for a dsrlb that runs by a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.asked: list[str] = []
        self.refuses: DsrlbError | None = None
        self.said: dict[str, Any] = {}
        self.number: int | None = None  # of the last request
        self.in_force = sha256(OLD.encode()).hexdigest()

    def __call__(self, _: Path, request: dict[str, Any]) -> Any:
        self.asked.append(request["do"])
        self.number = request.get("number")
        if request["do"] == "plan":
            planned = sha256(request["content"].encode()).hexdigest()
            known = {"running_file": str(self.file), "digest": planned, "running_digest": self.in_force}
            return {**PLAN, **known, **self.said}
        if request["do"] == "history":
            return {"file": str(self.file), "number": 4, "content": OLD}
        if self.refuses is not None:
            raise self.refuses
        moved = [{"service": "web", "slots": 65_537, "slots_moved": 9}]
        return {"digest": sha256(self.file.read_bytes()).hexdigest(), "services": moved}


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Running:
    it = Running(tmp_path / "dsrlb.toml")
    it.file.write_text(OLD)
    it.file.chmod(0o640)
    monkeypatch.setattr(commands, "ask_at", it)
    return it


@pytest.fixture
def new(tmp_path: Path) -> str:
    file = tmp_path / "new.toml"
    file.write_text(NEW)
    return str(file)


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def test_apply_puts_the_file_in_the_place_of_the_one_that_dsrlb_runs_by(running: Running, new: str) -> None:
    done = run("apply", "--yes", new)
    assert done.exit_code == 0, done.output
    assert running.asked == ["plan", "apply"]
    assert running.file.read_text() == NEW
    assert stat.S_IMODE(running.file.stat().st_mode) == 0o640
    assert done.output.endswith("web: 9 of 65537 slots have moved\napplied\n")


def test_what_was_written_and_never_loaded_is_not_lost(running: Running, new: str) -> None:
    assert run("apply", "--yes", new).exit_code == 0
    assert not running.file.with_name("dsrlb.toml.not-loaded").exists()
    running.file.write_text(OLD + "# a thought\n")
    done = run("apply", "--yes", new)
    aside = running.file.with_name("dsrlb.toml.not-loaded")
    assert aside.read_text() == OLD + "# a thought\n" and str(aside) in done.stderr
    assert running.file.read_text() == NEW


def test_a_balancer_that_does_not_answer_leaves_it_open_whether_that_is_in_force(
    running: Running, new: str
) -> None:
    running.refuses = DsrlbError("dsrlb did not answer at /run/dsrlb/default.sock.")
    assert "whether it is in force is not known" in str(run("apply", "--yes", new).exception)
    assert running.file.read_text() == NEW


def test_a_link_to_the_file_stays_one(running: Running, new: str, tmp_path: Path) -> None:
    there = tmp_path / "behind.toml"
    running.file.rename(there)
    running.file.symlink_to(there)
    assert run("apply", "--yes", new).exit_code == 0
    assert running.file.is_symlink() and there.read_text() == NEW


def test_what_dsrlb_refuses_is_put_back(running: Running, new: str) -> None:
    running.refuses = ConfigError("another machine has the VIP")
    done = run("apply", "--yes", new)
    assert isinstance(done.exception, ConfigError) and running.file.read_text() == OLD


def test_what_would_be_refused_is_not_tried(running: Running, new: str) -> None:
    running.said = {"refused": ["another machine has the VIP"]}
    for words in (("apply", "--yes", new), ("rollback", "--yes"), ("plan", new)):
        done = run(*words)
        assert isinstance(done.exception, ConfigError) and "has the VIP" in str(done.exception)
    assert "apply" not in running.asked and running.file.read_text() == OLD


def test_without_a_terminal_and_a_yes_nothing_is_changed(running: Running, new: str) -> None:
    done = run("apply", new)
    assert "say --yes" in str(done.exception) and running.asked == []


def test_a_balancer_without_a_file_has_none_to_change(running: Running, new: str) -> None:
    running.said = {"running_file": None}
    assert "started by options" in str(run("apply", "--yes", new).exception)
    assert running.asked == ["plan"]


def test_a_balancer_that_sees_another_file_is_found_out(running: Running, new: str) -> None:
    running.said = {"digest": "of something else"}
    assert "does it see the same file?" in str(run("apply", "--yes", new).exception)


def test_a_file_that_cannot_be_written_is_one_sentence(running: Running, new: str) -> None:
    running.file.unlink()
    running.file.mkdir()
    done = run("apply", "--yes", new)
    assert "cannot be written (Is a directory)" in str(done.exception) and running.asked == ["plan"]


def test_a_file_that_is_gone_is_there_again_unless_it_is_refused(running: Running, new: str) -> None:
    running.file.unlink()
    running.refuses = ConfigError("another machine has the VIP")
    assert run("apply", "--yes", new).exception and not running.file.exists()
    running.refuses = None
    assert run("rollback", "--yes").exit_code == 0
    assert running.file.read_text() == OLD and stat.S_IMODE(running.file.stat().st_mode) == 0o600


def test_rollback_puts_back_what_was_kept(running: Running) -> None:
    running.file.write_text(NEW)
    running.in_force = sha256(NEW.encode()).hexdigest()
    done = run("rollback", "--yes", "--json")
    assert running.asked == ["history", "plan", "apply"] and running.file.read_text() == OLD
    assert json.loads(done.output)["moved"][0]["slots_moved"] == 9
    assert running.number == 4


def test_a_file_with_a_problem_is_told_before_anybody_is_asked(running: Running, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("bogus = 1\n" + OLD)
    done = run("plan", str(bad))
    assert isinstance(done.exception, ConfigError) and "bad.toml:1: " in str(done.exception)
    assert running.asked == []


def test_a_file_that_is_too_large_for_a_request_is_one_sentence(running: Running, tmp_path: Path) -> None:
    large = tmp_path / "large.toml"
    large.write_text(OLD + "#" * MOST_REQUEST_BYTES)
    assert "too much for a plan" in str(run("plan", str(large)).exception) and running.asked == []


def test_two_files_are_compared_without_a_balancer(running: Running, new: str) -> None:
    done = run("plan", "--against", str(running.file), new)
    assert done.exit_code == 0 and running.asked == []
    assert "+ 198.18.1.12: 0.0% -> 50.0% of new flows" in done.output
    assert "of 65537 slots move: 50.0% of new flows go to another server" in done.output
    assert "flows under way" not in done.output


def test_a_plan_says_what_becomes_of_flows_and_of_haproxy(running: Running, new: str) -> None:
    compared = json.loads(run("plan", "--json", "--against", new, str(running.file)).output)
    (service,) = compared["services"]
    counted = {"flows": 40, "flows_moved": 10, "flows_moved_percent": 25.0, "flows_are": "at most"}
    running.said = {"services": [{**service, **counted}], "haproxy": "reload", "interfaces": ["e0", "e1"]}
    said = run("plan", new).output
    assert "flows under way: at most 10 (25.0%) move to other servers, and break" in said
    assert "HAProxy is reloaded" in said and "~ interfaces: e0, e1" in said
