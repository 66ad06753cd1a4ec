"""The balancing methods, one a file; this tuple is the list of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dsrlb.schedulers.base import Scheduler
from dsrlb.schedulers.hash import HASH
from dsrlb.schedulers.maglev import MAGLEV
from dsrlb.schedulers.rr import RR
from dsrlb.schedulers.wrr import WRR

SCHEDULERS: tuple[Scheduler, ...] = (RR, WRR, HASH, MAGLEV)
BY_NAME: Mapping[str, Scheduler] = MappingProxyType({scheduler.name: scheduler for scheduler in SCHEDULERS})

__all__ = ["BY_NAME", "HASH", "MAGLEV", "RR", "SCHEDULERS", "WRR"]
