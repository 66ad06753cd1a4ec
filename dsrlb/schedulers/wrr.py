"""Weighted round robin: every backend in turn, as often as its weight says."""

from __future__ import annotations

from dsrlb.schedulers.base import Cursor, Scheduler
from dsrlb.schedulers.turns import weighted_turns

WRR = Scheduler("wrr", "each backend in turn, as often as its weight says", Cursor.COUNTER, weighted_turns)
