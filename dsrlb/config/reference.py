"""The tables of docs/configuration.md, from the schema: ``python -m dsrlb.config.reference`` prints them."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from dsrlb.config.keys import Key, Kind, Table
from dsrlb.config.schema import TABLES

HEAD = "| Key | Takes | Without it | Meaning |\n|---|---|---|---|"


def reference(table: Table) -> str:
    """Return the reference of one table as a Markdown table."""
    return "\n".join((HEAD, *(f"| {' | '.join(cells)} |" for cells in map(_cells, table.keys))))


def _cells(key: Key) -> Iterator[str]:
    yield f"`{key.name}`"
    yield _takes(key.takes)
    yield _without(key)
    yield key.text


def _without(key: Key) -> str:
    if key.unless is not None:
        return f"**needed**, but for {key.unless.words}"
    return "**needed**" if key.is_needed else key.default or "none"


def _takes(takes: Kind | Table) -> str:
    if isinstance(takes, Table):
        return f"{'tables' if takes.is_array else 'a table'}, `{takes.head}`"
    if takes.choices:
        return ", ".join(f"`{choice}`" for choice in takes.choices)
    return f"{takes.words}: `{takes.example}`"


if __name__ == "__main__":
    for one in TABLES:
        sys.stdout.write(f"## {one.head}\n\n{reference(one)}\n\n")
