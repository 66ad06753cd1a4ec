"""An echo request as a whole packet, which any path may carry, and whether it is answered.

::

    IPv4  header (20), DF | type 8, 0   | checksum | token: identifier, sequence number, more | filler
    IPv6  header (40)     | type 128, 0 | checksum | the same

*Source*: RFC 792 (echo), RFC 4443 section 4.1.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from dsrlb.health.base import hearing, received
from dsrlb.model import Address, wire_address
from dsrlb.wire import ipv4, ipv6
from dsrlb.wire.checksum import checksum, pseudo_header
from dsrlb.wire.icmp import ECHO_REPLY, ECHO_REQUEST, ICMP, ICMPV6

TOKEN_BYTES = 12
HEADERS_BYTES = {4: 20 + 4 + TOKEN_BYTES, 6: 40 + 4 + TOKEN_BYTES}  # of the shortest request
TRIES_S = (0.1, 0.2, 0.5)  # a packet may be lost, and a machine be busy
PATIENT_S = (0.3, 1.0, 2.0)  # before something is called wrong
MOST_BYTES = 2048

Send = Callable[[bytes], None]


def request(source: Address, to: Address, size_bytes: int, token: bytes, hops: int) -> bytes:
    """Return an echo request of so many bytes in all, never to be cut, that lives for so many hops."""
    protocol = ICMP if to.version == 4 else ICMPV6
    filler = bytes(max(0, size_bytes - HEADERS_BYTES[to.version]))
    blank = bytes((ECHO_REQUEST[protocol], 0, 0, 0)) + token + filler
    src, dst = wire_address(source), wire_address(to)
    if to.version == 4:
        header = ipv4.header(src, dst, protocol, len(blank))
        header = header[:8] + bytes((hops,)) + header[9:]
        header = header[:10] + checksum(header) + header[12:]
        covered = blank
    else:
        header = ipv6.header(src, dst, protocol, len(blank), hops)
        covered = pseudo_header(src, dst, len(blank), protocol) + blank
    return header + blank[:2] + checksum(covered) + blank[4:]


def is_reply(message: bytes, version: int, token: bytes) -> bool:
    """Return whether an ICMP message is the answer to the request with this token."""
    kind = ECHO_REPLY[ICMP if version == 4 else ICMPV6]
    return message[:1] == bytes((kind,)) and message[4 : 4 + TOKEN_BYTES] == token


async def is_answered(
    source: str,
    to: Address,
    send: Send,
    size_bytes: int,
    hops: int,
    tries_s: Sequence[float] = TRIES_S,
) -> bool:
    """Ask by ``send`` whether somebody answers as ``to`` to this host's address, a few times if need be."""
    token = secrets.token_bytes(TOKEN_BYTES)
    packet = request(ip_address(source), to, size_bytes, token, hops)
    with hearing(to, source, ICMP if to.version == 4 else ICMPV6) as sock:
        return await asked(
            sock, lambda: send(packet), lambda got: _is_reply_in(got, to.version, token), tries_s
        )


async def asked(
    sock: socket.socket,
    send: Callable[[], None],
    is_it: Callable[[bytes], bool],
    tries_s: Sequence[float] = TRIES_S,
) -> bool:
    """Send, again if need be, and return whether what is awaited came to the socket."""
    hearing = asyncio.ensure_future(_heard(sock, is_it))
    try:
        for wait_s in tries_s:
            send()
            if (await asyncio.wait({hearing}, timeout=wait_s))[0]:
                hearing.result()
                return True
        return False
    finally:
        hearing.cancel()


async def _heard(sock: socket.socket, is_it: Callable[[bytes], bool]) -> None:
    while not is_it(await received(sock, MOST_BYTES)):
        pass


def _is_reply_in(got: bytes, version: int, token: bytes) -> bool:
    """Return the same of what a raw socket gives: by IPv4 with the header."""
    return is_reply(got[(got[0] & 15) * 4 :] if version == 4 else got, version, token)
