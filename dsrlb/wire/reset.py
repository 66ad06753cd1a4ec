"""The answer to a SYN that there is no connection for.

::

    0        2        4                 8                 12  13    14       16       18       20
    +--------+--------+-----------------+-----------------+---+-----+--------+--------+--------+
    | sport  | dport  | seq 0           | ack: seq + 1    |50 |14   | 0      | sum    | 0      |
    +--------+--------+-----------------+-----------------+---+-----+--------+--------+--------+
                                                               RST ACK

*Source*: RFC 9293, section 3.10.7.1 (a segment that arrives for a connection that is closed).
"""

from __future__ import annotations

from dsrlb.model import V4_MAPPED
from dsrlb.wire import ipv4, ipv6, l4
from dsrlb.wire.checksum import checksum, pseudo_header
from dsrlb.wire.packet import Packet


def reset(link: bytes, frame: bytes, packet: Packet) -> bytes:
    """Return the frame that refuses a TCP packet which has SYN and not ACK; ``link`` comes before IP."""
    src, dst, _, at, end, _ = packet
    load_bytes = end - at - (frame[at + l4.TCP_OFFSET_AT] >> 4 << 2)
    ack = int.from_bytes(frame[at + 4 : at + 8], "big") + 1 + load_bytes & 0xFFFF_FFFF
    front = frame[at + 2 : at + 4] + frame[at : at + 2] + bytes(4) + ack.to_bytes(4, "big")
    front += bytes((0x50, l4.RST | l4.ACK, 0, 0))
    total = checksum(pseudo_header(dst, src, l4.TCP_HEADER_BYTES, l4.TCP) + front + bytes(4))
    segment = front + total + bytes(2)
    if src.startswith(V4_MAPPED):
        head = ipv4.header(dst, src, l4.TCP, l4.TCP_HEADER_BYTES)
        return link + head[:10] + checksum(head) + head[12:] + segment
    return link + ipv6.header(dst, src, l4.TCP, l4.TCP_HEADER_BYTES) + segment
