"""What checks have found of each server of late, to be read from any thread.

A record is a value that is replaced after each check, never changed.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from statistics import median
from typing import NamedTuple

from dsrlb.health.base import Outcome, Subject
from dsrlb.standing import Names

TIMES_KEPT = 3
VARIES_BY, VARIES_FROM_S = 1.5, 0.001  # shorter times differ by chance


class Asked(NamedTuple):
    """One check: what it found, when it ended (monotonic), how long it took, and of that to be connected."""

    outcome: Outcome
    at_s: float
    took_s: float
    connected_s: float | None = None  # not by TCP


class Record(NamedTuple):
    """What the checks of one server have found; times are monotonic."""

    subject: Subject
    up: bool  # as it was told
    since_s: float  # it has been up, or down, or checked
    due_s: float  # when the next check begins
    last: Asked | None = None
    in_a_row: int = 0  # checks that passed, or failed, like the last one
    times_s: tuple[float, ...] = ()  # that the last passed checks took, the latest at the end
    connected_s: tuple[float, ...] = ()  # that they took to be connected by TCP

    @property
    def time_s(self) -> float | None:
        """How long a passed check takes: the median of the last ones; None before the first."""
        return median(self.times_s) if self.times_s else None

    @property
    def connect_s(self) -> float | None:
        """How long it takes until a passed check is connected by TCP; None if none is."""
        return median(self.connected_s) if self.connected_s else None

    @property
    def varies(self) -> bool:
        """Whether the last times are few or differ much: the next will tell which of them to go by."""
        times_s = [max(VARIES_FROM_S, one) for one in self.times_s]
        return 0 < len(times_s) < TIMES_KEPT or max(times_s, default=0) > VARIES_BY * min(times_s, default=0)


def with_check(before: Record, asked: Asked, *, up: bool) -> Record:
    """Return a record after one more check, after which the server is told to be up, or down."""
    is_alike = before.last is not None and before.last.outcome.ok == asked.outcome.ok
    times, connected = before.times_s, before.connected_s
    if asked.outcome.ok:
        times = (*times, asked.took_s)[-TIMES_KEPT:]
        connected = () if asked.connected_s is None else (*connected, asked.connected_s)[-TIMES_KEPT:]
    return before._replace(
        up=up,
        since_s=before.since_s if up == before.up else asked.at_s,
        last=asked,
        in_a_row=before.in_a_row + 1 if is_alike else 1,
        times_s=times,
        connected_s=connected,
    )


class Records:
    """The records of all servers that are checked."""

    def __init__(self) -> None:
        self._of: dict[Names, Record] = {}
        self._lock = threading.Lock()

    def all(self) -> dict[Names, Record]:
        """Return the records as they are now."""
        with self._lock:
            return dict(self._of)

    def passes(self, names: Names) -> bool:
        """Return whether a server is up, and its last check passed."""
        with self._lock:
            record = self._of.get(names)
        return record is not None and record.up and record.last is not None and record.last.outcome.ok

    def put(self, names: Names, record: Record) -> None:
        """Replace the record of a server."""
        with self._lock:
            self._of[names] = record

    def keep(self, names: Collection[Names]) -> None:
        """Forget the servers that are not among these."""
        with self._lock:
            self._of = {one: record for one, record in self._of.items() if one in names}
