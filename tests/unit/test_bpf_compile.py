"""Is a stale BPF object ever used?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dsrlb.bpf import compile as compiler
from dsrlb.bpf import objects
from dsrlb.errors import HostError
from dsrlb.host.decap import COUNTERS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program with one header in a folder below, and a compiler that glues them together."""

    def compiled(source: Path, target: Path, scratch: Path) -> None:
        target.write_bytes(b"object of " + source.read_bytes())

    monkeypatch.setattr(compiler, "_run_compiler", compiled)
    (tmp_path / "xdp").mkdir()
    (tmp_path / "xdp/part.h").write_text("part")
    (tmp_path / "one.bpf.c").write_text("source")
    return tmp_path / "one.bpf.c"


def make(source: Path) -> list[str]:
    return [path.name for path in compiler.compile_all(source.parent)]


def test_what_is_missing_is_compiled_once(source: Path) -> None:
    assert not compiler.is_current(source)
    assert make(source) == ["one.bpf.o"]
    assert compiler.is_current(source)
    assert make(source) == []
    assert sorted(path.name for path in source.parent.iterdir()) == [
        *("one.bpf.c", "one.bpf.o", "one.bpf.o.sum", "xdp")
    ]


@pytest.mark.parametrize("changed", ["one.bpf.c", "xdp/part.h", "one.bpf.o", "one.bpf.o.sum"])
def test_any_change_makes_an_object_stale_whatever_its_time(source: Path, changed: str) -> None:
    make(source)
    path = source.parent / changed
    path.write_bytes(path.read_bytes() + b"!")
    (source.parent / "one.bpf.o").touch()
    assert not compiler.is_current(source)
    assert make(source) == ["one.bpf.o"]
    assert compiler.is_current(source)


def test_a_new_header_or_other_flags_make_an_object_stale(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(source)
    (source.parent / "more.h").write_text("")
    assert not compiler.is_current(source)
    make(source)
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-DMORE"))
    assert not compiler.is_current(source)


def test_a_missing_compiler_is_one_sentence_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.bpf.c").write_text("")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(compiler.compile_all, "__defaults__", (tmp_path,))
    assert compiler.main() == 1
    said = capsys.readouterr().err
    assert said == (
        "one.bpf.c cannot be compiled: the compiler is missing; run pip install 'ziglang==0.17.*'.\n"
    )


def test_the_loader_refuses_a_stale_object(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "FOLDER", source.parent)
    with pytest.raises(HostError, match="run python -m dsrlb"):
        objects.object_path("one")
    make(source)
    assert objects.object_path("one").read_bytes() == b"object of source"
    source.write_text("another source")
    with pytest.raises(HostError, match="older than its source"):
        objects.object_path("one")


def test_the_wheel_takes_every_source_and_object_along() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "dsrlb"
    ]
    taken = {path for pattern in patterns for path in (ROOT / "dsrlb").glob(pattern)}
    there = {
        path for path in compiler.FOLDER.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert there <= taken
    assert compiler.FOLDER / "decap.bpf.o.sum" in there


@pytest.mark.parametrize("program", sorted(path.name for path in compiler.FOLDER.glob("*.bpf.c")))
def test_every_program_that_is_shipped_is_compiled(program: str) -> None:
    assert objects.object_path(program.removesuffix(".bpf.c")).stat().st_size > 0


def test_the_counters_have_the_same_names_in_c_and_in_python() -> None:
    text = (compiler.FOLDER / "decap.bpf.c").read_text()
    listed = text.partition("enum counter {")[2].partition("COUNTERS,")[0]
    names = [line.split(",")[0].strip() for line in listed.splitlines() if "," in line]
    assert tuple(name.lower() for name in names) == COUNTERS
