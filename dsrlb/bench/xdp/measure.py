"""A scenario measured: prepared, timed, and held to what its name says.

A figure is the median over repetitions; a repetition is a run of the floor and a run of the program, one
after the other, and of each the median of its batches.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from dsrlb.bench.xdp.frames import Kind, frames
from dsrlb.bench.xdp.loop import Loop
from dsrlb.bench.xdp.scenarios import BACKENDS, Scenario, table
from dsrlb.engines.xdp import layout, reading
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.memory import mapped
from dsrlb.model import Action, Reason, wire_address
from dsrlb.wire.l4 import SYN, TCP

RUNS = 1 << 16  # frames a run
_MAY_LACK = 0.001  # of the flows to be recorded, as many may find their buckets full


@dataclass(frozen=True)
class Row:
    """What a packet of a scenario costs, in nanoseconds; one value for each repetition."""

    scenario: Scenario
    flows: int
    floors: tuple[float, ...]
    totals: tuple[float, ...]
    fault: str = ""  # why these packets are not what the scenario's name says

    @property
    def floor_ns(self) -> float:
        """The loop, and the least that a balancer can do."""
        return median(self.floors)

    @property
    def total_ns(self) -> float:
        """The loop and the program."""
        return median(self.totals)

    @property
    def nets(self) -> tuple[float, ...]:
        """The program beyond the floor of the same repetition."""
        return tuple(total - floor for floor, total in zip(self.floors, self.totals, strict=True))

    @property
    def ratios(self) -> tuple[float, ...]:
        """The same, as multiples of that floor."""
        return tuple(net / floor for net, floor in zip(self.nets, self.floors, strict=True))

    @property
    def bar(self) -> float | None:
        """What the ratio is to keep below."""
        return self.scenario.bars.get(self.flows)

    @property
    def is_met(self) -> bool:
        """Whether it does, and the packets were what they should be."""
        return not self.fault and (self.bar is None or median(self.ratios) <= self.bar)


class Counted(NamedTuple):
    """What the program has counted and remembers."""

    reasons: Counter[int]  # frames, by Reason
    packets: Counter[tuple[bytes, bytes]]  # by service key and backend key
    records: int


class Stand:
    """A loaded program and the loop around it."""

    def __init__(self, tables: Tables, loop: Loop) -> None:
        self._tables, self._loop, loaded = tables, loop, tables.loaded
        self._marks = mapped(loaded.maps["flow_marks"], loaded.sizes.flows, layout.FLOW_MARKS)

    def measure(self, scenario: Scenario, flows: int, repetitions: int) -> Row:
        """Measure a scenario with so many flows (a power of two)."""
        if scenario.is_new:
            repetitions = min(repetitions, flows // RUNS)  # as long as every packet begins a flow
        self._prepare(scenario, flows)
        if not scenario.is_new:
            self._loop.run("total", scenario.kind.version, RUNS)
        before = self._counted()
        floors, totals, actions = [], [], set()
        for _ in range(repetitions):
            floors.append(self._loop.run("floor", scenario.kind.version, RUNS).median_ns)
            done = self._loop.run("total", scenario.kind.version, RUNS)
            totals.append(done.median_ns)
            actions.add(done.action)
        sent = repetitions * RUNS
        fault = "; ".join(_faults(scenario, flows, sent, before, self._counted(), actions))
        return Row(scenario, flows, tuple(floors), tuple(totals), fault)

    def _prepare(self, scenario: Scenario, flows: int) -> None:
        """Install the table, fill in the frames, and have every flow recorded that is to be."""
        if np.any(self._tables.flows["target"]):
            self._tables.flows[:] = self._marks[:] = 0
        self._tables.loads["active"] = self._tables.loads["inactive"] = 0
        self._tables.install(table(scenario))
        made = frames(scenario.kind, wire_address(scenario.vip), flows)
        self._loop.fill(scenario.kind.version, made)
        if not scenario.recorded:
            return
        for kind in _beginning(scenario.kind):
            made[:, kind.flags_at] = kind.tcp_flags if kind.protocol == TCP else made[:, kind.flags_at]
            self._loop.fill(scenario.kind.version, made)
            self._loop.run("total", scenario.kind.version, flows)

    def _counted(self) -> Counted:
        counts = reading.counts(self._tables).items()
        return Counted(
            Counter(dict(enumerate(reading.reasons(self._tables.loaded)))),
            Counter({names: count.packets for names, count in counts}),
            int(np.count_nonzero(self._tables.flows["target"])),
        )


def _faults(
    scenario: Scenario, flows: int, sent: int, before: Counted, after: Counted, actions: set[int]
) -> Iterator[str]:
    """Yield what was not as the scenario's name says."""
    met = after.reasons - before.reasons
    refused = met.pop(layout.RECORDS_REFUSED, 0)
    if met != {scenario.reason: sent}:
        found = ", ".join(f"{number} {Reason(place).word}" for place, number in met.items())
        yield f"of {sent} packets: {found}"
    if actions != {scenario.action}:
        yield f"verdicts {', '.join(Action(one).name if one else 'ABORTED' for one in sorted(actions))}"
    got = after.packets - before.packets
    if scenario.is_sent and (got.total() != sent or len(got) != min(flows, BACKENDS)):
        yield f"{got.total()} packets of {sent} at {len(got)} backends"
    wanted, begun = flows if scenario.recorded else 0, sent if scenario.is_new else 0
    lacking = wanted - before.records, before.records + begun - after.records, refused
    if any(not 0 <= number <= _MAY_LACK * (wanted + begun) for number in lacking):
        yield f"{before.records} records before, {after.records} after, {refused} refused"


def _beginning(kind: Kind) -> Sequence[Kind]:
    """Return the packets by which a flow comes to the state in which it stays."""
    if kind.protocol != TCP:
        return (kind,)
    return Kind(kind.version, tcp_flags=SYN), kind


@contextmanager
def one_cpu() -> Iterator[None]:
    """Stay on one CPU for the length of a ``with`` block: the last one that this process may use."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
