"""The flow table against the kernel's own LRU hash: the same loop, the same keys, as many entries."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np

from dsrlb.bench.xdp import loop
from dsrlb.bench.xdp.frames import frames
from dsrlb.bench.xdp.measure import RUNS, Row, one_cpu
from dsrlb.bench.xdp.scenarios import Scenario
from dsrlb.bpf.objects import object_path
from dsrlb.engines.xdp import clock, layout
from dsrlb.engines.xdp.memory import mapped
from dsrlb.engines.xdp.sizes import power_of_two
from dsrlb.host import bpf
from dsrlb.model import wire_address

_SCORES = np.dtype([(name, "u8") for name in ("hits", "misses", "begun", "refused")])
_TABLES = {"own": "the flow table", "lru": "the kernel's LRU hash"}
_MAY_LACK = 0.001  # of what is recorded: as much may find its buckets full


def rows(flows: Sequence[int], repetitions: int, max_flows: int) -> Iterator[Row]:
    """Measure look-ups of so many flows that are on record, and records of new ones, in either table.

    Both have two entries for each flow that they are made for.
    """
    entries = 2 * power_of_two(max_flows)
    for table in _TABLES:
        for count in (count for count in flows if count <= max_flows or count == entries // 2):
            with one_cpu(), _opened(entries) as opened:
                yield _lookups(opened, table, count, repetitions)
        with one_cpu(), _opened(entries) as opened:
            yield _records(opened, table, entries // 2, min(repetitions, entries // 2 // RUNS))


def _opened(entries: int) -> AbstractContextManager[bpf.Object]:
    buckets = entries // layout.FLOWS_A_BUCKET
    return bpf.load(
        object_path("tables"),
        {**clock.constants(), "flow_mask": struct.pack("=I", buckets - 1)},
        {"flows": buckets, "flow_marks": buckets, "lru": entries},
    )


def _scenario(table: str, what: str) -> Scenario:
    return Scenario(f"table-{table}-{what}", f"{_TABLES[table]}, {what}")


def _lookups(opened: bpf.Object, table: str, flows: int, repetitions: int) -> Row:
    scenario = _scenario(table, "hit")
    with loop.loaded(opened.program(f"{table}_begin"), {4: flows, 6: 1}) as timed:
        timed.fill(4, frames(scenario.kind, wire_address(scenario.vip), flows))
        timed.run("total", 4, flows)
    return _timed(opened, f"{table}_find", scenario, flows, repetitions)


def _records(opened: bpf.Object, table: str, flows: int, repetitions: int) -> Row:
    return _timed(opened, f"{table}_begin", _scenario(table, "new"), flows, repetitions)


def _timed(opened: bpf.Object, program: str, scenario: Scenario, flows: int, repetitions: int) -> Row:
    scores = mapped(opened.map("scores"), 1, _SCORES)
    with loop.loaded(opened.program(program), {4: flows, 6: 1}) as timed:
        timed.fill(4, frames(scenario.kind, wire_address(scenario.vip), flows))
        scores[:] = 0
        pairs = [
            (timed.run("floor", 4, RUNS).median_ns, timed.run("total", 4, RUNS).median_ns)
            for _ in range(repetitions)
        ]
    what = "begun" if program.endswith("begin") else "hits"
    done, sent = int(scores[what][0]), repetitions * RUNS
    fault = "" if (1 - _MAY_LACK) * sent <= done <= sent else f"of {sent} packets: {done} {what}"
    return Row(scenario, flows, tuple(floor for floor, _ in pairs), tuple(total for _, total in pairs), fault)
