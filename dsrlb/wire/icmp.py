"""ICMP and ICMPv6: echo, errors and the flow they quote, neighbour discovery.

::

    0     1     2           4                 8
    +-----+-----+-----------+-----------------+------------------------------
    |type |code | checksum  | id, seq / MTU   | echo: payload; error: the packet it is about
    +-----+-----+-----------+-----------------+------------------------------
    |135/6| 0   | checksum  | flags           | target (16) | options           NS / NA

*Source*: RFC 792, RFC 1191 section 4, RFC 4443, RFC 4861 sections 4.3 and 4.4.
"""

from __future__ import annotations

from collections.abc import Mapping

from dsrlb.model import V4_MAPPED
from dsrlb.wire import ipv4, ipv6, l4
from dsrlb.wire.checksum import checksum, is_valid, pseudo_header
from dsrlb.wire.ethernet import ALL_NODES_MAC
from dsrlb.wire.packet import Packet

ICMP, ICMPV6 = 1, 58
HEADER_BYTES = 8
ECHO_REQUEST = {ICMP: 8, ICMPV6: 128}
ECHO_REPLY = {ICMP: 0, ICMPV6: 129}
# unreachable, time exceeded, parameter problem / unreachable, too big, time exceeded, parameter problem
ERRORS = {ICMP: frozenset((3, 11, 12)), ICMPV6: frozenset((1, 2, 3, 4))}
UNREACHABLE, FRAGMENTATION_NEEDED = 3, 4  # ICMP type, its code
TOO_BIG = 2  # ICMPv6 type
# Type and code of what the balancer says itself, by IP version.
SAYS_TOO_BIG = {4: b"\x03\x04", 6: b"\x02\0"}
SAYS_TIME_EXCEEDED = {4: b"\x0b\0", 6: b"\x03\0"}
SAYS_PORT_UNREACHABLE = {4: b"\x03\x03", 6: b"\x01\x04"}
ERROR_BYTES = {ICMP: 576, ICMPV6: 1280}  # the longest packet that an error may be: it must get through
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
NEIGHBOUR_MESSAGES = (b"\x87", b"\x88")
ND_BYTES = 24
SOLICITED_OVERRIDE, OVERRIDE = b"\x60\0\0\0", b"\x20\0\0\0"
ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
UNSPECIFIED = bytes(16)


def is_sound(frame: bytes, packet: Packet) -> bool:
    """Return whether the message's checksum adds up (ICMPv6: with its pseudo-header)."""
    message = frame[packet.l4_at : packet.end]
    if packet.protocol == ICMPV6:
        message = pseudo_header(packet.src, packet.dst, len(message), ICMPV6) + message
    return is_valid(message)


def echo_reply(frame: bytes, l3_at: int, packet: Packet) -> bytes:
    """Return the answer to an echo request, sent back the way it came, addresses swapped."""
    body = frame[packet.l4_at + 4 : packet.end]
    kind = bytes((ECHO_REPLY[packet.protocol], 0))
    link = frame[6:12] + frame[0:6] + frame[12:l3_at]
    if packet.protocol == ICMP:
        head = ipv4.header(packet.dst, packet.src, ICMP, len(body) + 4)
        head = head[:10] + checksum(head) + head[12:]
        return link + head + kind + checksum(kind + b"\0\0" + body) + body
    return link + _icmpv6(packet.dst, packet.src, kind, body, hop_limit=64)


def _icmpv6(src: bytes, dst: bytes, kind: bytes, body: bytes, hop_limit: int) -> bytes:
    """Return an IPv6 packet with one ICMPv6 message: type and code, then what follows the checksum."""
    length = len(body) + 4
    total = checksum(pseudo_header(src, dst, length, ICMPV6) + kind + b"\0\0" + body)
    return ipv6.header(src, dst, ICMPV6, length, hop_limit) + kind + total + body


def error_back(link: bytes, packet: bytes, kinds: Mapping[int, bytes], word: int = 0) -> bytes:
    """Return the frame of an error about a whole IP packet, from its destination to its source.

    ``link``: what comes before the IP header.  ``word``: the MTU of a too big.
    *Source*: RFC 792; RFC 1191, section 4; RFC 4443, section 3.
    """
    version, four = packet[0] >> 4, word.to_bytes(4, "big")
    if version == 6:
        return link + error(packet[24:40], packet[8:24], kinds[version], four, packet)
    return link + error(V4_MAPPED + packet[16:20], V4_MAPPED + packet[12:16], kinds[version], four, packet)


def error(src: bytes, dst: bytes, kind: bytes, word: bytes, about: bytes) -> bytes:
    """Return the IP packet of an error: type and code, the four bytes behind the checksum, then the quote.

    Quoted is as much of the packet it is ``about`` as an error may hold.  Addresses are 16 bytes.
    *Source*: RFC 1812, section 4.3.2.3; RFC 4443, section 2.4 (c).
    """
    if not src.startswith(V4_MAPPED):
        quote = about[: ERROR_BYTES[ICMPV6] - ipv6.HEADER_BYTES - HEADER_BYTES]
        return _icmpv6(src, dst, kind, word + quote, hop_limit=64)
    body = word + about[: ERROR_BYTES[ICMP] - ipv4.HEADER_BYTES - HEADER_BYTES]
    head = ipv4.header(src, dst, ICMP, len(body) + 4)
    head = head[:10] + checksum(head) + head[12:]
    return head + kind + checksum(kind + b"\0\0" + body) + body


