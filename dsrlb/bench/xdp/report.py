"""What was measured, for a person and for a program."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from dsrlb.bench.xdp.measure import Row

HEAD = "scenario                 flows  floor  total    net  net/floor                  bar"


def line(row: Row) -> str:
    """Return a row of the table: nanoseconds a packet, and the ratio's median and range."""
    spread = f"({min(row.ratios):.2f}..{max(row.ratios):.2f})"
    verdict = "" if row.bar is None else f"{row.bar:4.1f} {'met' if row.is_met else 'MISSED'}"
    told = f"  not that: {row.fault}" if row.fault else ""
    figures = f"{row.floor_ns:6.1f} {row.total_ns:6.1f} {median(row.nets):6.1f}  {median(row.ratios):5.2f}"
    return f"{row.scenario.name:<22} {row.flows:>7} {figures} {spread:<14} {verdict:>12}{told}".rstrip()


def machine() -> dict[str, str | int]:
    """Return where this was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = models[0] if models else platform.machine()
    return {"kernel": platform.release(), "cpu": cpu, "cpus": os.cpu_count() or 1}


def as_json(rows: Sequence[Row]) -> str:
    """Return everything as JSON."""
    return json.dumps({"machine": machine(), "rows": [_row(row) for row in rows]}, indent=2)


def _row(row: Row) -> dict[str, Any]:
    return {
        "scenario": row.scenario.name,
        "says": row.scenario.says,
        "flows": row.flows,
        "floor_ns": round(row.floor_ns, 2),
        "total_ns": round(row.total_ns, 2),
        "net_ns": round(median(row.nets), 2),
        "net_by_floor": round(median(row.ratios), 3),
        "lowest": round(min(row.ratios), 3),
        "highest": round(max(row.ratios), 3),
        "bar": row.bar,
        "met": row.is_met,
        "fault": row.fault,
    }


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what a person wants to know at the end."""
    barred = [row for row in rows if row.bar is not None]
    if barred:
        yield f"{sum(row.is_met for row in barred)} of {len(barred)} bars met"
    wrong = [row for row in rows if row.fault]
    if wrong:
        yield f"{len(wrong)} of {len(rows)} rows are not what they are called"
