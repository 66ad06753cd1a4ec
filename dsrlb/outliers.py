"""Which servers' handshakes fail, unlike those of the others behind the same VIP.

What fails at all of them alike (a flood of SYNs with invented sources, a network that loses packets) says
nothing of a server.  So a server is an outlier only beside others at which it goes better::

                    0.2 s          now
      ----|-----------|-------------|      a SYN that nothing has followed for ``LATE_US`` is a failure, until
        failed        |   too young        something does: a slow server's are taken back, one by one

    server  ok ok ok ok ok x  x  x  x      fewer than 1 in 5 come about, far too many failures for chance, far
    others  ok ok ok ok ok ok ok ok ok     fewer that come about than usual: an outlier

In a DSR mode the reset of a server that refuses goes straight to the client, so nothing is seen but silence;
and a reset that is seen is a client's, which may well have been answered: it says nothing.

Pure: seconds of a monotonic clock are an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from math import log
from operator import gt
from typing import NamedTuple

from dsrlb.sampling import Handshakes, bounds, bucket_of
from dsrlb.standing import Names

_LATE_BUCKET = bucket_of(200_000)
LATE_US = bounds(_LATE_BUCKET)[0]  # 0.197 s: so long most clients in the world are away at most, and back
# One after the other: a server with many clients is found out in the first, one with few in the last.
WINDOWS_S = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0, 16.0)
LOOK_S = 0.25  # from look to look
_SLACK_S = 0.05  # of the clock ticks that windows are made of
MOSTLY = 0.8  # so many of its handshakes fail, at least
_SEVERAL, _EVERYWHERE = 3, 0.3  # so many, and such a part, fail at the better half: nobody is an outlier
# Failures that may be chance: were the server like the others, as many would be seen once in 10**8 windows.
_CHANCE = log(10**8) - 1e-6
_LOSSES = 0.05  # what a network may lose at any time, however well it goes at the others just now
_MISSED = 10  # so many would come about in a window, at least, were the server like the others
_NEARLY = 16  # of so many that would, one may


class Tally(NamedTuple):
    """What became of the handshakes with one server in some time."""

    well: int = 0  # came about at once
    failed: int = 0
    lasts_s: float = 0.0  # for so long it is known that some failed

    @property
    def all(self) -> int:
        """How many there were."""
        return self.well + self.failed

    @property
    def share(self) -> float:
        """Which part of them failed."""
        return self.failed / self.all if self.all else 0.0


class _Look(NamedTuple):
    at_s: float
    well: int
    failed: int  # less than none: some that were taken for failed came about


class Evidence:
    """What is known of one server's handshakes, from one look to the next; at most for the longest window."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque()  # those in which something was seen
        self._last: Handshakes | None = None
        self._well = self._slow = 0  # of that: handshakes that came about at once, and late
        self._last_s = 0.0
        self._late = 0  # handshakes that wait and were taken for failed

    def add(self, seen: Handshakes, now_s: float, *, resets: bool) -> None:
        """Take over what was counted until now; ``resets``: those of the server are seen."""
        before, late = self._last, sum(waits > LATE_US for waits in seen.waiting_us)
        if before is not None and seen[:5] == before[:5] and late == self._late == 0:
            self._note(now_s, 0, 0)  # as for most servers at most times
        else:
            well, slow = sum(seen.times), sum(seen.times[_LATE_BUCKET:])
            if before is not None and not any(map(gt, before[:5], seen[:5])):  # else: counted anew
                more = seen.again - before.again + (seen.reset - before.reset if resets else 0)
                failed = self._failed(seen.waiting_us, late, slow - self._slow, more, now_s - self._last_s)
                self._note(now_s, well - self._well, failed)
            self._well, self._slow = well, slow
        self._last, self._last_s, self._late = seen, now_s, late

    def _failed(self, waiting_us: Sequence[int], late: int, slow: int, more: int, within_s: float) -> int:
        """Return how many have failed of late, less those taken for failed before that came about.

        ``late``: how many are so now; ``slow``: how many that were have come about since; ``more``: how many
        were sent again or reset since, some of which were taken for failed while they waited.
        """
        fresh = sum(LATE_US < waits <= LATE_US + within_s * 1e6 for waits in waiting_us)
        gone = max(0, self._late + fresh - late)
        slow = min(gone, slow)
        return fresh - slow + max(0, more - (gone - slow))

    def _note(self, now_s: float, well: int, failed: int) -> None:
        if well or failed:
            self._looks.append(_Look(now_s, well, failed))
        while self._looks and self._looks[0].at_s < now_s - WINDOWS_S[-1]:
            self._looks.popleft()

    def forget(self) -> None:
        """Begin anew, but for what was counted."""
        self._looks.clear()

    @property
    def is_failing(self) -> bool:
        """Whether there are failures: clients that wait, or others in the last look."""
        return self._late > 0 or (
            bool(self._looks) and self._looks[-1].failed > 0 and self._looks[-1].at_s == self._last_s
        )

    def lately(self, more_s: float = 0.0) -> Iterator[Tally]:
        """Yield what was seen in each of the windows, and for so long before."""
        looks = list(self._looks)
        well, failed, first_s = 0, 0, self._last_s
        for window_s in WINDOWS_S:
            while looks and looks[-1].at_s > self._last_s - window_s - more_s + _SLACK_S:
                look = looks.pop()
                well, failed = well + look.well, failed + look.failed
                first_s = look.at_s if look.failed > 0 else first_s
            yield Tally(well, max(0, failed), self._last_s - first_s)

    def most(self, window_s: float) -> int:
        """Return how many came about in so much time at best, by all that is known."""
        looks, first, sum_, most = self._looks, 0, 0, 0
        for one in looks:
            sum_ += one.well
            while looks[first].at_s <= one.at_s - window_s + _SLACK_S:
                sum_ -= looks[first].well
                first += 1
            most = max(most, sum_)
        return most


