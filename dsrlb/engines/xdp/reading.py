"""What the program counted and remembers, read back."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.program import Loaded
from dsrlb.flows import BackendCount
from dsrlb.host import bpf_maps
from dsrlb.wire.flowhash import flow_hash

_INDEX = struct.Struct("=I")


class Record(NamedTuple):
    """A flow's record."""

    service: bytes  # key of the service whose backend it has
    backend: bytes
    state: int
    until_s: int
    nat_port: int  # 0: none
    bits: int


def reasons(loaded: Loaded) -> list[int]:
    """Return how many frames met each Reason, on all CPUs; behind them layout.RECORDS_REFUSED."""
    return [int(total) for total in _of_all_cpus(loaded, "reasons", 0, layout.REASONS)["of"].sum(axis=0)]


def counts(tables: Tables) -> dict[tuple[bytes, bytes], BackendCount]:
    """Return the counters of each backend of each service."""
    found = {}
    for names, index in tables.targets.items():
        each, load = _of_all_cpus(tables.loaded, "counts", index, layout.COUNT), tables.loads[index]
        packets, octets, flows = (int(each[name].sum()) for name in ("packets", "octets", "flows"))
        found[names] = BackendCount(packets, octets, flows, int(load["active"]), int(load["inactive"]))
    return found


def _of_all_cpus(loaded: Loaded, name: str, index: int, of: np.dtype[Any]) -> NDArray[Any]:
    raw = bpf_maps.lookup(loaded.maps[name], _INDEX.pack(index))
    return np.frombuffer(raw or b"", of)


def flows(tables: Tables) -> Iterator[tuple[bytes, Record]]:
    """Yield every record, over or not, and its flow's key."""
    there = tables.flows[np.flatnonzero(tables.flows["target"])]
    for line in there.copy():
        record = _record(tables, line)
        if record is not None:
            yield line["key"].tobytes(), record


def flow(tables: Tables, key: bytes) -> Record | None:
    """Return the record of one flow, over or not."""
    hashed, mask = flow_hash(key), tables.loaded.sizes.flows - 1
    for bucket in (hashed & mask, (hashed * 0x9E3779B1 & 0xFFFF_FFFF) >> 11 & mask):
        first = bucket * layout.FLOWS_A_BUCKET
        for line in tables.flows[first : first + layout.FLOWS_A_BUCKET]:
            if line["target"] and line["key"].tobytes() == key:
                return _record(tables, line)
    return None


def _record(tables: Tables, line: np.void) -> Record | None:
    names = tables.names.get(int(line["target"]))
    if names is None:
        return None
    return Record(*names, int(line["state"]), int(line["until_s"]), int(line["nat_port"]), int(line["bits"]))
