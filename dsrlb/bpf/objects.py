"""Where the compiled programs are."""

from __future__ import annotations

from pathlib import Path

from dsrlb.bpf.compile import FOLDER, is_current, object_of
from dsrlb.errors import HostError


def object_path(name: str) -> Path:
    """Return the object file of ``NAME.bpf.c``; raise ``HostError`` when it is missing or stale."""
    source = FOLDER / f"{name}.bpf.c"
    if not is_current(source):
        raise HostError(
            f"{object_of(source)} is missing or older than its source: install dsrlb again with pip, "
            "or run python -m dsrlb.bpf.compile."
        )
    return object_of(source)
