"""``dns``: a question is answered with the wanted response code.

::

    0       2       4                   12
    +-------+-------+-------------------+----------------+-------+-------+
    | id    | flags | counts (4 times 2)| name           | type  | class |
    +-------+-------+-------------------+----------------+-------+-------+
            QR ............ RCODE: first and last bits of the flags

*Source*: RFC 1035, section 4.1.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import Mapping
from types import MappingProxyType

from dsrlb.health.base import Failed, Kind, Open, Subject, received

TYPES: Mapping[str, int] = MappingProxyType(
    {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}
)
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
RECURSION_DESIRED, RESPONSE, RCODE_BITS = 0x0100, 0x8000, 0x000F
INTERNET = 1  # the class
HEADER_BYTES, MOST_BYTES = 12, 65_535


def question(name: str, kind: str, number: int) -> bytes:
    """Return the message that asks for a name."""
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return (
        struct.pack("!6H", number, RECURSION_DESIRED, 1, 0, 0, 0) + wire + struct.pack("!2H", TYPES[kind], 1)
    )


async def _ask(subject: Subject, open_to: Open) -> None:
    loop, check = asyncio.get_running_loop(), subject.check
    asked = question(check.query, check.query_type, secrets.randbelow(1 << 16))
    with await open_to(subject, socket.SOCK_DGRAM, 0) as sock:
        await loop.sock_sendall(sock, asked)
        got = b""
        while got[:2] != asked[:2]:  # a late answer to the question before
            got = await received(sock, MOST_BYTES)
    flags = int.from_bytes(got[2:4], "big")
    if len(got) < HEADER_BYTES or not flags & RESPONSE:
        raise Failed("bad_answer", "not DNS")
    rcode = flags & RCODE_BITS
    if rcode != RCODES.index(check.rcode):
        raise Failed("bad_answer", RCODES[rcode] if rcode < len(RCODES) else f"response code {rcode}")


KIND = Kind("dns", _ask, frozenset(("query", "query_type", "rcode")), needed=frozenset(("query",)))
