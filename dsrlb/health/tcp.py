"""``tcp``: a connection comes about; perhaps something is sent, and something stands in the answer."""

from __future__ import annotations

from dsrlb.health.base import Failed, Kind, Open, Subject
from dsrlb.health.stream import connected


async def _ask(subject: Subject, open_to: Open) -> None:
    wanted = subject.check.expect
    async with connected(subject, open_to) as stream:
        if subject.check.send:
            await stream.send(subject.check.send)
        if not wanted:
            return
        got = await stream.receive_until(lambda so_far: wanted in so_far)
    if wanted not in got:
        raise Failed("bad_answer", f"{len(got)} bytes without what is expected")


KIND = Kind("tcp", _ask, frozenset(("send", "expect")))