def quoted_flow(frame: bytes, packet: Packet) -> tuple[bytes, bytes, int] | None:
    """Return (client, ports as the client sends them, protocol) of the packet an error quotes.

    The quoted packet is a server's, from the VIP to the client, so source and destination are
    swapped.  None if it is not from this VIP, not TCP or UDP, cut short, or a later fragment.
    """
    inner = quoted_packet(frame, packet.l4_at + HEADER_BYTES, packet.end, packet.protocol)
    if inner is None or inner[0] != packet.dst:
        return None
    _, client, protocol, ports_at = inner
    if protocol not in (l4.TCP, l4.UDP) or ports_at + 4 > packet.end:
        return None
    return client, frame[ports_at + 2 : ports_at + 4] + frame[ports_at : ports_at + 2], protocol


def quoted_packet(frame: bytes, at: int, end: int, protocol: int) -> tuple[bytes, bytes, int, int] | None:
    """Return (source, destination, protocol, offset behind the headers) of the packet that an error quotes.

    ``protocol``: the error's own.  The quote lies between two offsets and may be cut short.  None: no header,
    or a later piece.
    """
    return (_quoted_ipv4 if protocol == ICMP else _quoted_ipv6)(frame, at, end)


def _quoted_ipv4(frame: bytes, at: int, end: int) -> tuple[bytes, bytes, int, int] | None:
    """Return (source, destination, protocol, offset of the ports); lengths and checksum may be stale."""
    if at + ipv4.HEADER_BYTES > end or frame[at] >> 4 != 4 or frame[at] & 15 < 5:
        return None
    if (frame[at + 6] << 8 | frame[at + 7]) & ipv4.OFFSET:
        return None
    src, dst = V4_MAPPED + frame[at + 12 : at + 16], V4_MAPPED + frame[at + 16 : at + 20]
    return src, dst, frame[at + 9], at + ((frame[at] & 15) << 2)


def _quoted_ipv6(frame: bytes, at: int, end: int) -> tuple[bytes, bytes, int, int] | None:
    """Return (source, destination, protocol, offset of the ports) of a quoted IPv6 packet."""
    if at + ipv6.HEADER_BYTES > end:
        return None
    # The quote is cut to fit: parse it as if it ended where the error does.
    length = (end - at - ipv6.HEADER_BYTES).to_bytes(2, "big")
    quote = frame[at : at + 4] + length + frame[at + 6 : end]
    inner = ipv6.parse(quote, 0)
    if not isinstance(inner, Packet) or (inner.fragment is not None and not inner.fragment.is_first):
        return None
    return inner.src, inner.dst, inner.protocol, at + inner.l4_at


def is_nd(frame: bytes, packet: Packet) -> bool:
    """Return whether an ICMPv6 packet is a neighbour solicitation or advertisement."""
    return packet.fragment is None and frame[packet.l4_at : packet.l4_at + 1] in NEIGHBOUR_MESSAGES


def nd_target(frame: bytes, packet: Packet) -> bytes:
    """Return the target of a neighbour solicitation or advertisement; empty if none that can be a VIP."""
    at = packet.l4_at
    return ipv6.unmapped(frame[at + 8 : at + 24]) if packet.end - at >= ND_BYTES else b""


def nd_is_sound(frame: bytes, l3_at: int, packet: Packet) -> bool:
    """Return whether a neighbour message that has a target is to be heeded: it is from this very link.

    *Source*: RFC 4861, sections 7.1.1 and 7.1.2.
    """
    hop_limit, code = frame[l3_at + 7], frame[packet.l4_at + 1]
    return hop_limit == 255 and not code and is_sound(frame, packet)


def advertisement(frame: bytes, l3_at: int, packet: Packet, mac: bytes) -> bytes:
    """Return the answer to a neighbour solicitation: the target is at this MAC.

    One without a source is another's duplicate address detection: it is answered to all nodes.
    """
    target = frame[packet.l4_at + 8 : packet.l4_at + 24]
    nobody = packet.src == UNSPECIFIED
    to_mac, to = (ALL_NODES_MAC, ALL_NODES) if nobody else (frame[6:12], packet.src)
    flags = OVERRIDE if nobody else SOLICITED_OVERRIDE
    kind = bytes((NEIGHBOUR_ADVERTISEMENT, 0))
    body = flags + target + b"\x02\x01" + mac  # option 2: target link-layer address, 8 bytes
    return to_mac + mac + frame[12:l3_at] + _icmpv6(target, to, kind, body, hop_limit=255)
