"""Weighted least connection: a new flow goes to the backend that has the fewest for its weight.

A flow that has no record is picked by hash, from Maglev's table.

*Source*: net/netfilter/ipvs/ip_vs_wlc.c; the load is told in ``dsrlb/least.py``.
"""

from __future__ import annotations

from dsrlb.schedulers.base import Cursor, Scheduler
from dsrlb.schedulers.shares import consistent_slots

WLC = Scheduler(
    "wlc", "the backend with the fewest connections for its weight", Cursor.LEAST, consistent_slots
)
