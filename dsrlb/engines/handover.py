"""The file in which a packet engine that stops leaves its records, and in which the next one finds them.

It is written whole or not at all, for its owner alone, and is good for two minutes, in the same network,
until the next boot: what is older says little of connections.  It goes when the process that took it over is
at work.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dsrlb.engines.records import BrokenRecords, Left, pack, restore, unpack
from dsrlb.host.files import replace_whole
from dsrlb.state import State
from dsrlb.table import EMPTY, ForwardingTable

GOOD_FOR_S = 120
SIZE_MOST = 1 << 30  # 100 bytes a flow, 228 if it is translated: several million of them

log = logging.getLogger("dsrlb")


def leave(path: Path, state: State, table: ForwardingTable, now_s: int) -> None:
    """Write what is known of flows for the next start.  A failure is told: connections may break then."""
    try:
        replace_whole(path, pack(state, table, now_s, here()))
    except OSError as error:
        why = error.strerror or error
        log.warning("what is known of flows could not be left in %s for the next start: %s", path, why)


def take_over(path: Path, fresh: Callable[[], State], now_s: int) -> tuple[State, ForwardingTable]:
    """Return the state and the table that were left; fresh ones, and why is told, if they are no good."""
    state = fresh()
    try:
        left = unpack(_read(path))
        if why := _no_good(left, now_s):
            log.info("what %s says of flows is not taken over: %s", path, why)
            return state, EMPTY
        table = restore(left, state, now_s)
    except FileNotFoundError:
        return state, EMPTY
    except (BrokenRecords, OSError) as error:
        why = getattr(error, "strerror", None) or str(error)
        log.warning("%s cannot be taken over: %s; flows of before are found by hash", path, why)
        return fresh(), EMPTY
    log.info("took over %d flows that the process before left in %s", len(state.flows), path)
    return state, table


def forget(path: Path) -> None:
    """Take the file away: what stands there is over."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def here() -> str:
    """Return what tells this boot and this network from others."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/net').stat().st_ino}"


def _as_it_is(path: str, flags: int) -> int:
    """Open a file, but no other that a link leads to, and without waiting for who writes to a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _read(path: Path) -> bytes:
    """Return the bytes of a file of ours that nobody else may write."""
    with open(path, "rb", opener=_as_it_is) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise BrokenRecords("others may have written it")
        if found.st_size > SIZE_MOST:
            raise BrokenRecords("it is too large")
        return file.read(SIZE_MOST)


def _no_good(left: Left, now_s: int) -> str:
    if left.header["where"] != here():
        return "it is of another boot or another network"
    age_s = now_s - left.saved_s
    return f"it is {age_s} s old" if not 0 <= age_s <= GOOD_FOR_S else ""
