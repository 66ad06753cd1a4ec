"""What is inside a running dsrlb, as tables for a person: the forwarding table, and health."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.table import Table

from dsrlb.cli.tables import Cell, drain_notes, ejection_note, left, response_note, right, table

Row = dict[str, Any]


def forwarding(rows: Iterable[Row]) -> Table:
    """Return the forwarding table: a line for each backend of each service."""
    columns = left("service", "mode", "cursor", "mark", "backend", "name") + right("slots", "share", "weight")
    columns += left("interface", "mac") + right("mtu", "fits") + left("note")
    return table(columns, (line for row in rows for line in _service(row)))


def _service(row: Row) -> Iterator[list[Cell]]:
    about = [row[word] for word in ("service", "mode", "cursor", "mark")]
    note = "; ".join(_service_notes(row))
    if not row["targets"]:
        yield [*about, *[None] * 9, note]
    for target in row["targets"]:
        words = ("name", "slots", "share", "weight", "interface", "mac", "mtu_bytes", "fits_bytes")
        yield [*about, target["backend"], *(target[word] for word in words), _notes(target, note)]


def _notes(target: Row, service_note: str) -> str:
    notes = [] if target["up"] else ["down"]
    notes += ["unresolved"] if target["mac"] is None else []
    return "; ".join((*notes, *([service_note] if service_note else [])))


def _service_notes(row: Row) -> Iterator[str]:
    if not row["slots"]:
        yield "no slots: new flows are refused" if row["refuses"] else "no slots: new flows are dropped"
    if (transition := row["transition"]) is not None:
        changing = "all" if transition["changing"] is None else transition["changing"]
        yield f"{changing} slots change hands, former ones are heeded for {duration(transition['ends_in_s'])}"


def health(rows: Iterable[Row]) -> Table:
    """Return what is known of the health of each server."""
    columns = left("service", "backend", "name", "check", "state") + right("for")
    columns += left("last") + right("ago", "took", "in a row", "next") + left("note")
    return table(columns, map(_health, rows))


def _health(row: Row) -> list[Cell]:
    last = row["last"]
    return [
        *(row[word] for word in ("service", "backend", "name")),
        None if row["kind"] is None else " ".join(filter(None, (row["kind"], row["asked"]))),
        "ejected" if row["ejected"] and row["state"] != "down" else row["state"],
        None if row["since_s"] is None else duration(row["since_s"]),
        None if last is None else ": ".join(filter(None, (last["word"], last["detail"]))),
        None if last is None else duration(last["ago_s"]),
        None if last is None else f"{last['took_ms']:.1f} ms",
        _in_a_row(row),
        None if row["next_in_s"] is None else duration(row["next_in_s"]),
        "; ".join(_health_notes(row)),
    ]


def _in_a_row(row: Row) -> str | None:
    """Return how many checks went alike, of how many change what holds."""
    if row["last"] is None:
        return None
    if row["failed_in_a_row"]:
        return f"{row['failed_in_a_row']} failed" + (f" of {row['fall']}" if row["state"] == "up" else "")
    return f"{row['passed_in_a_row']} passed" + (f" of {row['rise']}" if row["state"] == "down" else "")


def _health_notes(row: Row) -> Iterator[str]:
    if row["ejected"]:
        yield row["why_ejected"]
        yield ejection_note(row)
    if row["why"] and row["last"] is None:
        yield row["why"]
    if row["mending"]:
        yield row["mending"]
    yield from (f"{one['word']}: {one['detail']}" for one in row["remarks"])
    if row["response"] is not None:
        yield response_note(row["response"])
    yield from drain_notes(row)


def duration(seconds: float) -> str:
    """Return a time in few characters: 0.4 s, 12 s, 5 min, 3 h, 2 d."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
