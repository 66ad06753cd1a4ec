"""To wait until no packet is under way that began before."""

from __future__ import annotations

import ctypes
import platform
import time

# asm/unistd.h: membarrier(2), which has no wrapper in the C library.
_MEMBARRIER = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "s390x": 356, "ppc64le": 365}
_GLOBAL = 1
_LONG_S = 0.1  # a packet is under way for microseconds


def settle() -> None:
    """Return when every packet that was under way has left the program.

    The program runs inside a read-side section of RCU, and MEMBARRIER_CMD_GLOBAL waits for a grace period:
    until every such section that had begun has ended.  Where the kernel refuses it (nohz_full) the wait is
    one that is long enough.
    *Source*: kernel/sched/membarrier.c; membarrier(2).
    """
    number = _MEMBARRIER.get(platform.machine())
    if number is None or ctypes.CDLL(None).syscall(number, _GLOBAL, 0) != 0:
        time.sleep(_LONG_S)
