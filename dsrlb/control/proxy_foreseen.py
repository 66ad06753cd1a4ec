"""What HAProxy has to do for other services than those that it serves.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dsrlb.control.proxy_table import compiled
from dsrlb.control.proxy_written import Written
from dsrlb.engines.haproxy import render
from dsrlb.engines.haproxy.places import Places
from dsrlb.model import Service
from dsrlb.standing import Effective
from dsrlb.table import CompiledService

NOTHING, STARTS, ENDS, RELOAD, RUNTIME = "", "starts", "ends", "reload", "runtime"


def foreseen(
    places: Places, before: Sequence[Service], table: Mapping[bytes, CompiledService]
) -> Callable[[Sequence[Service], Effective], str]:
    """Return what tells, of other services standing so, whether HAProxy starts, ends, is reloaded or told."""

    def of(services: Sequence[Service], effective: Effective) -> str:
        if not (before and services):
            return STARTS if services else ENDS if before else NOTHING
        written = Written(places)
        if written.plan(before) != written.plan(services):
            return RELOAD
        states = render.states(services, compiled(services, effective))
        return RUNTIME if states != render.states(before, table) else NOTHING

    return of
