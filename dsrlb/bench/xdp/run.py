"""All of it: load the program and the loop, measure what is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from dsrlb.bench.xdp import loop
from dsrlb.bench.xdp.measure import Row, Stand, one_cpu
from dsrlb.bench.xdp.scenarios import Scenario
from dsrlb.engines.tracing import Wanted
from dsrlb.engines.xdp import traced
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.program import loaded
from dsrlb.engines.xdp.sizes import DEFAULT_MAX_FLOWS, power_of_two, sizes_for
from dsrlb.engines.xdp.tracing import asked
from dsrlb.host import bpf
from dsrlb.model import Reason
from dsrlb.table import EMPTY

_SLOTS, _TARGETS = 1 << 13, 1 << 10  # lines and targets: two services of 65537 slots and 100 backends


def rows(
    scenarios: Sequence[Scenario],
    flows: Sequence[int],
    repetitions: int,
    max_flows: int = DEFAULT_MAX_FLOWS,
    *,
    is_traced: bool = False,
) -> Iterator[Row]:
    """Measure each scenario with each number of flows that it is for.

    max_flows: how many the flow table is made for.  is_traced: somebody traces other packets, no bar holds.
    """
    if is_traced:
        scenarios = [replace(one, bars={}) for one in scenarios]
    wanted = [(one, count) for one in scenarios for count in counts_for(one, flows, max_flows)]
    with _standing(wanted, max_flows, is_traced=is_traced) as stand:
        for scenario, count in wanted:
            yield stand.measure(scenario, count, repetitions)


def counts_for(scenario: Scenario, flows: Sequence[int], max_flows: int) -> Sequence[int]:
    """Return with how many flows a scenario is measured: those that it is for, or the most of them."""
    room = power_of_two(max_flows)
    if scenario.is_new:
        return (room,)
    most = min(scenario.most_flows, room)
    return [count for count in flows if count <= most] or (most,)


@contextmanager
def _standing(wanted: Sequence[tuple[Scenario, int]], max_flows: int, *, is_traced: bool) -> Iterator[Stand]:
    room = {4: 1, 6: 1}
    for scenario, count in wanted:
        room[scenario.kind.version] = max(room[scenario.kind.version], count)
    sizes = replace(sizes_for(EMPTY, max_flows), slots=_SLOTS, targets=_TARGETS)
    with one_cpu(), loaded(sizes) as program, ExitStack() as stack:
        tables = Tables(program)
        entry = stack.enter_context(_tracing(tables)) if is_traced else program.entry
        yield Stand(tables, stack.enter_context(loop.loaded(entry, room)))


@contextmanager
def _tracing(tables: Tables) -> Iterator[bpf.Program]:
    """Load the program that tells its decisions, asked for some that never come."""
    with traced.loaded(tables.loaded) as telling:
        telling.ask(asked(Wanted(reasons=frozenset((Reason.RECEIVE_RING_FULL,))), tables))
        yield telling.entry
