"""Response times: how fast each server of a service answers, and how much of its weight that leaves it.

Once a second, from what was heard of each server since::

    p   how long its probes take: the median of the last ones
    h   how much later the handshakes of its clients are complete than those of the fastest server.  The way
        of the clients is the same to all servers, so it is no part of the difference; and what may be
        chance is none either:  h = the difference of the medians, but not more than twice the gap

        fastest   ----[----|----]- - - - - - gap - - - - - -[-----------|-----------]----   this one
                        median high                        low        median

    time     = max(p, fastest p + h)          never less than FLOOR_US, nor is the fastest p
    per cent = 100 * fastest time / time      in multiples of 5, at least 5

Many clients know better than three probes how long a connection takes.  So of p, the time until it was
connected (by TCP) counts for no more than that of the fastest probes and what handshakes, if there were
enough of late, may be later by, with all that may be chance.

The time that counts is *damped*: with each news it goes a part of the way (the pace) to the time that was
heard, on a logarithmic scale.  The pace grows while that is in one direction, and shrinks when it turns.
So a server that becomes slow is left quickly; and servers that are slow because of the load that their
share brings come to rest, rather than pass it to and fro.

A server of which nothing is known has all of its weight, and fewer than three probes, or six handshakes,
are nothing: they may have met this host's own load at a start.  A slow one keeps some, so that it is heard
of again; and where handshakes are rare, the last few are remembered for as long as that takes.

In mode proxy there are no handshakes, but times of answers (``dsrlb/answered.py``), which are compared with
those of the fastest server::

    time     = max(p, fastest p * how many times as long its answers surely take)

and where answers are many, its probes do not count.

Pure: one value in, with what was heard; the next one out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, log
from typing import NamedTuple, TypeVar

from dsrlb import answered
from dsrlb.answered import Answered, Answers
from dsrlb.sampling import BUCKETS, median_us, percentile_us

FLOOR_US = 1000.0  # what is less is this host's own doing, as far as it can tell
ALL = 100  # per cent
STEP = 5  # so that turns by weight need no more than 20 slots for a weight of 1
STAY = 3.0  # per cent: a weight that is less wrong is left as it is

# Found by simulation, see tests/unit/test_response.py: of a few that keep servers near saturation from
# swinging, those that follow a change best.
SLOWEST, QUICKEST = 0.05, 0.6  # paces
TURNED, RESTED, WENT_ON, WENT_FAR = 0.4, 1.02, 1.2, 1.5  # what becomes of the pace
STILL, FAR = 0.2, 0.7  # of logarithms: a difference that is no direction; one of twice the time

PROBES, HANDSHAKES = 3, 6  # fewer tell nothing of a server

ONE = 1024  # a handshake, as ``Memory`` counts them
REMEMBERED = HANDSHAKES * ONE  # are not forgotten before others come
CERTAINTY = 2.5  # standard errors
HISTORY = 10  # weights

Key = TypeVar("Key")
NO_TIMES = (0,) * BUCKETS


@dataclass(frozen=True)
class Heard:
    """What was heard of a server in the last second."""

    probe_us: float | None = None  # how long its probes take now
    is_probed: bool = False  # again, since the last time
    times: Sequence[int] = NO_TIMES  # handshakes of its clients, by bucket
    takes_new: bool = True  # others are compared with it
    connect_us: float | None = None  # of a probe's time, until it was connected by TCP
    probes: int = PROBES  # that those times are of
    answers: Mapping[str, Answers] = field(default_factory=dict)  # by group; of HAProxy, since it began

    @property
    def is_news(self) -> bool:
        """Whether anything came of it, beside answers."""
        return (self.is_probed and self.probes >= PROBES) or any(self.times)


@dataclass(frozen=True)
class Weighed:
    """How much of its weight a server had from then on."""

    at_s: float  # monotonic
    percent: int


@dataclass(frozen=True)
class Memory:
    """What is known of a server's response time."""

    probe_us: float | None = None
    connect_us: float | None = None
    times: tuple[int, ...] = NO_TIMES  # handshakes of late by bucket, in parts of ``ONE``
    answered: Mapping[str, Answered] = field(default_factory=dict)  # by group
    response_us: float | None = None  # the time that counts; None: nothing is known
    pace: float = QUICKEST
    course: int = 0  # of the last move: 1 to slower, -1 to faster
    percent: int = ALL
    history: tuple[Weighed, ...] = ()  # the latest at the end

    @property
    def samples(self) -> int:
        """How many handshakes are known of."""
        return round(sum(self.times) / ONE)

    @property
    def handshake_us(self) -> float | None:
        """How long handshakes take of late, the way of the clients included: the median."""
        return median_us(self.times)

    @property
    def answer_us(self) -> float | None:
        """How long answers take, by whom there are most of late."""
        many = max(self.answered.values(), key=lambda one: one.of_late, default=None)
        return None if many is None else many.time_us

    @property
    def answers(self) -> int:
        """How many answers are known of, of late."""
        return sum(one.of_late for one in self.answered.values())


UNKNOWN = Memory()


def after(memories: Mapping[Key, Memory], heard: Mapping[Key, Heard], now_s: float) -> dict[Key, Memory]:
    """Return what is known of a service's servers after another second in which this was heard of them."""
    known = {key: _listened(memories.get(key, UNKNOWN), one) for key, one in heard.items()}
    takers = {key for key, one in heard.items() if one.takes_new} or set(heard)
    fastest_us = _least((known[key].probe_us for key in takers), FLOOR_US)
    spreads = {key: _spread(one.times) for key, one in known.items() if one.samples >= HANDSHAKES}
    quickest = min(
        (spreads[key] for key in takers & spreads.keys()), key=lambda one: one.high_us, default=None
    )
    nearest_us = _least((known[key].connect_us for key in takers), 0.0)
    slow = answered.slowness({key: one.answered for key, one in known.items()}, takers)
    for key, one in known.items():
        time_us = _time_us(one, _late(spreads.get(key), quickest), fastest_us, nearest_us)
        if key in slow:
            time_us = _by_answers(one, time_us, fastest_us * slow[key])
        is_news = heard[key].is_news or answered.is_news(memories.get(key, UNKNOWN).answered, one.answered)
        known[key] = _moved(one, time_us, is_news=is_news)
    best_us = _least((known[key].response_us for key in takers), FLOOR_US)
    return {key: _weighed(one, best_us, now_s) for key, one in known.items()}


