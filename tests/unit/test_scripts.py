"""Do the scripts hold together before anybody runs them as root?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dsrlb.engines.haproxy import process
from dsrlb.host.privileges import BPF_CAPABILITIES, CAPABILITIES
from dsrlb.host.probe_path import TUN

ROOT = Path(__file__).parents[2]


def shell_scripts() -> list[Path]:
    folders = (
        ROOT / "scripts",
        ROOT / "scripts/debian",
        ROOT / "vagrant",
        ROOT / "vagrant/provision",
        ROOT / "dsrlb/host",
    )
    found = [path for folder in folders for path in folder.iterdir() if path.suffix in ("", ".sh")]
    scripts = [path for path in found if path.is_file() and path.name != "Vagrantfile"]
    return sorted(path for path in [*scripts, ROOT / ".ci/run"] if "python" not in first_line(path))


def first_line(path: Path) -> str:
    return path.read_text().partition("\n")[0]


def shell_of(path: Path) -> str:
    return "sh" if first_line(path) in ("#!/bin/sh", "# shellcheck shell=sh") else "bash"


each_script = pytest.mark.parametrize("script", shell_scripts(), ids=lambda path: str(path.relative_to(ROOT)))


@each_script
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    if shutil.which("shellcheck") is None:
        assert os.environ.get("CI") != "true", "scripts/test installs shellcheck"
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        ["shellcheck", "--external-sources", str(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


@each_script
def test_a_script_parses(script: Path) -> None:
    done = subprocess.run([shell_of(script), "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@each_script
def test_a_script_is_executable_unless_it_is_a_part_of_others(script: Path) -> None:
    assert os.access(script, os.X_OK) == first_line(script).startswith("#!")


def test_there_are_the_scripts_that_the_readme_names() -> None:
    assert {"demo", "test", "check", "lib.sh", "run"} <= {path.name for path in shell_scripts()}


@pytest.mark.parametrize("name", ["demo", "test"])
def test_without_root_a_script_says_one_sentence_and_exits_with_4(name: str, tmp_path: Path) -> None:
    nobody = tmp_path / "id"  # found first on PATH: whoever asks is not root
    nobody.write_text("#!/bin/sh\necho 1000\n")
    nobody.chmod(0o755)
    surroundings = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [str(ROOT / "scripts" / name)], capture_output=True, text=True, check=False, env=surroundings
    )
    assert done.returncode == 4
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "root" in done.stderr


def test_the_systemd_unit_grants_what_the_engines_need_and_no_more() -> None:
    unit = (ROOT / "scripts/dsrlb.service").read_text()
    granted = re.findall(r"^(?:CapabilityBoundingSet|AmbientCapabilities)=(.*)$", unit, re.MULTILINE)
    assert [line.split() for line in granted] == [
        [*CAPABILITIES, *sorted(BPF_CAPABILITIES), *process.CAPABILITIES]
    ] * 2
    for line in (
        "Type=notify",
        "KillMode=process",  # HAProxy goes on
        "WatchdogSec=30",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "DevicePolicy=closed",
    ):
        assert f"\n{line}\n" in unit
    assert f"\nDeviceAllow={TUN} rw\n" in unit and "PrivateDevices" not in unit


def test_the_systemd_unit_checks_the_file_before_it_has_it_read_again() -> None:
    unit = (ROOT / "scripts/dsrlb.service").read_text()
    commands = re.findall(r"^Exec(\w+)=(?:\S*/dsrlb )?(.*)$", unit, re.MULTILINE)
    assert commands == [
        ("Start", "serve --config /etc/dsrlb.toml"),
        ("Reload", "check --no-host /etc/dsrlb.toml"),
        ("Reload", "/bin/kill -HUP $MAINPID"),
    ]
