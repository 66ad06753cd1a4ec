"""The file in which an engine that stops leaves what it knows of flows, and in which the next one finds it.

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
from typing import TypeVar

from dsrlb.engines.framed import BrokenRecords, Framed
from dsrlb.errors import DsrlbError
from dsrlb.host.files import replace_whole

GOOD_FOR_S = 120
SIZE_MOST = 1 << 30  # 100 bytes a flow, 228 if it is translated: several million of them

Taken = TypeVar("Taken")

log = logging.getLogger("dsrlb")


def leave(path: Path, pack: Callable[[], bytes]) -> None:
    """Write what is known of flows for the next start.  A failure is told: connections may break then."""
    try:
        replace_whole(path, pack())
    except (DsrlbError, OSError) as error:
        log.warning(
            "what is known of flows could not be left in %s for the next start: %s", path, _why(error)
        )


def take_over(path: Path, use: Callable[[bytes], Taken]) -> Taken | None:
    """Return what ``use`` makes of what was left; None, and why is told, if that is no good.

    ``use`` raises BrokenRecords for what it cannot use, and asks ``check`` whether it is of here and now.
    """
    try:
        return use(_read(path))
    except FileNotFoundError:
        pass
    except Useless as error:
        log.info("what %s says of flows is not taken over: %s", path, error)
    except (BrokenRecords, OSError) as error:
        log.warning("%s cannot be taken over: %s; flows of before are found by hash", path, _why(error))
    return None


class Useless(Exception):
    """What was left is whole, and not for this start; the words say why."""


def check(left: Framed, now_s: int) -> None:
    """Raise Useless unless it was left here, and lately."""
    if left.where != here():
        raise Useless("it is of another boot or another network")
    age_s = now_s - left.saved_s
    if not 0 <= age_s <= GOOD_FOR_S:
        raise Useless(f"it is {age_s} s old")


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


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
