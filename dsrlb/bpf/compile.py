"""Compile every ``*.bpf.c`` here into a ``.bpf.o`` beside it: ``python -m dsrlb.bpf.compile``.

The compiler is clang as the package ``ziglang`` carries it, with Linux's UAPI headers: a build
requirement, never a run-time one, and the same on every machine.  No system compiler and no
kernel headers are looked at.

Whether an object is current is told by content, not by time: beside ``decap.bpf.o`` lies
``decap.bpf.o.sum`` with two SHA-256 digests, of what it was made from (source, all headers of this
folder and below, flags) and of the object itself.  One that does not match is never loaded.

This module imports nothing of dsrlb: the build hook (``setup.py``) runs it before dsrlb is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
COMPILER = "ziglang==0.17.*"
_LITTLE = sys.byteorder == "little"
FLAGS = (
    *("-target", "bpfel-freestanding-none" if _LITTLE else "bpfeb-freestanding-none"),
    "-mcpu=v3",  # 32-bit registers and jumps: Linux 5.1
    *("-O2", "-g"),  # -g: libbpf reads the map definitions from the type information
    "-fno-asynchronous-unwind-tables",  # libbpf has no use for .eh_frame
    *("-Wall", "-Wextra", "-Werror"),
)
# For all architectures, and the one header more (asm/byteorder.h) that only some architecture has.
HEADERS = ("any-linux-any", "x86-linux-any" if _LITTLE else "s390x-linux-any")


class CompileError(Exception):
    """A program could not be compiled; the message says why, in one sentence or the compiler's words."""


def object_of(source: Path) -> Path:
    """Return where the object of a source lies."""
    return source.with_suffix(".o")


def is_current(source: Path) -> bool:
    """Say whether the object is there and was made from exactly these sources."""
    target = object_of(source)
    try:
        recorded = _sum_of(target).read_text()
        return recorded == _sums(source, target.read_bytes())
    except FileNotFoundError:
        return False


def compile_all(folder: Path = FOLDER) -> Iterator[Path]:
    """Compile what is not current; yield each object as it is made.  Raises ``CompileError``."""
    for source in sorted(folder.glob("*.bpf.c")):
        if not is_current(source):
            yield compile_one(source)


def compile_one(source: Path) -> Path:
    """Compile one source; return its object, which is whole or unchanged whatever happens."""
    target = object_of(source)
    with tempfile.TemporaryDirectory(prefix="dsrlb-bpf-") as scratch:
        fresh = Path(scratch) / target.name
        _run_compiler(source, fresh, Path(scratch))
        compiled = fresh.read_bytes()
    _replace(target, compiled)
    _replace(_sum_of(target), _sums(source, compiled).encode())
    return target


def _run_compiler(source: Path, target: Path, scratch: Path) -> None:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise CompileError(
            f"{source.name} cannot be compiled: the compiler is missing; run pip install '{COMPILER}'."
        )
    headers = Path(spec.origin).parent / "lib/libc/include"
    include = [word for name in HEADERS for word in ("-isystem", str(headers / name))]
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *include, "-I", str(source.parent)]
    caches = {"ZIG_LOCAL_CACHE_DIR": str(scratch / "zig"), "ZIG_GLOBAL_CACHE_DIR": str(scratch / "zig")}
    done = subprocess.run(
        [*command, "-c", str(source), "-o", str(target)],
        env={**os.environ, **caches},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CompileError(f"{source.name} does not compile:\n{done.stderr.strip()}")


def _sums(source: Path, compiled: bytes) -> str:
    made_from = hashlib.sha256(repr((FLAGS, HEADERS, COMPILER)).encode())
    for path in [source, *sorted(source.parent.rglob("*.h"))]:
        made_from.update(f"\n{path.name} {path.stat().st_size}\n".encode())
        made_from.update(path.read_bytes())
    return f"{made_from.hexdigest()} {hashlib.sha256(compiled).hexdigest()}\n"


def _sum_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.sum")


def _replace(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def main() -> int:
    """Compile what is not current, and say so; return the exit code."""
    try:
        for path in compile_all():
            print(f"compiled {path.name} ({path.stat().st_size} bytes)")
    except CompileError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
