"""Counters of a target, over all CPUs."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.program import Loaded
from dsrlb.flows import BackendCount
from dsrlb.host import bpf_maps

_INDEX = struct.Struct("=I")


def of_all_cpus(loaded: Loaded, name: str, index: int, of: np.dtype[Any]) -> NDArray[Any]:
    """Return an entry of a per-CPU map, one value for each CPU."""
    raw = bpf_maps.lookup(loaded.maps[name], _INDEX.pack(index))
    return np.frombuffer(raw or b"", of)


def counted(loaded: Loaded, loads: NDArray[Any], index: int) -> BackendCount:
    """Return what a target was sent, and its records."""
    each = of_all_cpus(loaded, "counts", index, layout.COUNT)
    packets, octets, flows = (int(each[name].sum()) for name in ("packets", "octets", "flows"))
    return BackendCount(packets, octets, flows, int(loads["active"][index]), int(loads["inactive"][index]))


def sums(loaded: Loaded, count: int) -> list[tuple[int, int, int]]:
    """Return packets, octets and flows of the first targets, each over all CPUs."""
    raw = np.frombuffer(bpf_maps.first_values(loaded.maps["counts"], count), layout.COUNT)
    columns = (raw[name].reshape(count, -1).sum(axis=1).tolist() for name in ("packets", "octets", "flows"))
    return list(zip(*columns, strict=True))


def added(one: BackendCount | None, other: BackendCount) -> BackendCount:
    """Return both together; the records are those of ``other``."""
    if one is None:
        return other
    packets, octets, flows = one.packets + other.packets, one.octets + other.octets, one.flows + other.flows
    return BackendCount(packets, octets, flows, other.active, other.inactive)


def zeroed(loaded: Loaded) -> bytes:
    """Return the counters of a target that has counted nothing."""
    return bytes(loaded.maps["counts"].value_bytes)
