"""Netlink, by hand where that is much faster than pyroute2, or where that does not know the family.

::

    datagram     ┌────────────────────────────────────────────────────┬──────┬─ - -
                 │ nlmsghdr: length 4, type 2, flags 2, seq 4, port 4 │ body │ the next message
                 └────────────────────────────────────────────────────┴──────┴─ - -
    attributes   ┌───────────────────┬─────────────────────┬─ - -
    in a body    │ length 2, type 2  │ value, to 4 bytes   │ the next one      a length counts its own header
                 └───────────────────┴─────────────────────┴─ - -

*Source*: include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

NLM_F_REQUEST, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x10, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
HEADER, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")


def message(kind: int, flags: int, body: bytes) -> bytes:
    """Return a message to the kernel, the first one of a socket."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, 1, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute, up to where the next one can begin."""
    length = ATTRIBUTE.size + len(value)
    return (ATTRIBUTE.pack(length, kind) + value).ljust(_aligned(length), b"\0")


def messages(datagram: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, flags, body) of every message in a datagram; ends at a malformed one."""
    at = 0
    while at + HEADER.size <= len(datagram):
        length, kind, flags, _, _ = HEADER.unpack_from(datagram, at)
        if length < HEADER.size or at + length > len(datagram):
            return
        yield kind, flags, datagram[at + HEADER.size : at + length]
        at += _aligned(length)


def attributes(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of every attribute of a body from a place on; ends at a malformed one."""
    while at + ATTRIBUTE.size <= len(body):
        length, kind = ATTRIBUTE.unpack_from(body, at)
        if length < ATTRIBUTE.size:
            return
        yield kind, body[at + ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _aligned(length: int) -> int:
    return length + 3 & ~3
