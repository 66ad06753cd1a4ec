"""A file that says what this host has for dsrlb's sake, so that the next start takes back what a crash left.

It need not outlive the host, for a reboot takes away what it tells of: nothing waits for a disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

Row = TypeVar("Row")


def read_record(record: Path, row_of: Callable[..., Row]) -> set[Row]:
    """Return its rows, each made of the words that were written; none if it is no such file."""
    try:
        return {row_of(*words) for words in json.loads(record.read_text())}
    except (OSError, ValueError, TypeError):
        return set()


def write_record(record: Path, rows: Iterable[tuple[str | int, ...]]) -> None:
    """Replace it as a whole; without rows there is none."""
    in_order = sorted(rows)
    if not in_order:
        record.unlink(missing_ok=True)
        return
    fresh = record.with_suffix(".new")
    fresh.write_text(json.dumps(in_order))
    fresh.replace(record)
