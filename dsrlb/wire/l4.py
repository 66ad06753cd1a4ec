"""TCP and UDP: ports, flags, and the flow they name.

::

    0        2        4                 12    13    14
    +--------+--------+--------+--------+-----+-----+- - -      TCP (RFC 9293, section 3.1)
    | sport  | dport  | seq    | ack    |off  |flags|
    +--------+--------+--------+--------+-----+-----+- - -
    | sport  | dport  | length | sum    |                       UDP (RFC 768)
    +--------+--------+--------+--------+
"""

from __future__ import annotations

from dsrlb.wire.packet import Packet

TCP, UDP = 6, 17
TCP_HEADER_BYTES, UDP_HEADER_BYTES = 20, 8
TCP_OFFSET_AT, TCP_FLAGS_AT, UDP_LENGTH_AT = 12, 13, 4
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

_TAIL = {TCP: bytes((TCP, 0, 0, 0)), UDP: bytes((UDP, 0, 0, 0))}


def tcp_is_sound(frame: bytes, packet: Packet) -> bool:
    """Return whether a TCP header, with the options it announces, lies whole in the packet."""
    at = packet.l4_at
    if at + TCP_HEADER_BYTES > packet.end:
        return False
    header_bytes = (frame[at + TCP_OFFSET_AT] >> 4) << 2
    return TCP_HEADER_BYTES <= header_bytes <= packet.end - at


def udp_is_sound(frame: bytes, packet: Packet) -> bool:
    """Return whether a UDP header lies whole in the packet and its length is possible."""
    at = packet.l4_at
    if at + UDP_HEADER_BYTES > packet.end:
        return False
    length = frame[at + UDP_LENGTH_AT] << 8 | frame[at + UDP_LENGTH_AT + 1]
    if packet.fragment is not None:
        return length >= UDP_HEADER_BYTES  # the rest of the datagram is in later pieces
    return UDP_HEADER_BYTES <= length <= packet.end - at


def opens(frame: bytes, at: int) -> bool:
    """Return whether the TCP header at an offset asks for a new connection: SYN alone of the four."""
    return frame[at + TCP_FLAGS_AT] & (FIN | SYN | RST | ACK) == SYN


def flow_key(src: bytes, dst: bytes, ports: bytes, protocol: int) -> bytes:
    """Return the 40 bytes that name a flow, all in network order.

    ::

        0               16              32      34      36    37       40
        +---------------+---------------+-------+-------+-----+--------+
        | source (16)   | VIP (16)      | sport | dport |proto| zeros  |
        +---------------+---------------+-------+-------+-----+--------+
    """
    return src + dst + ports + _TAIL[protocol]
