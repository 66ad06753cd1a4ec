"""Does the environment for other kernels come from the Python whose library goes with it?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kernels import image

HERE = Path(sys.executable).resolve()


@pytest.mark.parametrize(("made_of", "made_anew"), [(HERE, False), (Path("/bin/sh"), True), (None, True)])
def test_an_environment_of_another_python_is_made_anew(
    made_of: Path | None, made_anew: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(image, "_run", commands.append)
    if made_of is not None:
        (tmp_path / "venv/bin").mkdir(parents=True)
        (tmp_path / "venv/bin/python").symlink_to(made_of)
    image.environment(tmp_path, Path("dsrlb.whl"))
    assert ("venv" in commands[0]) == made_anew
    assert all("install" in one for one in commands[made_anew:])


def test_a_command_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(image.ImageError, match=r"ls .*/nowhere failed: .*nowhere"):
        image._run(["ls", str(tmp_path / "nowhere")])
