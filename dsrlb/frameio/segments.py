"""Frames that a kernel passed on unfinished, made into what would have been on a wire.

A mode that wraps packets cannot pass a vnet header on: its checksum would begin elsewhere, and the
hardware would cut the outer packet.  So the checksum is finished here, and a frame that stands for many
segments is cut::

    +------+----+-----+------------------------------------+
    | link | IP | TCP | payload of n segments              |      gso_size = payload of a segment
    +------+----+-----+------------------------------------+
    +------+----+-----+-----------+  +------+----+-----+-----------+
    | link | IP | TCP | segment 0 |  | link | IP | TCP | segment 1 |  ...
    +------+----+-----+-----------+  +------+----+-----+-----------+

    IPv4   length; identification + segment number; checksum          IPv6   length
    TCP    sequence + bytes before; CWR in the first only; FIN and PSH in the last only; checksum
    UDP    length; checksum

UDP that is to be cut as one datagram in pieces (``GSO_UDP``) is finished and left whole: whoever forwards it
cuts it like any packet that is too long.

*Source*: linux/virtio_net.h; net/ipv4/tcp_offload.c (tcp_gso_segment), udp_offload.c (__udp_gso_segment);
RFC 3168, section 6.1.2, for CWR.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsrlb.frameio.vnet import GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, NO_VNET, VNET, Frame
from dsrlb.wire import ipv4, ipv6, l4
from dsrlb.wire.checksum import WORD_MAX, checksum, pseudo_header
from dsrlb.wire.destination import destination
from dsrlb.wire.ethernet import ETHERTYPE_IPV6, skip_tags
from dsrlb.wire.packet import Packet

_CWR, _LAST_ONLY = 0x80, l4.FIN | 0x08  # PSH
_SEQUENCE_AT, _TCP_SUM_AT, _UDP_SUM_AT = 4, 16, 6


def completed(frames: Iterable[Frame], vips: frozenset[bytes]) -> Iterator[Frame]:
    """Yield the frames, those to one of these VIPs (16 bytes each) finished and cut."""
    for vnet, frame in frames:
        if vnet == NO_VNET or destination(frame) not in vips:
            yield vnet, frame
        else:
            for each in finished(vnet, frame):
                yield NO_VNET, each


def finished(vnet: bytes, frame: bytes) -> list[bytes]:
    """Return the complete frames that a frame with a vnet header stands for, in order.

    A frame that contradicts its vnet header comes back as it was: the data path tells what is wrong with it.
    """
    flags, gso_type, _, segment_bytes, start, offset = VNET.unpack(vnet)
    kind, at = skip_tags(frame)
    packet = (ipv6 if kind == ETHERTYPE_IPV6 else ipv4).parse(frame, at)
    if not isinstance(packet, Packet):
        return [frame]
    kind_of_gso = gso_type & ~GSO_ECN
    if kind_of_gso in (GSO_TCPV4, GSO_TCPV6) and segment_bytes and l4.tcp_is_sound(frame, packet):
        return list(_tcp_segments(frame, at, packet, segment_bytes))
    if kind_of_gso == GSO_UDP_L4 and segment_bytes and l4.udp_is_sound(frame, packet):
        return list(_datagrams(frame, at, packet, segment_bytes, bool(flags & NEEDS_CSUM)))
    return [_checked(frame, packet, start, start + offset)] if flags & NEEDS_CSUM else [frame]


def _checked(frame: bytes, packet: Packet, start: int, sum_at: int) -> bytes:
    """Return the frame with its checksum finished: so far it holds the sum of the pseudo-header."""
    if not packet.l4_at <= start < sum_at <= packet.end - 2:
        return frame
    block = frame[start : packet.end]
    total = checksum(block)
    if packet.protocol == l4.UDP and total == b"\0\0":
        total = b"\xff\xff"  # 0 would say that there is none
    return frame[:sum_at] + total + frame[sum_at + 2 :]


def _tcp_segments(frame: bytes, at: int, packet: Packet, segment_bytes: int) -> Iterator[bytes]:
    header_bytes = frame[packet.l4_at + l4.TCP_OFFSET_AT] >> 4 << 2
    head = bytearray(frame[packet.l4_at : packet.l4_at + header_bytes])
    sequence = int.from_bytes(head[_SEQUENCE_AT : _SEQUENCE_AT + 4], "big")
    flags = head[l4.TCP_FLAGS_AT]
    head[_TCP_SUM_AT : _TCP_SUM_AT + 2] = b"\0\0"
    first, end = packet.l4_at + header_bytes, packet.end
    for number, begin in enumerate(range(first, max(end, first + 1), segment_bytes)):
        payload = frame[begin : min(begin + segment_bytes, end)]
        shown = flags if begin + segment_bytes >= end else flags & ~_LAST_ONLY
        head[l4.TCP_FLAGS_AT] = shown & ~_CWR if number else shown
        head[_SEQUENCE_AT : _SEQUENCE_AT + 4] = (sequence + begin - first & 0xFFFF_FFFF).to_bytes(4, "big")
        yield _segment(frame, at, packet, number, bytes(head), payload, _TCP_SUM_AT)


def _datagrams(
    frame: bytes, at: int, packet: Packet, segment_bytes: int, is_partial: bool
) -> Iterator[bytes]:
    first = packet.l4_at + l4.UDP_HEADER_BYTES
    ports, total = frame[packet.l4_at : packet.l4_at + 4], frame[first - 2 : first]
    sum_at = _UDP_SUM_AT if is_partial or total != b"\0\0" else None
    for number, begin in enumerate(range(first, max(packet.end, first + 1), segment_bytes)):
        payload = frame[begin : min(begin + segment_bytes, packet.end)]
        head = ports + (l4.UDP_HEADER_BYTES + len(payload)).to_bytes(2, "big") + b"\0\0"
        yield _segment(frame, at, packet, number, head, payload, sum_at)


def _segment(
    frame: bytes, at: int, packet: Packet, number: int, head: bytes, payload: bytes, sum_at: int | None
) -> bytes:
    """Return the frame of one segment: a copy of link and IP header, then this head and payload."""
    body = head + payload
    if sum_at is not None:
        # For mapped IPv4 addresses too: what they have more than IPv4's own pseudo-header adds up to nothing.
        pseudo = pseudo_header(packet.src, packet.dst, len(body), packet.protocol)
        total = checksum(pseudo + body)
        if packet.protocol == l4.UDP and total == b"\0\0":
            total = b"\xff\xff"
        body = body[:sum_at] + total + body[sum_at + 2 :]
    return frame[:at] + _ip_header(frame[at : packet.l4_at], number, len(body)) + body


def _ip_header(header: bytes, number: int, payload_bytes: int) -> bytes:
    """Return an IP header, extension headers included, for the n-th segment of this size."""
    if header[0] >> 4 == 6:
        length = len(header) - ipv6.HEADER_BYTES + payload_bytes
        return header[:4] + length.to_bytes(2, "big") + header[6:]
    ident = (header[4] << 8 | header[5]) + number & WORD_MAX
    front = header[:2] + (len(header) + payload_bytes).to_bytes(2, "big") + ident.to_bytes(2, "big")
    front += header[6:10]
    return front + checksum(front + b"\0\0" + header[12:]) + header[12:]
