"""Flows that want the same cell: client's ports, of one client and one place, whose hashes lead there."""

from __future__ import annotations

from functools import cache
from operator import mul

import numpy as np

from dsrlb.model import V4_MAPPED
from dsrlb.sampling import CELLS
from dsrlb.wire.flowhash import CONSTANTS, M64, flow_hash
from dsrlb.wire.l4 import TCP, flow_key

_OF_PORTS, _MIX = np.uint64(CONSTANTS[9]), np.uint64(CONSTANTS[11])
_SPORTS = np.arange(1, 1 << 16, dtype=np.uint64)
_HALF = np.uint64(32)


@cache
def rivals(src: bytes, dst: bytes, dport: int) -> tuple[int, ...]:
    """Return such ports, about eight, with port 4000 among them; addresses are of 4 or 16 bytes."""
    ends = [one if len(one) == 16 else V4_MAPPED + one for one in (src, dst)]
    zero = flow_key(*ends, bytes(2) + dport.to_bytes(2, "big"), TCP)
    words = np.frombuffer(zero, ">u4").tolist()
    base = sum(map(mul, words, CONSTANTS[1:11]), CONSTANTS[0]) & M64
    total = np.uint64(base) + _OF_PORTS * (_SPORTS << np.uint64(16))
    cells = ((total ^ total >> _HALF) * _MIX >> _HALF).astype(np.uint32) % CELLS
    assert cells[0] == flow_hash(zero[:32] + b"\0\1" + zero[34:]) % CELLS
    return tuple((np.flatnonzero(cells == cells[3999]) + 1).tolist())
