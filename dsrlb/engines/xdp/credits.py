"""What the companion has counted, added to the program's counters (``bpf/xdp/credit.h``)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from dsrlb.engines.xdp.install import Tables
from dsrlb.host import bpf, bpf_maps
from dsrlb.model import Reason
from dsrlb.state import State

MOST = 64  # struct credits
_HEAD, _ENTRY = struct.Struct("=II"), struct.Struct("=IIqq")  # target, reason, packets, octets
_BYTES = _HEAD.size + MOST * _ENTRY.size
_FRAME = bytes(64)  # any: the program does not look at it


def credit(state: State, tables: Tables) -> None:
    """Add a state's counters of frames to the program's, and begin them anew at nothing."""
    entries = _entries(state, tables)
    while part := list(islice(entries, MOST)):
        value = (_HEAD.pack(len(part), 0) + b"".join(part)).ljust(_BYTES, b"\0")
        bpf_maps.update(tables.loaded.maps["credits"], bytes(4), value)
        bpf.run(tables.loaded.programs["credit"], _FRAME)


def _entries(state: State, tables: Tables) -> Iterator[bytes]:
    """Yield the entries, each counter set back as it is taken."""
    for reason in Reason:
        if frames := state.reasons[reason]:
            state.reasons[reason] = 0
            yield _ENTRY.pack(0, reason, frames, 0)
    for names, count in state.backends.items():
        target = tables.target_of(names) if count.packets or count.octets else None
        if target is not None:
            packets, octets, count.packets, count.octets = count.packets, count.octets, 0, 0
            yield _ENTRY.pack(target, 0, packets, octets)
