"""Response time: in turn, and servers that answer faster more often.

The turns are those of weighted round robin.  The weights are the configured ones, each times a percentage
that is measured each second (``dsrlb/response.py``): this scheduler's services alone have one.
"""

from __future__ import annotations

from dsrlb.schedulers.base import Cursor, Scheduler
from dsrlb.schedulers.turns import weighted_turns

RESPONSE = Scheduler(
    "response", "in turn, the faster its answers the more often", Cursor.COUNTER, weighted_turns
)
