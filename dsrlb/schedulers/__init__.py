"""The balancing methods, one a file; this tuple is the list of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dsrlb.schedulers.base import Scheduler
from dsrlb.schedulers.hash import HASH
from dsrlb.schedulers.lc import LC
from dsrlb.schedulers.maglev import MAGLEV
from dsrlb.schedulers.response import RESPONSE
from dsrlb.schedulers.rr import RR
from dsrlb.schedulers.wlc import WLC
from dsrlb.schedulers.wrr import WRR

SCHEDULERS: tuple[Scheduler, ...] = (RR, WRR, LC, WLC, RESPONSE, HASH, MAGLEV)
BY_NAME: Mapping[str, Scheduler] = MappingProxyType({scheduler.name: scheduler for scheduler in SCHEDULERS})

__all__ = ["BY_NAME", "HASH", "LC", "MAGLEV", "RESPONSE", "RR", "SCHEDULERS", "WLC", "WRR"]
