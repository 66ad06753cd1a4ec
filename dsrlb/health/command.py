"""``command``: a program ends with exit code 0.  It gets its arguments as they are: there is no shell."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL
from contextlib import suppress

from dsrlb.health.base import LACKS, Failed, Kind, Open, Subject, Unasked

GONE_WITHIN_S = 1.0  # a process that is killed is gone at once, unless the kernel holds it


def arguments(subject: Subject) -> list[str]:
    """Return program and arguments, with the server's address and port, and the VIP, in their places."""
    known = {"{address}": str(subject.address), "{port}": str(subject.port), "{vip}": str(subject.vip)}
    words = list(subject.check.command)
    for place, value in known.items():
        words = [word.replace(place, value) for word in words]
    return words


async def _ask(subject: Subject, _: Open) -> None:
    words = arguments(subject)
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
        )
    except OSError as error:
        if error.errno in LACKS:
            raise Unasked(error.strerror) from None
        raise Failed("not_run", f"{words[0]}: {(error.strerror or str(error)).lower()}") from None
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and what it started
            await asyncio.wait({asyncio.ensure_future(process.wait())}, timeout=GONE_WITHIN_S)
    if code:
        raise Failed("exit_code", str(code))


KIND = Kind("command", _ask, frozenset(("command",)), needed=frozenset(("command",)), has_port=False)
