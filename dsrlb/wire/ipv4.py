"""IPv4 headers.

::

    0     1     2           4           6           8     9     10          12       16       20
    +-----+-----+-----------+-----------+-----------+-----+-----+-----------+--------+--------+- -
    |4|IHL| TOS | length    | ident     |fl| offset | TTL |proto| checksum  | source | dest   | options
    +-----+-----+-----------+-----------+-----------+-----+-----+-----------+--------+--------+- -

*Source*: RFC 791, section 3.1.
"""

from __future__ import annotations

from dsrlb.model import V4_MAPPED, Reason
from dsrlb.wire.checksum import WORD_MAX, checksum
from dsrlb.wire.packet import Fragment, Parsed, as_packet

HEADER_BYTES, FLAGS_AT, CHECKSUM_AT = 20, 6, 10
NO_OPTIONS = 0x45
DONT_FRAGMENT, MORE_FRAGMENTS, MORE_FRAGMENTS_AND_OFFSET = 0x4000, 0x2000, 0x3FFF
OFFSET = 0x1FFF
LEAST_MTU_BYTES = 68  # of any link (RFC 791, section 3.2): the longest header and eight bytes
MOST_BYTES = 0xFFFF  # of any packet
_END_OF_OPTIONS, _NO_OPERATION, _COPIED = 0, 1, 0x80

_TRUNCATED, _MALFORMED = Reason.TRUNCATED, Reason.MALFORMED


def parse(frame: bytes, at: int) -> Parsed:
    """Return the IPv4 packet at an offset, or the Reason why there is none (NOT_IP: nobody knows for whom).

    The header checksum is checked: it is never left to the hardware, so a wrong one is damage.
    """
    size = len(frame)
    if size < at + HEADER_BYTES:
        return Reason.NOT_IP
    first = frame[at]
    l4_at = at + ((first & 15) << 2)
    if first != NO_OPTIONS and (first >> 4 != 4 or first & 15 < 5):
        return _MALFORMED if first >> 4 == 4 else Reason.NOT_IP
    end = at + (frame[at + 2] << 8 | frame[at + 3])
    if end > size or l4_at > size:
        return _TRUNCATED
    if end < l4_at:
        return _MALFORMED
    if int.from_bytes(frame[at:l4_at], "big") % WORD_MAX:
        return Reason.BAD_CHECKSUM
    src, dst = V4_MAPPED + frame[at + 12 : at + 16], V4_MAPPED + frame[at + 16 : at + 20]
    place = (frame[at + 6] << 8 | frame[at + 7]) & MORE_FRAGMENTS_AND_OFFSET
    fragment = None
    if place:
        key = src + dst + b"\0\0" + frame[at + 4 : at + 6] + frame[at + 9 : at + 10]
        fragment = Fragment(key, not place & OFFSET)
    return as_packet((src, dst, frame[at + 9], l4_at, end, fragment))


def is_martian(src: bytes) -> bool:
    """Return whether no packet may come from a 16-byte mapped IPv4 address.

    This network, loopback, multicast, reserved and broadcast.  *Source*: RFC 1122, section 3.2.1.3.
    """
    first = src[12]
    return first == 0 or first == 127 or first >= 224


def header(src: bytes, dst: bytes, protocol: int, payload_bytes: int) -> bytes:
    """Return a 20-byte header without its checksum: DF set, TTL 64, for 16-byte mapped addresses."""
    total = (HEADER_BYTES + payload_bytes).to_bytes(2, "big")
    return b"\x45\0" + total + b"\0\0\x40\0\x40" + bytes((protocol, 0, 0)) + src[12:] + dst[12:]


def fragment(packet: bytes, mtu_bytes: int) -> list[bytes]:
    """Return the pieces of a whole packet, none longer than ``mtu_bytes`` (at least 68), in order.

    The packet may be a piece itself.  Flags are as they were but for "more fragments"; options go into the
    first piece, and those marked so into every one.  Empty for a packet that ends beyond byte 65535 of its
    datagram.  *Source*: RFC 791, section 3.2.
    """
    header_bytes = (packet[0] & 15) << 2
    first, later = packet[:header_bytes], _later_header(packet[:header_bytes])
    payload = packet[header_bytes:]
    place = packet[6] << 8 | packet[7]
    flags, begin = place & ~OFFSET, (place & OFFSET) << 3
    if begin + len(payload) > MOST_BYTES:
        return []
    pieces, at, head = [], 0, first
    while True:
        room = mtu_bytes - len(head)
        is_last = len(payload) - at <= room
        part = payload[at:] if is_last else payload[at : at + (room & ~7)]
        more = flags if is_last else flags | MORE_FRAGMENTS
        pieces.append(_with_place(head, len(part), more | begin + at >> 3) + part)
        if is_last:
            return pieces
        at, head = at + len(part), later


def _later_header(header: bytes) -> bytes:
    """Return the header of later pieces: only options whose copied flag is set, padded to words."""
    kept, at = b"", HEADER_BYTES
    while at < len(header) and header[at] != _END_OF_OPTIONS:
        size = 1 if header[at] == _NO_OPERATION or at + 1 == len(header) else header[at + 1]
        if at + size > len(header) or (size < 2 and header[at] != _NO_OPERATION):
            break  # a length that cannot be: what follows cannot be read
        if header[at] & _COPIED:
            kept += header[at : at + size]
        at += size
    kept += bytes(-len(kept) % 4)
    return bytes((0x40 | HEADER_BYTES + len(kept) >> 2,)) + header[1:HEADER_BYTES] + kept


def _with_place(header: bytes, payload_bytes: int, place: int) -> bytes:
    """Return a header with another length and place, and the checksum that goes with them."""
    length = (len(header) + payload_bytes).to_bytes(2, "big")
    front = header[:2] + length + header[4:6] + place.to_bytes(2, "big") + header[8:10]
    return front + checksum(front + b"\0\0" + header[12:]) + header[12:]
