"""IPv6 headers and the extension headers between them and the transport.

::

    0                 4           6     7     8                24               40
    +--+-------+------+-----------+-----+-----+----------------+----------------+- -
    |6 | class | flow | length    |next | hops| source         | destination    | extensions
    +--+-------+------+-----------+-----+-----+----------------+----------------+- -

*Source*: RFC 8200, sections 3 and 4.
"""

from __future__ import annotations

from dsrlb.model import V4_MAPPED, Reason
from dsrlb.wire.packet import Fragment, Packet, Parsed, as_packet

HEADER_BYTES = 40
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
OPTION_HEADERS = frozenset((HOP_BY_HOP, ROUTING, DESTINATION))
EXTENSIONS = OPTION_HEADERS | {FRAGMENT}
MAX_EXTENSIONS = 8  # a longer chain is nobody's honest traffic

LEAST_MTU_BYTES = 1280  # of any link (RFC 8200, section 5)
FRAGMENT_HEADER_BYTES = 8

_UNSPECIFIED, _LOOPBACK = bytes(16), bytes(15) + b"\x01"


def parse(frame: bytes, at: int) -> Parsed:
    """Return the IPv6 packet at an offset, extension headers skipped, or the Reason why there is none.

    NOT_IP: nobody knows for whom it is.
    """
    size = len(frame)
    l4_at = at + HEADER_BYTES
    if size < l4_at or frame[at] >> 4 != 6:
        return Reason.NOT_IP
    end = l4_at + (frame[at + 4] << 8 | frame[at + 5])
    if end > size:
        return Reason.TRUNCATED
    src, dst, protocol = frame[at + 8 : at + 24], frame[at + 24 : at + 40], frame[at + 6]
    if dst.startswith(V4_MAPPED):
        return Reason.MALFORMED  # see ``unmapped``
    if protocol in EXTENSIONS:
        return _behind_extensions(frame, src, dst, protocol, l4_at, end)
    return as_packet((src, dst, protocol, l4_at, end, None))


def _behind_extensions(frame: bytes, src: bytes, dst: bytes, protocol: int, at: int, end: int) -> Parsed:
    """Walk the chain of extension headers to the transport header, or to a later piece's contents."""
    fragment = None
    for _ in range(MAX_EXTENSIONS + 1):  # the last turn only finds the transport
        if protocol not in EXTENSIONS:
            return Packet(src, dst, protocol, at, end, fragment)
        if at + 8 > end:
            return Reason.MALFORMED
        following = frame[at]
        if protocol == FRAGMENT:
            place = frame[at + 2] << 8 | frame[at + 3]
            if place & 0xFFF9:  # else an atomic fragment (RFC 6946): the whole datagram
                key = src + dst + frame[at + 4 : at + 8] + b"\x2c"
                fragment = Fragment(key, not place & 0xFFF8)
                if not fragment.is_first:
                    return Packet(src, dst, following, at + 8, end, fragment)
            at += 8
        elif protocol == ROUTING and frame[at + 3]:
            return Reason.MALFORMED  # segments left: the VIP is not its last destination
        else:
            at += (frame[at + 1] + 1) << 3
        protocol = following
        if at > end:
            return Reason.MALFORMED
    return Reason.MALFORMED


def unmapped(address: bytes) -> bytes:
    """Return an address; empty if it is IPv4-mapped: that stands for an IPv4 address inside a host only."""
    return b"" if address.startswith(V4_MAPPED) else address


def is_martian(src: bytes) -> bool:
    """Return whether no packet may come from this address.

    Multicast, unspecified, loopback; IPv4-mapped, which would pass for an IPv4 client.
    *Source*: RFC 4291, section 2; RFC 4038, section 4.2.
    """
    return src[0] == 0xFF or src in (_UNSPECIFIED, _LOOPBACK) or src[:12] == V4_MAPPED


def header(src: bytes, dst: bytes, next_header: int, payload_bytes: int, hop_limit: int = 64) -> bytes:
    """Return a 40-byte header."""
    return b"\x60\0\0\0" + payload_bytes.to_bytes(2, "big") + bytes((next_header, hop_limit)) + src + dst


def fragment(packet: bytes, mtu_bytes: int, ident: bytes) -> list[bytes]:
    """Return the pieces of a whole packet without extension headers, none longer than ``mtu_bytes``.

    Only a packet's source may cut it, so this is for packets of our own.  ``ident``: four bytes.
    *Source*: RFC 8200, section 4.5.
    """
    front, payload = packet[:4], packet[HEADER_BYTES:]
    room = (mtu_bytes - HEADER_BYTES - FRAGMENT_HEADER_BYTES) & ~7
    pieces = []
    for at in range(0, len(payload), room):
        part = payload[at : at + room]
        place = (at | (at + room < len(payload))).to_bytes(2, "big")
        length = (FRAGMENT_HEADER_BYTES + len(part)).to_bytes(2, "big")
        head = front + length + bytes((FRAGMENT,)) + packet[7:HEADER_BYTES]
        pieces.append(head + packet[6:7] + b"\0" + place + ident + part)
    return pieces
