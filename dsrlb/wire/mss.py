"""The greatest segment that a TCP header announces.

::

    TCP   0                          20
          +- - - - - - - - - - - - - +----+----+-----+-----+----+----+----+-----+- -
          | header without options   | 1  | 2  | 4   | MSS      | 3  | 3  | ... |        in a SYN
          +- - - - - - - - - - - - - +----+----+-----+-----+----+----+----+-----+- -
                                      NOP  kind len              kind len

*Source*: RFC 9293, section 3.2 (options) and 3.7.1 (MSS); RFC 1624, section 3 (checksum).
"""

from __future__ import annotations

from dsrlb.wire.checksum import WORD_MAX
from dsrlb.wire.l4 import TCP_HEADER_BYTES, TCP_OFFSET_AT

_END, _NO_OPERATION, _MSS, _MSS_BYTES = 0, 1, 2, 4
_SUM_AT = 16


def clamped(packet: bytes, at: int, most: int) -> bytes:
    """Return a packet whose TCP header, whole and at this offset, announces no MSS above ``most``."""
    place = _mss_at(packet, at + TCP_HEADER_BYTES, at + (packet[at + TCP_OFFSET_AT] >> 4 << 2))
    if place is None or (packet[place] << 8 | packet[place + 1]) <= most:
        return packet
    old, new = packet[place : place + 2], most.to_bytes(2, "big")
    if (place - at) % 2:  # astride two words of the checksum
        shrunk = int.from_bytes(old, "little") - int.from_bytes(new, "little")
    else:
        shrunk = int.from_bytes(old, "big") - most
    sum_at = at + _SUM_AT
    total = (int.from_bytes(packet[sum_at : sum_at + 2], "big") + shrunk) % WORD_MAX
    head = packet[:sum_at] + total.to_bytes(2, "big") + packet[sum_at + 2 : place]
    return head + new + packet[place + 2 :]


def announced(packet: bytes, at: int) -> int | None:
    """Return the MSS that a TCP header at this offset announces; None if it is silent, or not whole."""
    if len(packet) < at + TCP_HEADER_BYTES:
        return None
    end = at + (packet[at + TCP_OFFSET_AT] >> 4 << 2)
    if len(packet) < end:
        return None
    place = _mss_at(packet, at + TCP_HEADER_BYTES, end)
    return None if place is None else packet[place] << 8 | packet[place + 1]


def _mss_at(packet: bytes, at: int, end: int) -> int | None:
    """Return where the MSS stands among the options, None if there is none."""
    while at + _MSS_BYTES <= end and packet[at] != _END:
        if packet[at] == _NO_OPERATION:
            at += 1
            continue
        size = packet[at + 1]
        if packet[at] == _MSS:
            return at + 2 if size == _MSS_BYTES else None
        if size < 2:
            return None
        at += size
    return None
