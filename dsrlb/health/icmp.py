"""``icmp``: an echo request is answered.

*Source*: RFC 792 (echo), RFC 4443 section 4.1; RFC 3542 section 3.1: the kernel makes ICMPv6 checksums.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct

from dsrlb.health.base import Kind, Open, Subject, received
from dsrlb.wire.checksum import checksum

REQUEST4, REPLY4, REQUEST6, REPLY6 = 8, 0, 128, 129
MOST_BYTES = 2048


async def _ask(subject: Subject, open_to: Open) -> None:
    loop, is_v4 = asyncio.get_running_loop(), subject.address.version == 4
    request, reply = (REQUEST4, REPLY4) if is_v4 else (REQUEST6, REPLY6)
    protocol = socket.IPPROTO_ICMP if is_v4 else socket.IPPROTO_ICMPV6
    with await open_to(subject, socket.SOCK_RAW, protocol) as sock:
        # The identifier, by which the path of the probes finds the server; sequence number; what is carried.
        echoed = (sock.fileno() & 0xFFFF).to_bytes(2, "big") + secrets.token_bytes(18)
        await loop.sock_sendall(sock, _message(request, echoed, is_v4))
        while True:  # the socket hears all that the server sends by ICMP
            got = await received(sock, MOST_BYTES)
            message = got[(got[0] & 15) * 4 :] if is_v4 else got  # a raw socket of IPv4 gives the header too
            if message[:1] == bytes((reply,)) and message[4:] == echoed:
                return


def _message(kind: int, echoed: bytes, is_v4: bool) -> bytes:
    blank = struct.pack("!BBH", kind, 0, 0) + echoed
    return blank[:2] + checksum(blank) + echoed if is_v4 else blank


KIND = Kind("icmp", _ask, frozenset(), has_port=False)
