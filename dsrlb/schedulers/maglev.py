"""Maglev: a flow's hash picks the backend, from a table that changes little when backends do.

*Source*: Eisenbud et al., Maglev: A Fast and Reliable Software Network Load Balancer, NSDI 2016.
"""

from __future__ import annotations

from dsrlb.schedulers.base import Cursor, Scheduler
from dsrlb.schedulers.shares import consistent_slots

MAGLEV = Scheduler(
    "maglev", "by the flow's addresses and ports, alike on every balancer", Cursor.FLOW_HASH, consistent_slots
)
