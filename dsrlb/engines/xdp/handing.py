"""What stands in the maps, as bytes: left by a process that takes its program away, for the next one's maps.

::

    +---------+----------------------+----------------------+-- - -
    | header  | map: keys | values   | map: keys | values   |           in a frame (``engines/framed.py``)
    +---------+----------------------+----------------------+-- - -

Of an array only the entries that are not all zeros.  The next process writes them into maps of the same sizes
before a program is on an interface, and goes on as if the maps were those of a process that was killed
(``adopt.py``).  Not here: what was counted, handshakes, datagrams in pieces.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsrlb.engines.framed import BrokenRecords, Framed, framed, unfit, unframed
from dsrlb.engines.handover import Useless, check, forget, take_over
from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.memory import mapped
from dsrlb.engines.xdp.program import Loaded
from dsrlb.engines.xdp.sizes import Sizes
from dsrlb.errors import HostError
from dsrlb.host import bpf_maps

MAGIC = b"dsrlbxd\1"  # the last byte is the frame's version; the maps have a layout of their own
SHARED = ("slots", "loads", "flows", "flow_marks")  # which a process sees as memory
ARRAYS = (
    *SHARED,
    *("front", "vips", "services", "current", "targets", "races", "sources", "interfaces", "stand_ins"),
)
HASHES = (
    *("templates", "members", "servers", "answering", "own_addresses"),
    *("replies", "rings", "arcs"),
)
_A_BATCH = 16_384
_Bytes = NDArray[np.uint8]

log = logging.getLogger("dsrlb")


@dataclass(frozen=True)
class Left:
    """What was left, its sizes understood and its parts cut out."""

    framed: Framed
    sizes: Sizes
    parts: dict[str, tuple[_Bytes, _Bytes]]  # by map: keys, values; a row each


def pack(loaded: Loaded, now_s: int, where: str) -> bytes:
    """Return what stands in the maps of a program that is on no interface any more."""
    parts = {name: _read(loaded, name) for name in (*ARRAYS, *HASHES)}
    header = {
        "where": where,
        "saved_s": now_s,
        "layout": layout.LAYOUT,
        "sizes": asdict(loaded.sizes),
        "maps": {name: [len(keys), keys.shape[1], rows.shape[1]] for name, (keys, rows) in parts.items()},
    }
    return framed(MAGIC, header, (column.tobytes() for part in parts.values() for column in part))


def unpack(packed: bytes) -> Left:
    """Return what was packed.  BrokenRecords: it is something else, of another layout, or damaged."""
    found = unframed(MAGIC, packed)
    try:
        if found.header["layout"] != layout.LAYOUT:
            raise BrokenRecords("another version, with other maps, wrote it")
        parts, rest = {}, found.rest
        for name in (*ARRAYS, *HASHES):
            count, key_bytes, value_bytes = (int(one) for one in found.header["maps"][name])
            keys, rest = _rows(rest, count, key_bytes)
            rows, rest = _rows(rest, count, value_bytes)
            parts[name] = keys, rows
        sizes = {name: int(size) for name, size in found.header["sizes"].items()}
        return Left(found, Sizes(**sizes), parts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise unfit(error) from error


def found(path: Path | None, wanted: Sizes) -> Left | None:
    """Return what was left, if it is good and its maps are not smaller than wanted; else why not is told."""

    def use(packed: bytes) -> Left:
        left = unpack(packed)
        check(left.framed, int(time.monotonic()))
        if any(has < wants for has, wants in zip(astuple(left.sizes), astuple(wanted), strict=True)):
            raise Useless("its maps are too small for this configuration")
        return left

    return take_over(path, use) if path is not None else None


def filled(loaded: Loaded, left: Left | None, path: Path | None) -> bool:
    """Write what was left into maps that are new; return whether there was something, and it did fit.

    HostError: the kernel did not take it; the next start does without.
    """
    if left is None or path is None:
        return False
    try:
        fill(loaded, left)
    except HostError:
        forget(path)
        raise
    except BrokenRecords as error:
        log.warning("what is left of flows cannot be taken over: %s; they are found by hash", error)
        return False
    log.info("took over %d flows that the process before left", _flows_in(left))
    return True


def fill(loaded: Loaded, left: Left) -> None:
    """Write what was left into maps that are new.  BrokenRecords, with nothing written: it does not fit."""
    for name, (keys, rows) in left.parts.items():
        table = loaded.maps[name]
        fits = (keys.shape[1], rows.shape[1]) == (table.key_bytes, table.value_bytes)
        if not fits or (name in ARRAYS and np.any(_indices(keys) >= bpf_maps.room_in(table))):
            raise BrokenRecords(f"what it has of map {name} does not fit")
    for name, (keys, rows) in left.parts.items():
        if name in SHARED:
            _memory(loaded, name)[_indices(keys)] = rows
            continue
        for first in range(0, len(keys), _A_BATCH):
            pairs = zip(keys[first : first + _A_BATCH], rows[first : first + _A_BATCH], strict=True)
            bpf_maps.update_batch(loaded.maps[name], ((key.tobytes(), row.tobytes()) for key, row in pairs))


def _read(loaded: Loaded, name: str) -> tuple[_Bytes, _Bytes]:
    """Return the keys and the values of a map, a row each."""
    table = loaded.maps[name]
    if name in HASHES:
        entries = [pair for batch in bpf_maps.batches(table, _A_BATCH) for pair in batch]
        columns = (b"".join(pair[at] for pair in entries) for at in (0, 1))
        keys, rows = (np.frombuffer(column, np.uint8) for column in columns)
        return keys.reshape(-1, table.key_bytes), rows.reshape(-1, table.value_bytes)
    if name in SHARED:
        whole = _memory(loaded, name)
    else:
        raw = bpf_maps.values(table, bpf_maps.room_in(table))
        whole = np.frombuffer(raw, np.uint8).reshape(-1, table.value_bytes)
    words = whole.view(np.uint64 if table.value_bytes % 8 == 0 else np.uint8)  # a million flows are 128 MiB
    there = np.flatnonzero(words.any(axis=1)).astype("<u4")
    return there.view(np.uint8).reshape(-1, 4), whole[there]


def _flows_in(left: Left) -> int:
    _, buckets = left.parts["flows"]
    return int(np.count_nonzero(np.ascontiguousarray(buckets).view(layout.FLOW)["target"]))


def _memory(loaded: Loaded, name: str) -> _Bytes:
    table = loaded.maps[name]
    entries = bpf_maps.room_in(table)
    return mapped(table, entries, np.dtype(np.uint8)).reshape(entries, table.value_bytes)


def _indices(keys: _Bytes) -> NDArray[np.uint32]:
    return np.ascontiguousarray(keys).view("<u4").reshape(-1)


def _rows(rest: memoryview, count: int, size: int) -> tuple[_Bytes, memoryview]:
    """Cut so many rows of so many bytes off."""
    rows = np.frombuffer(rest[: count * size], np.uint8).reshape(count, size)
    return rows, rest[count * size :]
