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
from dsrlb.wire.checksum import WORD_MAX
from dsrlb.wire.packet import Fragment, Parsed, as_packet

HEADER_BYTES = 20
NO_OPTIONS = 0x45
MORE_FRAGMENTS_AND_OFFSET = 0x3FFF
OFFSET = 0x1FFF

_TRUNCATED, _MALFORMED = Reason.TRUNCATED, Reason.MALFORMED


def parse(frame: bytes, at: int) -> Parsed:
    """Return the IPv4 packet at an offset, or the Reason why there is none.

    The header checksum is checked: it is never left to the hardware, so a wrong one is damage.
    """
    size = len(frame)
    if size < at + HEADER_BYTES:
        return _TRUNCATED
    first = frame[at]
    l4_at = at + ((first & 15) << 2)
    if first != NO_OPTIONS and (first >> 4 != 4 or first & 15 < 5):
        return _MALFORMED
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
