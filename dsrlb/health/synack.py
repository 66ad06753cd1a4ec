"""What a server says of itself when a connection begins: the greatest segment that it takes.

A raw socket hears the SYN-ACK beside the kernel, of a connection that a check's path leads there.

*Source*: RFC 9293, section 3.2 (options), section 3.1 (flags at byte 13).
"""

from __future__ import annotations

import asyncio
import socket

from dsrlb.health.asking import Asking, Opened, Way
from dsrlb.health.base import Failed, Unasked, hearing, received
from dsrlb.health.stream import AT_ONCE
from dsrlb.wire.mss import announced

SYN_ACK, FLAGS_AT = 0x12, 13
MOST_BYTES = 256
WITHIN_S = 1.0


async def announced_mss(way: Way, by: Opened) -> int | None:
    """Return the MSS that a server's SYN-ACK announces; None if none came in time.  Raises NotSo."""
    with hearing(way.server.vip, way.source, socket.IPPROTO_TCP) as sock:
        connecting = asyncio.ensure_future(_connected(way, by))
        heard = asyncio.ensure_future(_heard(sock, connecting, way))
        try:
            done, _ = await asyncio.wait({heard}, timeout=WITHIN_S)
            return heard.result() if done else None
        finally:
            heard.cancel()
            connecting.cancel()


async def _connected(way: Way, by: Opened) -> int:
    """Connect, and end that at once; return this host's port."""
    try:
        with await Asking(way, by).open(way.at_vip, socket.SOCK_STREAM, 0) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            return int(sock.getsockname()[1])
    except (OSError, Failed, Unasked):
        return 0


async def _heard(sock: socket.socket, connecting: asyncio.Task[int], way: Way) -> int | None:
    """Return what the answer to this connection announces."""
    port = await connecting
    while True:  # other checks' answers come here as well
        got = await received(sock, MOST_BYTES)
        at = (got[0] & 15) * 4 if way.server.vip.version == 4 else 0
        segment = got[at:]
        is_syn_ack = len(segment) > FLAGS_AT and segment[FLAGS_AT] & 0x3F == SYN_ACK
        if is_syn_ack and segment[2:4] == port.to_bytes(2, "big"):
            return announced(segment, 0)