def outliers(of: Mapping[Names, Evidence]) -> dict[Names, str]:
    """Return those of a service's servers, which take new flows, that are outliers, and why.

    They are compared with the better half, so that two of four that fail together do not excuse each other;
    and with what was seen there from a look earlier on, since it takes about as long to see a failure.
    """
    found: dict[Names, str] = {}
    failing = [names for names, one in of.items() if one.is_failing]
    if not failing or len(of) < 2:
        return found
    lately = {names: of[names].lately() for names in failing}
    for window_s, *seen in zip(WINDOWS_S, *(one.lately(LOOK_S) for one in of.values()), strict=True):
        best = sorted(zip(seen, of.values(), strict=True), key=lambda one: _fate(one[0]))[: len(of) // 2]
        others = Tally(sum(tally.well for tally, _ in best), sum(tally.failed for tally, _ in best))
        if others.failed >= _SEVERAL and others.share > _EVERYWHERE:
            return found  # it goes badly everywhere just now
        for names, mine in [(names, next(tallies)) for names, tallies in lately.items()]:
            if _is_outlier(mine, others) and _is_missed(
                mine.well, of[names], others.well, [one for _, one in best], window_s
            ):
                said = f"{mine.failed} of {mine.all} handshakes failed (others {100 * others.share:.0f} %)"
                found.setdefault(names, said)
    return found


def _is_outlier(mine: Tally, others: Tally) -> bool:
    """Return whether so many failures, beside those of others, are neither chance nor everybody's fate."""
    if mine.lasts_s < LOOK_S - _SLACK_S or mine.share < max(MOSTLY, 3 * _fate(others) + 0.2):
        return False
    return mine.all * _distance(mine.share, max(_fate(others), _LOSSES)) >= _CHANCE


def _fate(of: Tally) -> float:
    """Return which part of handshakes is to be expected to fail, by these; of few, little is known."""
    return (of.failed + 1) / (of.all + 2)


def _is_missed(mine: int, of: Evidence, theirs: int, best: Sequence[Evidence], window_s: float) -> bool:
    """Return whether handshakes that used to come about do not: where they do, what fails is an attack.

    As many are expected as at a server's best time, less what the others have less than at theirs.
    """
    most, ever = of.most(window_s), sum(one.most(window_s + LOOK_S) for one in best)
    expected = most * theirs / max(1, ever) if most else theirs / len(best)
    return expected >= _MISSED and mine <= expected // _NEARLY


def _distance(share: float, expected: float) -> float:
    """Return the relative entropy of two shares: chance makes n of them that far by exp(-n * this) at most.

    *Source*: the Chernoff-Hoeffding bound, Hoeffding 1963, theorem 1.
    """
    rest = 0.0 if share == 1 else (1 - share) * log((1 - share) / (1 - expected))
    return share * log(share / expected) + rest
