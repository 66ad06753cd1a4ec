"""``udp``: a datagram is answered, perhaps with something that stands in the answer."""

from __future__ import annotations

import asyncio
import socket

from dsrlb.health.base import Failed, Kind, Open, Subject

MOST_BYTES = 65_535


async def _ask(subject: Subject, open_to: Open) -> None:
    loop = asyncio.get_running_loop()
    with await open_to(subject, socket.SOCK_DGRAM, 0) as sock:
        await loop.sock_sendall(sock, subject.check.send)
        got = await loop.sock_recv(sock, MOST_BYTES)
    if subject.check.expect not in got:
        raise Failed("bad_answer", f"{len(got)} bytes without what is expected")


KIND = Kind("udp", _ask, frozenset(("send", "expect")))
