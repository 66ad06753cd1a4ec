"""Tracing of the program in the kernel: one that tells its decisions takes its place for a while.

::

    interface ──link──► dsrlb_xdp                  nobody traces: the program as ever, to the instruction
    interface ──link──► dsrlb_trace ──► told       somebody does: the same steps, and a ring buffer

A link changes over between two frames.  Both have the same maps, so nothing is forgotten or counted twice.
What the program hands over is told by its companion as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from operator import attrgetter
from typing import Any

import numpy as np

from dsrlb.engines.tap import HasTap, TapTracer
from dsrlb.engines.tracing import Decision, Wanted
from dsrlb.engines.whose import service_of
from dsrlb.engines.xdp import traced
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.traced import Traced
from dsrlb.host.bpf_rings import Ring
from dsrlb.model import Reason
from dsrlb.wire.glance import glance

Put = Callable[[Traced | None], None]  # a program that tells into its place; None: out of it


class XdpTracer:
    """Traces the program and its companion."""

    def __init__(self, tables: Tables, beside: HasTap, put: Put) -> None:
        """Load the program that tells.  HostError: what the kernel says."""
        self._tables, self._put = tables, put
        self._companion = TapTracer(beside, passes=False)  # the program tells of those
        self._wanted = Wanted()
        with ExitStack() as undo:
            self._traced = undo.enter_context(traced.loaded(tables.loaded))
            self._ring = Ring(self._traced.maps["told"].fd)
            undo.callback(self._ring.close)
            self._undo = undo.pop_all()

    @property
    def lost(self) -> int:
        """How many decisions that were asked for could not be told."""
        return self._companion.lost + (self._traced.untold if self._ring.is_open else 0)

    def begin(self, wanted: Wanted) -> None:
        """Put the program that tells in place.  HostError: the kernel refuses."""
        self._wanted = wanted
        self._traced.ask(asked(wanted, self._tables))
        self._undo.callback(self._put, None)
        self._put(self._traced)
        self._companion.begin(wanted)
        self._undo.callback(self._companion.close)

    def take(self, most: int) -> list[Decision]:
        """Return decisions that were not told yet, so many at most, in the order of time."""
        found = self._companion.take(most)
        found += self._of_program(most - len(found))
        return sorted(found, key=attrgetter("at_ns"))

    def _of_program(self, most: int) -> Iterator[Decision]:
        for raw in self._ring.read(most):
            decision = traced.decoded(raw, self._tables)
            if decision is None:
                continue
            seen = glance(decision.frame)
            if decision.service is None:
                decision = decision._replace(service=service_of(seen, self._tables.table))
            if self._wanted.includes(seen, decision):
                yield decision

    def close(self) -> None:
        """Put the other program back, and let this one go; harmless when repeated."""
        self._undo.close()


def asked(wanted: Wanted, tables: Tables) -> Any:
    """Return what is asked for as the program knows it, which may be less exact."""
    all_of_them = np.zeros((), traced.FILTER)
    reasons = range(len(Reason)) if wanted.reasons is None else wanted.reasons
    all_of_them["reasons"] = sum(1 << number for number in reasons)
    all_of_them["every"], all_of_them["most_bytes"] = wanted.every, wanted.most_bytes
    if wanted.client is not None:
        for name, number in zip(("client", "client_mask"), wanted.client, strict=True):
            all_of_them[name] = np.frombuffer(number.to_bytes(16, "big"), np.uint8)
    names = wanted.backends or frozenset()
    services = wanted.services or frozenset(service for service, _ in names)
    addresses = {backend[:16] for _, backend in names}
    if len(services) == 1:
        [key] = services
        held = tables.allocation.services.get(key)
        all_of_them["vip"] = np.frombuffer(key[:16], np.uint8)
        all_of_them["service"] = held.id if held is not None else 0
    if len(addresses) == 1:
        all_of_them["backend"] = np.frombuffer(addresses.pop(), np.uint8)
    return all_of_them
