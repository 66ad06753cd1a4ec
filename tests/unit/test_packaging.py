"""Do the package's parts agree: paths, the systemd unit, and who may start what?"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
BUILD = (SCRIPTS / "build-deb").read_text()


def maintainer_script(name: str) -> str:
    return (SCRIPTS / "debian" / name).read_text()


def test_the_unit_starts_what_the_package_puts_there() -> None:
    home = re.search(r"^HOME_OF_IT=(\S+)", BUILD, re.M)
    assert home
    started = re.findall(r"^Exec\w+=(\S+dsrlb) ", (SCRIPTS / "dsrlb.service").read_text(), re.M)
    assert set(started) == {f"{home[1]}/bin/dsrlb"}
    assert all(home[1] in maintainer_script(name) for name in ("preinst", "postinst", "prerm"))


@pytest.mark.parametrize("name", ["preinst", "postinst", "prerm", "postrm"])
def test_each_maintainer_script_is_packed_and_can_be_run(name: str) -> None:
    assert re.search(rf"for script in .*\b{name}\b", BUILD)
    assert (SCRIPTS / "debian" / name).stat().st_mode & 0o111 == 0o111


def test_nothing_is_started_or_enabled_that_did_not_run() -> None:
    verbs = re.findall(r"systemctl (?:--quiet )?([a-z-]+)", maintainer_script("postinst"))
    assert verbs == ["daemon-reload", "try-restart"]


@pytest.mark.parametrize("python", ["", "3.9", "2.7", "3", "311"])
def test_a_package_for_no_python_that_dsrlb_runs_on_is_refused_in_one_sentence(python: str) -> None:
    done = subprocess.run([SCRIPTS / "build-deb", python], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("build-deb: say for which Python") and done.stderr.count("\n") == 1
