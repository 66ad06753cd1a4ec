"""Does the program know what time it is?"""

from __future__ import annotations

import struct
import time

from parity.instructions import CALL, in_kernel

from dsrlb.engines.xdp import clock
from dsrlb.engines.xdp.program import loaded
from dsrlb.engines.xdp.sizes import sizes_for
from dsrlb.table import EMPTY
from dsrlb.wire.flowhash import M64

TICK_S = 0.01  # the longest that kernels are built with


def told_s() -> float:
    named = {name: struct.unpack("=Q", value)[0] for name, value in clock.constants().items()}
    return ((clock.ticks() * named["jiffy_ns"] + named["jiffies_zero_ns"]) & M64) / 1_000_000_000


def test_ticks_make_monotonic_time() -> None:
    before_s = time.monotonic()
    found_s = told_s()
    assert before_s - TICK_S <= found_s <= time.monotonic() + TICK_S


def test_the_time_costs_no_call() -> None:
    with (
        loaded(sizes_for(EMPTY, max_flows=64)) as timed,
        loaded(sizes_for(EMPTY, 64), test_clock=True) as told,
    ):
        calls = [[one for one in in_kernel(each.entry) if one.opcode == CALL] for each in (timed, told)]
    assert len(calls[0]) <= len(calls[1])
