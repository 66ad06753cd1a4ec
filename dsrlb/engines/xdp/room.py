"""Lines of ``slots``, taken and given back side by side: first fit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from dsrlb.engines.xdp.layout import SLOTS_A_LINE


class Extent(NamedTuple):
    """Slots side by side: from which on (the first of a line), and how many."""

    first: int
    slots: int

    @property
    def end(self) -> int:
        """The first slot behind its last line."""
        return self.first + -(-self.slots // SLOTS_A_LINE) * SLOTS_A_LINE


NOWHERE = Extent(0, 0)


class Room:
    """What is free of so many lines, in order of place."""

    def __init__(self, lines: int, taken: Iterable[Extent] = ()) -> None:
        """Begin with what ``taken`` leaves, whose parts do not overlap."""
        self._firsts: list[int] = []
        self._ends: list[int] = []
        at = 0
        for extent in sorted(set(taken)):
            self._append(at, extent.first)
            at = max(at, extent.end)
        self._append(at, lines * SLOTS_A_LINE)

    def _append(self, first: int, end: int) -> None:
        if first < end:
            self._firsts.append(first)
            self._ends.append(end)

    def take(self, slots: int) -> Extent | None:
        """Return room for so many slots, 1 or more; None if there is none in one piece."""
        for number, (first, end) in enumerate(zip(self._firsts, self._ends, strict=True)):
            extent = Extent(first, slots)
            if extent.end < end:
                self._firsts[number] = extent.end
                return extent
            if extent.end == end:
                del self._firsts[number], self._ends[number]
                return extent
        return None

    def give(self, extent: Extent) -> None:
        """Take back what was taken."""
        first, end = extent.first, extent.end
        number = bisect_left(self._firsts, first)
        if number < len(self._firsts) and self._firsts[number] == end:
            end = self._ends[number]
            del self._firsts[number], self._ends[number]
        if number and self._ends[number - 1] == first:
            self._ends[number - 1] = end
        else:
            self._firsts.insert(number, first)
            self._ends.insert(number, end)
