"""Maps as memory: an array map that the kernel lets a process map, as a NumPy array."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsrlb.errors import HostError
from dsrlb.host import bpf_maps


def mapped(table: bpf_maps.Map, entries: int, of: np.dtype[Any]) -> NDArray[Any]:
    """Return the entries of an array map made with BPF_F_MMAPABLE; what is stored in them is in the map."""
    length = -(-entries * table.value_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
    try:
        memory = mmap.mmap(table.fd, length)
    except OSError as error:
        raise HostError(f"cannot map the memory of map {table.name}: {error.strerror}.") from None
    return np.frombuffer(memory, of, count=entries * table.value_bytes // of.itemsize)
