"""Least connection: a new flow goes to the backend that has the fewest, whatever its weight.

A flow that has no record (the table is full; it is older than the balancer) is picked by hash, from
Maglev's table of backends that count alike.

*Source*: net/netfilter/ipvs/ip_vs_lc.c; the load is told in ``dsrlb/least.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from dsrlb.schedulers.base import Cursor, Scheduler, Slots
from dsrlb.schedulers.shares import consistent_slots


def compile_slots(identities: Sequence[bytes], weights: Sequence[int]) -> Slots:
    """Compile a Maglev table in which every backend of a weight above 0 has the same share.

    Raises ``ConfigError`` when there are more backends than slots.
    """
    return consistent_slots(identities, [min(weight, 1) for weight in weights])


LC = Scheduler("lc", "the backend with the fewest connections", Cursor.LEAST, compile_slots, weighted=False)
