"""What ends by time alone: records of flows that are silent, clients' templates.

The program ends a record when it comes upon it; those that nobody comes upon any more are ended by running
the program ``sweep`` here: it looks at a few buckets of the table in each run, and goes on where it stopped.
Templates are read and deleted in batches.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Iterator

from dsrlb.engines.xdp.program import Loaded
from dsrlb.host import bpf, bpf_maps

ROUND_S = 16  # the whole table of flows is looked at once in so many calls
LEAST_BUCKETS = 256
TEMPLATES_A_CALL = 16_384
_FRAME = bytes(64)  # any: the program does not look at it
_UNTIL = struct.Struct("=4xI")  # struct template: target, until_s


class Sweeper:
    """Call ``run`` once a second."""

    def __init__(self, loaded: Loaded) -> None:
        self._sweep, self._templates = loaded.programs["sweep"], loaded.maps["templates"]
        self._buckets = max(math.ceil(loaded.sizes.flows / ROUND_S), LEAST_BUCKETS)
        self._batches: Iterator[list[tuple[bytes, bytes]]] = iter(())

    def run(self) -> None:
        """End what is over, in the next part of each table."""
        bpf.run(self._sweep, _FRAME, repeat=self._buckets)
        self._expire_templates(int(time.monotonic()))

    def _expire_templates(self, now_s: int) -> None:
        batch = next(self._batches, None)
        if batch is None:
            self._batches = bpf_maps.batches(self._templates, TEMPLATES_A_CALL)
            batch = next(self._batches, [])
        for key, value in batch:
            if now_s > _UNTIL.unpack(value)[0]:
                bpf_maps.delete(self._templates, key)
