"""The data path's clock: CLOCK_MONOTONIC, told from the ticks that the kernel counts.

A program reads ``jiffies`` by one load, where every other clock costs it a call.  The kernel counts a tick
for each tick's length of CLOCK_MONOTONIC that has gone by, so the two do not drift apart.

*Source*: kernel/time/tick-sched.c, ``tick_do_update_jiffies64``; include/linux/jiffies.h, ``TICK_NSEC``,
which is the resolution of CLOCK_MONOTONIC_COARSE.
"""

from __future__ import annotations

import struct
import time

from dsrlb.bpf.objects import object_path
from dsrlb.host import bpf
from dsrlb.wire.flowhash import M64

_CLOCK_MONOTONIC_COARSE = 6  # linux/time.h
_FRAME = bytes(64)


def constants() -> dict[str, bytes]:
    """Return the program's constants that make nanoseconds of ticks.

    ``(ticks * jiffy_ns + jiffies_zero_ns) % 2**64`` is CLOCK_MONOTONIC, to a tick.
    """
    jiffy_ns = round(time.clock_getres(_CLOCK_MONOTONIC_COARSE) * 1_000_000_000)
    ticked, now_ns = ticks(), time.monotonic_ns()
    return {
        "jiffy_ns": struct.pack("=Q", jiffy_ns),
        "jiffies_zero_ns": struct.pack("=Q", (now_ns - ticked * jiffy_ns) & M64),
    }


def ticks() -> int:
    """Return how often the kernel's clock has ticked."""
    with bpf.load(object_path("clock")) as loaded:
        answer = bpf.run(loaded.program("dsrlb_clock"), _FRAME)
    return int(struct.unpack_from("=Q", answer.packet)[0])
