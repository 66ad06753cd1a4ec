"""Do shells complete dsrlb's commands, options and values by what dsrlb prints for them?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dsrlb.cli import cli

ROOT = Path(__file__).parents[2]


def printed(shell: str) -> str:
    done = CliRunner().invoke(cli, ["completion", shell])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash", ["complete -o nosort -F _dsrlb_completion dsrlb", "_DSRLB_COMPLETE=bash_complete"]),
        ("zsh", ["#compdef dsrlb", "_DSRLB_COMPLETE=zsh_complete"]),
        ("fish", ["--command dsrlb", "_DSRLB_COMPLETE=fish_complete"]),
    ],
)
def test_each_shell_is_told_whom_to_ask(shell: str, words: list[str]) -> None:
    told = printed(shell)
    assert [word for word in words if word not in told] == []


def test_the_shell_is_not_run_to_print_its_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    assert printed("bash").strip()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["dsrlb", "undr"], ["undrain"]),
        (["dsrlb", "serve", "--mo"], ["--mode"]),
        (["dsrlb", "serve", "--mode", "l"], ["l2dsr", "l3dsr"]),
        (["dsrlb", "completion", ""], ["bash", "fish", "zsh"]),
    ],
)
def test_bash_is_offered_what_can_come_next(typed: list[str], offered: list[str], tmp_path: Path) -> None:
    program = tmp_path / "dsrlb"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m dsrlb "$@"\n')
    program.chmod(0o755)
    words = " ".join(f"'{word}'" for word in typed)
    script = (
        f"complete() {{ :; }}\n{printed('bash')}\n"
        f"COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}\n"
        "_dsrlb_completion dsrlb; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    bash = shutil.which("bash")
    assert bash, "bash is not here"
    done = subprocess.run([bash, "-c", script], env=surroundings, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == offered, done.stderr
