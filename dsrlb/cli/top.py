"""``dsrlb top``: what a running dsrlb is doing now, again and again."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from dsrlb.cli import tables
from dsrlb.cli.asking import Ask, asking
from dsrlb.cli.watching import answers

Row = dict[str, Any]
COLUMNS = (
    tables.left("service", "backend", "name", "standing")
    + tables.right("packets/s", "bits/s", "new flows/s", "active", "expected", "share", "time")
    + tables.left("note")
)


@click.command()
@asking
@click.option("--service", metavar="SERVICE", help="Only of this one: its name, or VIP:PORT[/tcp|/udp].")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after so many.  [default: Ctrl-C]")
def top(ask: Ask, is_json: bool, service: str | None, interval: float, count: int | None) -> None:
    """Each backend's packets, bits and new flows a second, its share beside the one expected, its time.

    Elsewhere than on a terminal: one table after the other; with --json an array on a line each.
    """
    looks = itertools.islice(_looks(ask, service, interval), count)
    if is_json:
        for rows in looks:
            click.echo(json.dumps(rows))
    elif sys.stdout.isatty():
        _live(looks)
    else:
        for rows in looks:
            tables.show(tables.table(COLUMNS, map(cells, rows)))
            click.echo()


def _live(looks: Iterable[list[Row]]) -> None:
    with Live(console=Console(highlight=False), auto_refresh=False, screen=True) as live:
        for rows in looks:
            live.update(tables.table(COLUMNS, map(cells, rows)), refresh=True)


def _looks(ask: Ask, service: str | None, interval_s: float) -> Iterator[list[Row]]:
    """Yield the rows of each interval, over restarts of dsrlb."""
    before: list[Row] | None = None
    then_s = 0.0
    for rows in answers(lambda: ask(do="show", what="backends", service=service), interval_s):
        now_s = time.monotonic()
        if before is not None:
            yield rates(before, rows, now_s - then_s)
        before, then_s = rows, now_s


def rates(before: Iterable[Row], rows: list[Row], seconds: float) -> list[Row]:
    """Return what is told of each backend, from what ``show backends`` said twice.

    A backend that was not there before, and one that counts from 0 again, has rates from the next time on.
    """
    earlier = {_key(row): row for row in before}
    said = [_rates(earlier.get(_key(row), row), row, seconds) for row in rows]
    for service in {row["service"] for row in said}:
        of_it = [row for row in said if row["service"] == service]
        word = "packets_per_s" if any(row["new_flows_per_s"] is None for row in of_it) else "new_flows_per_s"
        whole = sum(row[word] for row in of_it)
        for row in of_it:
            row["share_percent"] = round(100 * row[word] / whole, 1) if whole else None
    return said


def _key(row: Row) -> tuple[str, str]:
    return row["service"], row["backend"]


def _rates(before: Mapping[str, Any], row: Row, seconds: float) -> Row:
    def rate(word: str, times: int = 1) -> float | None:
        if row[word] is None or before[word] is None:
            return None
        return round(float(times * max(0, row[word] - before[word]) / seconds), 1)

    kept = (
        "service",
        "backend",
        "name",
        "standing",
        "why",
        "ejected_left_s",
        "starting_percent",
        "active",
        "time_ms",
        "response",
        "remaining",
        "drain",
        "drift",
    )
    return {
        **{word: row[word] for word in kept},
        "packets_per_s": rate("packets"),
        "bits_per_s": rate("bytes", 8),
        "new_flows_per_s": rate("flows"),
        "expected_percent": row["expected_percent"],
    }


def cells(row: Row) -> list[tables.Cell]:
    """Return a row of the table."""
    rated = [short(row[word]) for word in ("packets_per_s", "bits_per_s", "new_flows_per_s")]
    return [
        *(row[word] for word in ("service", "backend", "name")),
        tables.standing(row),
        *rated,
        row["active"],
        tables.percent(row["expected_percent"]),
        tables.percent(row["share_percent"]),
        tables.milliseconds(row["time_ms"]),
        tables.backend_note(row),
    ]


def short(value: float | None) -> str | None:
    """Return a rate in few characters: 950, 12.3k, 4.56M, 1.20G."""
    if value is None:
        return None
    for unit in ("", "k", "M"):
        if value < 999.5:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}G"
