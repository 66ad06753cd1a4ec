"""What does ``dsrlb doctor`` print, and with which exit code does it end?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dsrlb.cli import cli
from dsrlb.doctor.finding import Finding, Verdict
from dsrlb.doctor.scene import Running, Scene
from dsrlb.errors import DsrlbError, UsageError

DOCTOR = import_module("dsrlb.cli.doctor")
FLAGS = ["--mode", "l2dsr", "--vip", "198.18.0.10:80", "--backend", "198.18.0.21"]
FINE = Finding("kernel", Verdict.OK, "balancer", "all is there", "Linux 6.1")
UNTOLD = Finding("mtu", Verdict.UNKNOWN, "rs1", "it is not to be seen")
BROKEN = Finding("arp_ignore", Verdict.WRONG, "rs1", "it tells of the VIP", "ARP on e0", "sysctl -w …")
Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run(*findings)``: the command, where that is found; nothing of this host is asked."""
    monkeypatch.setattr(DOCTOR, "require_network", lambda _: None)
    monkeypatch.setattr(DOCTOR, "running_at", lambda _: None)
    monkeypatch.setattr(DOCTOR, "scene_of", lambda *_: None)

    def command(*findings: Finding, words: tuple[str, ...] = (), flags: list[str] = FLAGS) -> Result:
        monkeypatch.setattr(DOCTOR, "LOOKS", (lambda _: iter(findings),))
        return CliRunner().invoke(cli, ["doctor", *flags, *words])

    return command


def test_what_is_wrong_is_printed_with_what_was_seen_and_what_mends_it(run: Run) -> None:
    done = run(FINE, BROKEN, UNTOLD)
    assert done.exit_code == 1
    assert "it tells of the VIP" in done.output and "seen: ARP on e0" in done.output
    assert "do: sysctl -w" in done.output and "Linux 6.1" not in done.output
    assert done.output.splitlines()[-1] == "1 ok, 1 wrong, 1 cannot tell"


def test_what_cannot_be_told_is_no_fault(run: Run) -> None:
    assert run(FINE, UNTOLD).exit_code == 0


def test_programs_get_each_finding_as_an_object(run: Run) -> None:
    done = run(BROKEN, words=("--json",))
    assert done.exit_code == 1
    assert json.loads(done.output) == [
        {
            "name": "arp_ignore",
            "verdict": "wrong",
            "where": "rs1",
            "says": "it tells of the VIP",
            "evidence": "ARP on e0",
            "mend": "sysctl -w …",
        }
    ]


def test_a_look_that_fails_is_told_and_the_others_are_made(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def wire(_: Scene) -> Iterator[Finding]:
        yield FINE
        raise DsrlbError("the kernel gave no answer")

    run(BROKEN)
    monkeypatch.setattr(DOCTOR, "LOOKS", (wire, lambda _: iter([BROKEN])))
    done = CliRunner().invoke(cli, ["doctor", *FLAGS, "--json"])
    found = {one["name"]: one for one in json.loads(done.output)}
    assert list(found) == ["kernel", "wire", "arp_ignore"]
    assert found["wire"]["verdict"] == "cannot tell" and "no answer" in found["wire"]["says"]


@pytest.mark.parametrize(
    ("running", "says"),
    [
        (None, "no dsrlb runs here"),
        (Running({"file": None}), "from options"),
        (Running(trouble="dsrlb did not answer."), "dsrlb did not answer; say what is to be looked at"),
    ],
)
def test_without_a_configuration_the_one_of_the_running_dsrlb_is_needed(
    run: Run, monkeypatch: pytest.MonkeyPatch, running: Running | None, says: str
) -> None:
    monkeypatch.setattr(DOCTOR, "running_at", lambda _: running)
    error = run(flags=[]).exception
    assert isinstance(error, UsageError) and says in str(error)


def test_the_file_of_the_running_dsrlb_is_taken(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "dsrlb.toml"
    service = (
        '[[service]]\nvip = "198.18.0.10:80"\nmode = "l2dsr"\n[[service.backend]]\naddress = "198.18.0.21"\n'
    )
    file.write_text(service)
    monkeypatch.setattr(DOCTOR, "running_at", lambda _: Running({"file": str(file)}))
    assert run(FINE, flags=[]).exit_code == 0
