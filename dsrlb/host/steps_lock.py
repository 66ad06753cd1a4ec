"""One at a time: whoever sets this machine up, or undoes it, stands in the record's file ``running``.

A setup whose connection is lost may hang for long, and would go on after an undo: so undo ends it.
``scripts/backend-setup`` reads and writes the same file.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsrlb.errors import HostError

PATIENCE_S = 5.0
_AGAIN_S = 0.1


@contextmanager
def alone(state: Path, verb: str) -> Iterator[list[str]]:
    """Run the body while nobody else changes this machine; gives a line for a process that was ended.

    Raises HostError when another one is at work for longer than a moment, unless this is an ``undo``.
    """
    running = state / "running"
    ended = _take(running, verb)
    try:
        yield ended
    finally:
        running.unlink(missing_ok=True)
        with suppress(OSError):  # there is more on record
            state.rmdir()


def _take(running: Path, verb: str) -> list[str]:
    ended: list[str] = []
    deadline_s = time.monotonic() + PATIENCE_S
    while not _is_mine(running):
        holder = _holder(running)
        if holder is None:
            running.unlink(missing_ok=True)
        elif time.monotonic() < deadline_s:
            time.sleep(_AGAIN_S)
        elif verb == "undo" and not ended:
            _end(holder)
            ended.append(f"ended    process {holder}, which was at work on this and hung")
            deadline_s = time.monotonic() + PATIENCE_S
        else:
            raise HostError(
                f"process {holder} is at work on this here, and nothing was changed: "
                f"{'it cannot be ended' if ended else 'wait for it, or undo ends it'}."
            )
    return ended


def _is_mine(running: Path) -> bool:
    """Try to stand in the file."""
    try:
        running.parent.mkdir(parents=True, exist_ok=True)
        with running.open("x") as opened:
            opened.write(f"{os.getpid()}\n")
    except FileExistsError:
        return False
    except OSError as error:
        raise HostError(
            f"cannot record in {running.parent}, so nothing was changed: {error.strerror}."
        ) from error
    return True


def _holder(running: Path) -> int | None:
    """Return the process that stands in the file, if it is at work; None: it ended without a word.

    Who has only begun may not stand there yet, nor may its words in /proc: so it is looked for twice.
    """
    holder = _at_work(running)
    if holder is None:
        time.sleep(_AGAIN_S)
        holder = _at_work(running)
    return holder


def _at_work(running: Path) -> int | None:
    with suppress(OSError, ValueError):
        holder = int(running.read_text())
        words = Path("/proc", str(holder), "cmdline").read_bytes().split(b"\0")
        if {b"setup", b"undo"} & {*words} and any(word.startswith(b"--mode") for word in words):
            return holder
    return None


def _end(holder: int) -> None:
    """Kill a process, and its group: what it waits for would go on without it."""
    with suppress(ProcessLookupError):
        group = os.getpgid(holder)
        os.kill(holder, signal.SIGKILL)
        if group != os.getpgid(0):
            os.killpg(group, signal.SIGKILL)
