"""What the program counted and remembers, read back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.counting import added, of_all_cpus, sums
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.program import Loaded
from dsrlb.flows import BackendCount
from dsrlb.wire.flowhash import flow_hash

_LINES_AT_ONCE = 1 << 14  # a copy of a million would be of 72 MB
_NUMBERS = ("state", "until_s", "nat_port", "bits", "stand_in")


class Record(NamedTuple):
    """A flow's record."""

    service: bytes  # key of the service whose backend it has
    backend: bytes
    state: int
    until_s: int
    nat_port: int  # 0: none
    bits: int
    stand_in: int  # place in `stand_ins`


def reasons(loaded: Loaded) -> list[int]:
    """Return how many frames met each Reason, on all CPUs; behind them layout.RECORDS_REFUSED."""
    return [int(total) for total in of_all_cpus(loaded, "reasons", 0, layout.REASONS)["of"].sum(axis=0)]


def counts(tables: Tables) -> dict[tuple[bytes, bytes], BackendCount]:
    """Return the counters of each backend of each service; of removed ones too, as long as there is room."""
    found: dict[tuple[bytes, bytes], BackendCount] = dict(tables.before)
    indices = list(tables.allocation.indices())
    if not indices:
        return found
    sent = sums(tables.loaded, 1 + max(index for _, index in indices))
    active, inactive = (tables.loads[name].tolist() for name in ("active", "inactive"))
    for names, index in indices:
        count = BackendCount(*sent[index], active[index], inactive[index])
        found[names] = added(tables.before.get(names), count)
    return found


def flows(tables: Tables) -> Iterator[tuple[bytes, Record]]:
    """Yield every record, over or not, and its flow's key."""
    for first in range(0, len(tables.flows), _LINES_AT_ONCE):
        lines = tables.flows[first : first + _LINES_AT_ONCE]
        for line in lines[np.flatnonzero(lines["target"])]:  # a copy: the program writes on
            record = _record(tables, line)
            if record is not None:
                yield line["key"].tobytes(), record


def flow(tables: Tables, key: bytes) -> Record | None:
    """Return the record of one flow, over or not."""
    for bucket in flow_buckets(flow_hash(key), tables.loaded.sizes.flows - 1):
        first = bucket * layout.FLOWS_A_BUCKET
        for line in tables.flows[first : first + layout.FLOWS_A_BUCKET]:
            if line["target"] and line["key"].tobytes() == key:
                return _record(tables, line)
    return None


def flow_buckets(hashed: int, mask: int) -> tuple[int, int]:
    """Return the numbers of the two buckets of a flow (``bpf/xdp/flows.h``)."""
    lock = mask >> 4 & layout.FLOW_LOCKS - 1  # of the bits that both have in common
    return hashed & mask, (hashed * 0x9E3779B1 & 0xFFFF_FFFF) >> 11 & mask & ~lock | hashed & lock


def _record(tables: Tables, line: np.void) -> Record | None:
    names = tables.names(int(line["target"]))
    if names is None:
        return None
    return Record(*names, *(int(line[name]) for name in _NUMBERS))
