"""Turns by weight: every backend in turn, the heavier ones more often, never in bursts.

Each turn of a backend has a window of slots.  With weight w out of a sum W, its k-th turn
(from 0) belongs between slot k * W / w and slot (k + 1) * W / w.  Weights 3 and 2::

    slot        0     1     2     3     4
    backend 0   [---------]                   (windows rounded outwards to whole slots)
                      [---------------]
                                  [---------]
    backend 1   [---------------]
                            [---------------]
    given to    0     1     0     1     0

Of the turns whose window has begun, the one whose window ends first is served.  Every turn then
falls into its window (earliest deadline first, which meets every deadline that can be met; Liu and
Layland, 1973), so after any number of slots each backend has had its share, rounded down or up.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import gcd

import numpy as np

from dsrlb.schedulers.base import Slots
from dsrlb.schedulers.shares import apportion, live_backends

MAX_SLOTS = 65535


def weighted_turns(identities: Sequence[bytes], weights: Sequence[int]) -> Slots:
    """Give each backend as many slots as its weight, divided by what all weights have in common.

    More than ``MAX_SLOTS`` in all are scaled down to that, by largest remainder, to no less than 1 each.
    Raises ``ConfigError`` when there are more backends than that.
    """
    live = live_backends(weights, MAX_SLOTS)
    common = gcd(*(weights[index] for index in live))
    counts = [weights[index] // common for index in live]
    if sum(counts) > MAX_SLOTS:
        counts = apportion(counts, MAX_SLOTS)
    return np.array(live, np.uint16)[_interleave(counts)]


def _interleave(counts: Sequence[int]) -> list[int]:
    """Return the indices of ``counts``, each as often as it says, spread evenly."""
    total = sum(counts)
    begins: list[list[tuple[int, int, int]]] = [[] for _ in range(total)]
    for index, count in enumerate(counts):
        for turn in range(count):
            begin, end = turn * total // count, -((turn + 1) * -total // count)
            begins[begin].append((end, begin, index))
    ready: list[tuple[int, int, int]] = []
    order = []
    for beginning in begins:
        for window in beginning:
            heappush(ready, window)
        order.append(heappop(ready)[2])
    return order
