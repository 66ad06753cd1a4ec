"""How fast servers answer, and what that makes of their weights, as ``dsrlb show`` tells it."""

from __future__ import annotations

from typing import Any

from dsrlb.control.responses import time_us
from dsrlb.health.record import Record
from dsrlb.response import Memory

Row = dict[str, Any]


def time_ms(memory: Memory | None, record: Record | None) -> float | None:
    """Return how long a server takes to answer, as far as that is known."""
    return _ms(time_us(memory, record))


def weighing(memory: Memory | None, now_s: float) -> Row | None:
    """Return how a server's weight comes of its response time; None where it does not."""
    if memory is None:
        return None
    return {
        "percent": memory.percent,
        "time_ms": time_ms(memory, None),
        "probe_ms": _ms(memory.probe_us),
        "handshakes": memory.samples,
        "handshake_ms": _ms(memory.handshake_us),
        "answers": memory.answers,
        "answer_ms": _ms(memory.answer_us),
        "history": [
            {"ago_s": round(max(0.0, now_s - one.at_s), 1), "percent": one.percent} for one in memory.history
        ],
    }


def _ms(time_us: float | None) -> float | None:
    return None if time_us is None else round(time_us / 1000, 2)
