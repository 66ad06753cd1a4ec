"""Answers of a running dsrlb as tables for a person."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

Row = dict[str, Any]
Cell = str | int | float | None
Column = tuple[str, str]  # heading, and how it is aligned: "left" or "right"

FEW = 4  # backends: so many are told of one by one in a line
WIDE = 1000  # characters: what is no terminal gets whole lines
_COLOURS = {"down": "red", "unresolved": "red", "ejected": "red", "starting": "cyan"}
_COLOURS |= dict.fromkeys(("drained", "disabled", "gone"), "yellow")


def left(*headings: str) -> list[Column]:
    """Return columns of words."""
    return [(one, "left") for one in headings]


def right(*headings: str) -> list[Column]:
    """Return columns of numbers."""
    return [(one, "right") for one in headings]


def show(what: RenderableType) -> None:
    """Print a table; a terminal that is too narrow folds its cells."""
    width = None if sys.stdout.isatty() else WIDE
    for line in _lines(Console(width=width, highlight=False), what):
        sys.stdout.write(f"{line}\n")


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> Table:
    """Return a table."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading, side in columns:
        made.add_column(heading, justify=side, overflow="fold")  # type: ignore[arg-type]  # one of its words
    for row in rows:
        made.add_row(*map(_cell, row))
    return made


def _lines(console: Console, what: RenderableType) -> list[str]:
    with console.capture() as captured:
        console.print(what)
    return [line.rstrip() for line in captured.get().splitlines()]


def printable(said: str) -> str:
    """Return a text of others' making with no power over the terminal."""
    return "".join(one if one.isprintable() else "?" for one in said)


def _cell(value: Cell) -> Text:
    """Return a value as it is printed; a text of others' making has no power over the terminal."""
    if value is None:
        return Text("-")
    said = printable(str(value))
    return Text(said, style=_COLOURS.get(said.partition(",")[0].partition(" ")[0], ""))


# ------------------------------------------------------------------------- rows


def services(rows: Iterable[Row]) -> Table:
    """Return services."""
    columns = left("service", "name", "mode", "scheduler") + right("backends", "taking")
    columns += right("flows", "active", "packets", "bytes") + left("note")
    words = ("service", "name", "mode", "scheduler", "backends", "taking_new_flows")
    counted = ("flows", "active", "packets", "bytes")
    return table(columns, ([*_of(row, *words, *counted), _service_note(row)] for row in rows))


def _service_note(row: Row) -> str:
    notes = [f"no backend for new flows: they are {row['fate']}"] if row["fate"] else []
    if row["response"]:
        notes.append(response_times(row["response"]))
    if row["drifting"]:
        notes.append(f"{row['drifting']} not as configured")
    return "; ".join(notes)


def backends(rows: Iterable[Row]) -> Table:
    """Return backends of services."""
    columns = left("service", "backend", "name", "standing") + right("weight", "expected", "share")
    columns += right("flows", "active", "packets", "bytes") + left("note")
    return table(columns, map(_backend, rows))


def _backend(row: Row) -> list[Cell]:
    return [
        *_of(row, "service", "backend", "name"),
        standing(row),
        row["weight"],
        percent(row["expected_percent"]),
        percent(row["share_percent"]),
        *_of(row, "flows", "active", "packets", "bytes"),
        backend_note(row),
    ]


def standing(row: Row) -> str:
    """Return how a backend stands, in a few words."""
    said = ", ".join(row["standing"])
    return f"{said} ({row['starting_percent']}%)" if "starting" in row["standing"] else said


def backend_note(row: Row) -> str:
    """Return what else there is to say of a backend: why it is down, what it still has, what differs."""
    notes = list(filter(None, (row["why"], ejection_note(row))))
    if row["response"] is not None:
        notes.append(response_note(row["response"]))
    return "; ".join((*notes, *drain_notes(row), *row["drift"]))


def ejection_note(row: Row) -> str:
    """Return for how long a backend is ejected yet."""
    return "" if row["ejected_left_s"] is None else f"for {row['ejected_left_s']:.0f} s more at most"