def _least(values: Iterable[float | None], floor: float) -> float:
    """Return the least of those that are known, or the floor if that is more."""
    return max(floor, min((one for one in values if one is not None), default=floor))


# ------------------------------------------------------------------------- what is heard


class Spread(NamedTuple):
    """A median, and between what it may be by chance."""

    low_us: float
    middle_us: float
    high_us: float
    is_of_late: bool  # and not of the last few that are remembered


def _listened(before: Memory, heard: Heard) -> Memory:
    """Return a memory with what was heard; half of the former handshakes count no more."""
    if heard.answers:
        of = {group: answered.heard(before.answered.get(group), one) for group, one in heard.answers.items()}
        before = replace(before, answered=of)
    if heard.probes < PROBES:  # the check begins, or begins anew, as after a reload
        heard = replace(heard, probe_us=before.probe_us, connect_us=before.connect_us)
    total, new = sum(before.times), sum(heard.times) * ONE
    if not new and total <= REMEMBERED:
        same = (heard.probe_us, heard.connect_us) == (before.probe_us, before.connect_us)
        return before if same else replace(before, probe_us=heard.probe_us, connect_us=heard.connect_us)
    kept = max(total // 2, min(total, REMEMBERED - new))
    times = (
        now * ONE + (one * kept // total if total else 0)
        for now, one in zip(heard.times, before.times, strict=True)
    )
    return replace(before, probe_us=heard.probe_us, connect_us=heard.connect_us, times=tuple(times))


def _spread(times: Sequence[int]) -> Spread:
    """Return where the median of handshakes is, of which there are enough."""
    off = _by_chance(times)
    low_us, middle_us, high_us = (percentile_us(times, one) or 0.0 for one in (0.5 - off, 0.5, 0.5 + off))
    return Spread(low_us, middle_us, high_us, sum(times) > REMEMBERED)


def _late(own: Spread | None, quickest: Spread | None) -> tuple[float, float] | None:
    """Return how much later a server's handshakes are complete than the quickest's: surely, and at most.

    None: it has too few.
    """
    if own is None:
        return None
    quickest = quickest or own
    surely_us = min(own.middle_us - quickest.middle_us, 2 * max(0.0, own.low_us - quickest.high_us))
    if not (own.is_of_late and quickest.is_of_late):
        return surely_us, inf
    return surely_us, max(surely_us, own.high_us - quickest.low_us)


def _time_us(
    known: Memory, late_us: tuple[float, float] | None, fastest_us: float, nearest_us: float
) -> float | None:
    """Return a server's time by its probes and its clients' handshakes; None: neither is known."""
    if late_us is None:
        return None if known.probe_us is None else max(FLOOR_US, known.probe_us)
    surely_us, at_most_us = late_us
    if known.probe_us is None or known.connect_us is None:
        return max(FLOOR_US, known.probe_us or 0.0, fastest_us + surely_us)
    connect_us = min(max(known.connect_us, nearest_us + surely_us), nearest_us + at_most_us)
    return max(FLOOR_US, known.probe_us - known.connect_us + connect_us)


def _by_answers(known: Memory, otherwise_us: float | None, answers_us: float) -> float:
    """Return a server's time by its answers to clients, beside what is known of it otherwise."""
    are_many = any(one.are_many for one in known.answered.values())
    return answers_us if are_many else max(answers_us, otherwise_us or 0.0)


def _by_chance(times: Sequence[int]) -> float:
    """Return how far, as a part of all, the median may be from the middle; but never to the very ends.

    Of n handshakes, those below the true median are n / 2, with a standard error of sqrt(n) / 2 (binomial).
    """
    count = sum(times) / ONE
    return max(0.0, min(CERTAINTY / 2 / count**0.5, 0.5 - 0.5 / count)) if count else 0.0


# ------------------------------------------------------------------------- what comes of it


def _moved(known: Memory, heard_us: float | None, *, is_news: bool) -> Memory:
    """Return a memory of which the time has moved towards the one that was heard."""
    if heard_us is None or known.response_us is None:
        return replace(known, response_us=heard_us)
    if not is_news:
        return known
    way = log(heard_us / known.response_us)
    course = 0 if abs(way) < STILL else 1 if way > 0 else -1
    change = {-1: TURNED, 0: RESTED, 1: WENT_ON if abs(way) < FAR else WENT_FAR}[course * known.course]
    pace = min(QUICKEST, max(SLOWEST, known.pace * change))
    response_us = known.response_us * (heard_us / known.response_us) ** pace
    return replace(known, response_us=response_us, pace=pace, course=course)


def _weighed(known: Memory, best_us: float, now_s: float) -> Memory:
    """Return a memory with how much of its weight the server has now, beside the fastest one."""
    exact = min(ALL, ALL * best_us / known.response_us) if known.response_us is not None else ALL
    percent = max(STEP, STEP * round(exact / STEP)) if abs(exact - known.percent) >= STAY else known.percent
    if percent == known.percent and known.history:
        return known
    return replace(known, percent=percent, history=(*known.history, Weighed(now_s, percent))[-HISTORY:])
