"""Totals that never go backwards: what was counted by all processes of an instance, one after the other.

Engines begin to count anew now and then: the packet engine with each process, the one at XDP with each set of
maps, both with a backend that was forgotten and comes back.  So two numbers are kept of every count::

    total  =  base (counted before it last began anew)  +  last (what the engine said last)

Pure; ``kept_totals`` has them on the disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dsrlb.engines.base import Counters
from dsrlb.flows import BackendCount
from dsrlb.model import Reason
from dsrlb.standing import Names

FORMAT = 1
MOST_GONE = 16_384  # backends that no engine knows any more, and whose totals are kept
FLOWS_REFUSED, TEMPLATES_REFUSED = "flow table full", "persistence table full"

Sent = tuple[int, int, int]  # packets, octets, flows
_NOTHING: Sent = (0, 0, 0)


class Unfit(ValueError):
    """What is to be read is not what was written; the message says why."""


@dataclass(frozen=True)
class Kept:
    """What is written down of a moment: base and last, as a process will find them that comes next."""

    counts_in: str  # where ``last`` goes on being counted without this process; empty: nowhere
    frames: Mapping[str, tuple[int, int]]
    sent: Mapping[Names, tuple[Sent, Sent]]
    ends: Mapping[Names, Sent]  # of ``last``, what ends with this process nevertheless

    def as_text(self) -> bytes:
        """Return it as it stands in the file."""
        frames, sent = self.frames, self.sent
        if not self.counts_in:
            frames = {word: (base + last, 0) for word, (base, last) in frames.items()}
            sent = {names: (_added(base, last), _NOTHING) for names, (base, last) in sent.items()}
        else:
            ends = ((names, part) for names, part in self.ends.items() if names in sent)
            moved = {
                names: (_added(sent[names][0], part), _less(sent[names][1], part)) for names, part in ends
            }
            sent = {**sent, **moved}
        backends = {
            f"{names[0].hex()} {names[1].hex()}": (*base, *last) for names, (base, last) in sent.items()
        }
        whole = {"format": FORMAT, "counts_in": self.counts_in, "frames": frames, "backends": backends}
        return json.dumps(whole).encode() + b"\n"


class Totals:
    """What stands of each count.  Of one thread."""

    def __init__(self) -> None:
        self._frames: dict[str, tuple[int, int]] = {}
        self._sent: dict[Names, tuple[Sent, Sent]] = {}
        self._ends: dict[Names, Sent] = {}

    def go_on(self, text: bytes, counts_in: str) -> None:
        """Go on from what a process before has written.  Raises Unfit, with nothing taken.

        counts_in: where the engine of now counts; if it is there that ``last`` was counted, it still counts.
        """
        found, frames, sent = _read(text)
        if not counts_in or found != counts_in:
            frames = {word: (base + last, 0) for word, (base, last) in frames.items()}
            sent = {names: (_added(base, last), _NOTHING) for names, (base, last) in sent.items()}
        self._frames, self._sent = frames, sent

    def look(self, counted: Counters) -> Counters:
        """Return the totals, with what an engine says now; what it counts in is the same at every look."""
        reasons = [self._frame(reason.word, counted.reasons[reason]) for reason in Reason]
        reasons[Reason.FRAGMENT_HELD] = counted.reasons[Reason.FRAGMENT_HELD]  # those of now, no count
        said, totals = dict(counted.backends), {}
        for names in self._sent.keys() - said.keys():
            base, last = self._sent[names]
            self._sent[names] = _added(base, last), _NOTHING
        for names, count in said.items():
            total = self._add(names, (count.packets, count.octets, count.flows))
            totals[names] = BackendCount(*total, count.active, count.inactive)
        self._ends = {names: (one.packets, one.octets, one.flows) for names, one in counted.ends.items()}
        self._forget(said)
        gone = {names: BackendCount(*base) for names, (base, _) in self._sent.items() if names not in said}
        return Counters(
            reasons,
            {**gone, **totals},
            self._frame(FLOWS_REFUSED, counted.flows_refused),
            self._frame(TEMPLATES_REFUSED, counted.templates_refused),
            refused=counted.refused,
        )

    def kept(self, counts_in: str) -> Kept:
        """Return what is to be written of the last look."""
        return Kept(counts_in, dict(self._frames), dict(self._sent), self._ends)

    def _frame(self, word: str, now: int) -> int:
        """Return a total of frames; a count that is put right afterwards stands still meanwhile."""
        base, last = self._frames.get(word, (0, 0))
        self._frames[word] = base, max(last, now)
        return base + max(last, now)

    def _add(self, names: Names, now: Sent) -> Sent:
        base, last = self._sent.get(names, (_NOTHING, _NOTHING))
        if now[0] < last[0] or now[1] < last[1] or now[2] < last[2]:  # it began anew
            base = _added(base, last)
        self._sent[names] = base, now
        return _added(base, now)

    def _forget(self, said: Mapping[Names, BackendCount]) -> None:
        """Keep no more of backends that are gone than there is room for: the longest known go first."""
        excess = len(self._sent) - len(said) - MOST_GONE
        if excess > 0:
            for names in [one for one in self._sent if one not in said][:excess]:
                del self._sent[names]


def _added(one: Sent, other: Sent) -> Sent:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _less(one: Sent, other: Sent) -> Sent:
    return max(0, one[0] - other[0]), max(0, one[1] - other[1]), max(0, one[2] - other[2])


def _read(text: bytes) -> tuple[str, dict[str, tuple[int, int]], dict[Names, tuple[Sent, Sent]]]:
    """Return where it was counted, and base and last of each count.  Raises Unfit."""
    try:
        whole = json.loads(text)
        if whole["format"] != FORMAT:
            raise Unfit("it is of another version of dsrlb")
        frames = {str(word): _numbers(pair, 2) for word, pair in whole["frames"].items()}
        sent = {_names(words): _numbers(six, 6) for words, six in whole["backends"].items()}
        counts_in = str(whole["counts_in"])
    except Unfit:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unfit("it is damaged") from error
    pairs = {word: (pair[0], pair[1]) for word, pair in frames.items()}
    return counts_in, pairs, {n: ((s[0], s[1], s[2]), (s[3], s[4], s[5])) for n, s in sent.items()}


def _names(words: str) -> Names:
    service, backend = words.split(" ")
    return bytes.fromhex(service), bytes.fromhex(backend)


def _numbers(given: Any, count: int) -> list[int]:
    if not isinstance(given, list) or len(given) != count:
        raise Unfit("it is damaged")
    if any(type(one) is not int or one < 0 for one in given):
        raise Unfit("it is damaged")
    return given
