"""The one build step that pyproject.toml cannot say: compile the BPF programs before files are collected."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

sys.path.insert(0, str(Path(__file__).parent))
from dsrlb.bpf.compile import CompileError, compile_all


def compile_programs() -> None:
    """Compile what is not current; end the build with the compiler's words when it fails."""
    try:
        for path in compile_all():
            print(f"compiled {path.name}")
    except CompileError as error:
        raise SystemExit(f"error: {error}") from error


class BuildWithPrograms(build_py):
    """Collect the package's files once the programs are compiled."""

    def run(self) -> None:
        """Compile, then do what build_py does."""
        compile_programs()
        super().run()


class EditableWithPrograms(editable_wheel):
    """Link to the checkout once the programs are compiled (of a failing build_py it would only warn)."""

    def run(self) -> None:
        """Compile, then do what editable_wheel does."""
        compile_programs()
        super().run()


setup(cmdclass={"build_py": BuildWithPrograms, "editable_wheel": EditableWithPrograms})
