"""Where a service's slots are to stand, its former ones and its running targets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.allocation import Allocation, Held
from dsrlb.engines.xdp.lines import Extents
from dsrlb.engines.xdp.plan_targets import Memory, Stages
from dsrlb.engines.xdp.room import NOWHERE, Extent
from dsrlb.engines.xdp.writes import Fill
from dsrlb.table import GONE, CompiledService


class SlotPlan:
    """Plans slots: those that are there already stay where they are."""

    def __init__(self, allocation: Allocation, memory: Memory, stages: Stages) -> None:
        self._allocation, self._memory, self._stages = allocation, memory, stages

    def stand(self, held: Held, service: CompiledService, indices: NDArray[np.uint16]) -> Extents | None:
        """Return where a service's slots, its former ones and its running targets stand; None: no room."""
        if not self._allocation.free_lines:
            return None
        extents: list[Extent] = []
        fills: list[Fill] = []
        for slots in _slots_of(service, indices):
            extent = self._extent(slots, held.extents, fills)
            if extent is None:
                for fill in fills:
                    self._allocation.room.give(Extent(fill.first, len(fill.targets)))
                return None
            extents.append(extent)
        self._stages.fills += fills
        return Extents(*extents)

    def _extent(self, slots: NDArray[np.uint16], held: Extents, fills: list[Fill]) -> Extent | None:
        """Return where these slots stand, or are to: what is there already stays."""
        if not len(slots):
            return NOWHERE
        for extent in held:
            there = self._memory.slots[extent.first : extent.first + extent.slots]
            if np.array_equal(there, slots):
                return extent
        taken = self._allocation.room.take(len(slots))
        if taken is not None:
            fills.append(Fill(taken.first, slots))
        return taken


def _slots_of(service: CompiledService, indices: NDArray[np.uint16]) -> Iterator[NDArray[np.uint16]]:
    """Yield a service's slots, its former ones and its running targets, as indices of targets."""
    yield indices[np.frombuffer(service.slots, np.uint16)]
    if service.former is None:
        yield indices[:0]
    else:
        there = np.zeros(GONE + 1, np.uint16)  # who is gone is at index 0, which is nobody's
        there[: len(indices)] = indices
        yield there[np.frombuffer(service.former.slots, np.uint16)]
    yield indices[np.flatnonzero(service.shares)] if service.cursor in layout.RUNS else indices[:0]


def running_of(service: CompiledService) -> tuple[bytes, ...]:
    """Return the backends, by key, that a least cursor goes through."""
    if service.cursor not in layout.RUNS:
        return ()
    return tuple(one.key for one, share in zip(service.targets, service.shares, strict=True) if share)
