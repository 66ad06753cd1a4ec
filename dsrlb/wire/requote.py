"""An ICMP error from and to others, about a packet that is from and to others: NAT of errors.

::

    0      14       34       42           62       70
    +------+--------+--------+------------+--------+- - -
    | link | IP     | ICMP   | IP         | ports, | as much as the router quoted
    |      |        | error  | quoted     | sum    |
    +------+--------+--------+------------+--------+- - -
             c        sum      c            c

Outside the addresses change and the TTL; inside, addresses, ports, and the checksums that cover them, if
they were quoted at all: an IPv4 router need not quote more than the ports.  Whoever gets the error
compares what it quotes with what was sent.  The sum of the error itself is computed anew; it was checked.

*Source*: RFC 3022, section 4.3; RFC 5508, section 4.2; RFC 792; RFC 4443.
"""

from __future__ import annotations

from typing import NamedTuple

from dsrlb.model import V4_MAPPED
from dsrlb.wire import icmp, ipv4, ipv6, l4
from dsrlb.wire.checksum import checksum, pseudo_header
from dsrlb.wire.packet import Packet
from dsrlb.wire.readdress import CHECKSUM_AT, Ends, adjust, adjust_l4, number, readdressed


class Quote(NamedTuple):
    """The packet that an error quotes: where it begins, what it says, and where its ports are."""

    at: int
    l4_at: int
    protocol: int
    ends: Ends


def quote_of(frame: bytes, packet: Packet) -> Quote | None:
    """Return the TCP or UDP packet that an ICMP error quotes; None if there is none, or too little of it."""
    at = packet.l4_at + icmp.HEADER_BYTES
    found = icmp.quoted_packet(frame, at, packet.end, packet.protocol)
    if found is None:
        return None
    src, dst, protocol, l4_at = found
    is_v4 = packet.protocol == icmp.ICMP
    if protocol not in CHECKSUM_AT or l4_at + 4 > packet.end or src.startswith(V4_MAPPED) != is_v4:
        return None
    return Quote(at, l4_at, protocol, Ends(src, dst, frame[l4_at : l4_at + 4]))


def requoted(
    frame: bytes, l3_at: int, packet: Packet, quote: Quote, link: bytes, outer: Ends, inner: Ends
) -> bytes:
    """Return the frame of an error, one hop further, ``outer`` its own ends and ``inner`` the quote's."""
    end = packet.end - l3_at + len(link)
    out = bytearray(readdressed(frame, l3_at, packet, link, outer._replace(ports=b""))[:end])
    shift = len(link) - l3_at
    at, l4_at = quote.at + shift, quote.l4_at + shift
    moved = number(quote.ends.src) + number(quote.ends.dst) - number(inner.src) - number(inner.dst)
    if packet.protocol == icmp.ICMP:
        adjust(out, at + ipv4.CHECKSUM_AT, moved)
        out[at + 12 : at + ipv4.HEADER_BYTES] = inner.src[12:] + inner.dst[12:]
    else:
        out[at + 8 : at + ipv6.HEADER_BYTES] = inner.src + inner.dst
    out[l4_at : l4_at + 4] = inner.ports
    if l4_at + CHECKSUM_AT[quote.protocol] + 2 <= end:
        adjust_l4(out, l4_at, quote.protocol, moved + number(quote.ends.ports) - number(inner.ports))
    _finish(out, packet.l4_at + shift, outer, packet.protocol)
    return bytes(out)


def _finish(out: bytearray, at: int, outer: Ends, protocol: int) -> None:
    """Write the checksum of the ICMP message that begins at an offset and ends with the frame."""
    out[at + 2 : at + 4] = b"\0\0"
    message = bytes(out[at:])
    if protocol == icmp.ICMPV6:
        message = pseudo_header(outer.src, outer.dst, len(message), icmp.ICMPV6) + message
    out[at + 2 : at + 4] = checksum(message)


def reply_key_of(quote: Quote) -> bytes:
    """Return the name under which the quoted packet's answer would come: source and destination swapped."""
    ends = quote.ends
    return l4.flow_key(ends.dst, ends.src, ends.ports[2:] + ends.ports[:2], quote.protocol)
