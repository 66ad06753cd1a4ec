"""Round robin: every backend in turn, whatever its weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsrlb.schedulers.base import Cursor, Scheduler, Slots
from dsrlb.schedulers.shares import live_backends


def compile_slots(identities: Sequence[bytes], weights: Sequence[int]) -> Slots:
    """Give one slot to each backend of a weight above 0, in the order of the arguments.

    Raises ``ConfigError`` when there are more than a slot can name.
    """
    return np.array(live_backends(weights), np.uint16)


RR = Scheduler("rr", "each backend in turn", Cursor.COUNTER, compile_slots, weighted=False)
