"""Answers of a server as HAProxy tells them: a mean that is slow to follow, made quick.

HAProxy tells how many answers a server has given, and their mean time, of the last 512 or so; in whole
milliseconds.  A server that is slow gets few requests, so that mean would go on saying so for minutes after
it is fast again.  But a mean, and that of before, tell what is between them::

    mean = kept * mean before + (1 - kept) * mean of the latest

    answers  ..............................|.............  now: 360, 27 ms
             before: 300, 12 ms  ──────────┘ └─ the latest 60: 102 ms, surely more than 79

which is less exact the fewer they are: by the rounding, and by chance.  So the time is HAProxy's mean, as
far as that is within what the latest 128 may have taken; and that, within what fewer of them may have, and so
on, to the last eight.

Pure.

*Source*: HAProxy 2.6, ``include/haproxy/freq_ctr.h`` (``swrate_add_dynamic``: each sample takes the place of
a 512th of the sum), ``src/stream.c`` (``stream_update_time_stats``: of the first 512, it is the plain mean).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

WINDOW = 512
ROUNDING_MS = 1.0  # to either side
FEW = 6  # fewer tell nothing
LATEST, STEP = 128, 8  # answers: the most that are the latest, and the fewest
CHANCE = 1.0  # standard errors of a mean, of times that differ as much as by an exponential distribution

Key = TypeVar("Key")


@dataclass(frozen=True)
class Answers:
    """What a process of HAProxy tells of a server, since it began."""

    process: int
    count: int
    mean_ms: int
    failed: int = 0  # of these: 5xx


@dataclass(frozen=True)
class Answered:
    """What is known of a server's answers."""

    last: Answers
    marks: tuple[Answers, ...]  # of before, from which the latest are told; the oldest first
    time_us: float | None = None  # None: too few
    of_late: int = 0  # answers, those of a second ago half, and so on
    failed_of_late: int = 0

    @property
    def are_many(self) -> bool:
        """Whether clients tell better than a few probes how long an answer takes."""
        return self.of_late >= FEW

    @property
    def is_measure(self) -> bool:
        """Whether others are to be as fast: to fail is soon done."""
        return self.time_us is not None and 2 * self.failed_of_late <= self.of_late


def heard(known: Answered | None, now: Answers) -> Answered:
    """Return what is known with another look."""
    if known is None or known.last.process != now.process:
        nothing = Answers(now.process, 0, 0)
        known = Answered(nothing, (nothing,), known.time_us if known is not None else None)
    new = now.count - known.last.count
    failed = known.failed_of_late // 2 + now.failed - known.last.failed
    known = replace(known, last=now, of_late=known.of_late // 2 + new, failed_of_late=failed)
    if not new or now.count < FEW:
        return known
    time_ms = float(now.mean_ms)
    for mark in known.marks:
        if now.count - mark.count >= STEP:
            low_ms, high_ms = _between(mark, now)
            time_ms = min(max(time_ms, low_ms), high_ms)
    return replace(known, marks=_marks(known.marks, now), time_us=1000 * time_ms)


def _marks(before: tuple[Answers, ...], now: Answers) -> tuple[Answers, ...]:
    """Return what the next latest are told from: steps, and one from before them."""
    marks = (*before, now) if now.count - before[-1].count >= STEP else before
    old = sum(now.count - one.count >= LATEST for one in marks)
    return marks[max(0, old - 1) :]


def _between(before: Answers, now: Answers) -> tuple[float, float]:
    """Return how long the answers between two looks took on average: at least, and at most."""
    kept, chance = _kept(before.count, now.count), CHANCE * (now.count - before.count) ** -0.5
    least = (now.mean_ms - ROUNDING_MS - kept * (before.mean_ms + ROUNDING_MS)) / (1 - kept)
    most = (now.mean_ms + ROUNDING_MS - kept * (before.mean_ms - ROUNDING_MS)) / (1 - kept)
    return max(0.0, least) * (1 - chance), max(0.0, most) * (1 + chance)


def _kept(before: int, now: int) -> float:
    """Return which part of a mean is still that of before."""
    plain = before / min(now, WINDOW) if before < WINDOW else 1.0
    return plain * (1 - 1 / WINDOW) ** max(0, now - max(before, WINDOW))


def is_news(before: Mapping[str, Answered], now: Mapping[str, Answered]) -> bool:
    """Return whether there are answers, by group, that there were not before."""
    return any(group not in before or one.last != before[group].last for group, one in now.items())


def slowness(known: Mapping[Key, Mapping[str, Answered]], takers: Iterable[Key]) -> dict[Key, float]:
    """Return how many times as long servers surely take to answer as the fastest of their group.

    ``known``: by server and group; the requests of a group are alike, those of another one are others.
    A server in several groups is as slow as where it is slowest.  ``takers``: whom others are compared with,
    but for those that mostly fail.
    """
    fastest: dict[str, float] = {}
    for key in takers:
        for group, time_us in _times({group: one for group, one in known[key].items() if one.is_measure}):
            fastest[group] = min(time_us, fastest.get(group, time_us))
    found: dict[Key, float] = {}
    for key, of in known.items():
        for group, time_us in _times(of):
            surely_us = time_us - 1000 * ROUNDING_MS
            times = surely_us / max(fastest.get(group, time_us), 1000 * ROUNDING_MS)
            found[key] = max(1.0, times, found.get(key, 1.0))
    return found


def _times(of: Mapping[str, Answered]) -> Iterable[tuple[str, float]]:
    return [(group, one.time_us) for group, one in of.items() if one.time_us is not None]