def response_note(said: Row) -> str:
    """Return how a backend's weight comes of its response time."""
    of = []
    if said["probe_ms"] is not None:
        of.append(f"checks {milliseconds(said['probe_ms'])}")
    if said["handshakes"]:
        handshakes = "1 handshake" if said["handshakes"] == 1 else f"{said['handshakes']} handshakes"
        of.append(f"median of {handshakes} {milliseconds(said['handshake_ms'])}")
    if said["answer_ms"] is not None:
        of.append(f"clients' answers {milliseconds(said['answer_ms'])}")
    time = f"answers in {milliseconds(said['time_ms'])}" if of else "response time not known"
    return f"{said['percent']}% of its weight: {time}" + (f" ({', '.join(of)})" if of else "")


def response_times(said: Sequence[Row]) -> str:
    """Return the response times of a service's backends, and what they make of the weights."""
    if len(said) <= FEW:
        return "; ".join(
            f"{one['name'] or one['backend']} {milliseconds(one['time_ms']) or '?'}: {one['percent']}%"
            for one in said
        )
    times = [one["time_ms"] for one in said if one["time_ms"] is not None]
    return f"times {min(times):.1f} to {milliseconds(max(times))}" if times else "no response time known"


def milliseconds(value: float | None) -> str | None:
    """Return a response time as it is printed."""
    return None if value is None else f"{value:.1f} ms"


def drain_notes(row: Row) -> Iterator[str]:
    """Yield what a backend still has that gets no new flows, and what will become of it."""
    if row["remaining"] is not None:
        yield remaining(row["remaining"])
    drain = row["drain"]
    if drain is not None and drain["state"] == "over":
        yield "its drain is over"
    elif drain is not None and drain["left_s"] is not None:
        yield f"let go in {drain['left_s']:.0f} s"


def remaining(left_over: Row) -> str:
    """Return in words how many flows a backend still has."""
    or_more = " or more" if left_over["at_least"] else ""
    return f"{left_over['active']} active, {left_over['inactive']} inactive flows left{or_more}"


def flows(answer: Row) -> Table:
    """Return flows."""
    columns = left("client", "service", "port", "backend", "name", "state") + right("ends in s")
    words = ("client", "service", "port", "backend", "name", "state", "ends_in_s")
    return table(columns, (_of(row, *words) for row in answer["flows"]))


def counters(rows: Sequence[Row]) -> Group:
    """Return counters of frames by reason, and of what limits refused, or would have."""
    frames = (_of(row, "reason", "frames") for row in rows if "frames" in row)
    counted = [table(left("reason") + right("frames"), frames)]
    refused = [row for row in rows if "refused" in row]
    if refused:
        columns = left("service", "reason") + right("refused", "only counted")
        counted.append(table(columns, map(_refused, refused)))
    return Group(*counted)


def _refused(row: Row) -> list[Cell]:
    counts = (None, row["refused"]) if row["only_counted"] else (row["refused"], None)
    return [row["service"], row["reason"], *counts]


def engines(rows: Iterable[Row]) -> Group:
    """Return engines, one fact a line: there is one."""
    return Group(*map(_engine, rows))


def _engine(row: Row) -> Table:
    interfaces = ", ".join(f"{name} ({place})" for name, place in row["interfaces"].items())
    facts = {**row, "interfaces": interfaces, "file": row["file"] or "none: options"}
    facts["outlives_process"] = "yes" if row["outlives_process"] else "no"
    facts["haproxy"] = haproxy(row["haproxy"]) if row["haproxy"] else "none: no service of mode proxy"
    said = ((name.replace("_", " "), value) for name, value in facts.items() if name != "engine")
    return table(left("engine", row["engine"]), said)


def haproxy(said: Row) -> str:
    """Return HAProxy in words."""
    since = (
        "" if said["since"] is None else f" since {datetime.fromtimestamp(said['since']):%Y-%m-%d %H:%M:%S}"
    )
    state = "" if said["is_serving"] else ", does not serve just now"
    return (
        f"{said['version']}, process {said['pid']}{since}, {said['reloads']} reloads, "
        f"{said['restarts']} restarts{state}"
    )


def text(answer: Row) -> Text:
    """Return a configuration as it is."""
    return Text("\n".join(map(printable, answer["configuration"].splitlines())), no_wrap=True)


def _of(row: Row, *words: str) -> list[Cell]:
    return [row[word] for word in words]


def percent(value: float | None) -> str | None:
    """Return a share as it is printed."""
    return None if value is None else f"{value:.1f}%"
