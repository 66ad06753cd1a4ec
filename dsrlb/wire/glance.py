"""What a person calls a frame by: who sends it, to whom, what it is.

Read at the places where it stands in sound frames, whatever else may be wrong with this one, or cut off.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from dsrlb.model import V4_MAPPED
from dsrlb.wire import arp, icmp, ipv4, ipv6
from dsrlb.wire.ethernet import ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, skip_tags
from dsrlb.wire.l4 import TCP, TCP_FLAGS_AT, UDP

_NAMES = {TCP: "tcp", UDP: "udp", icmp.ICMP: "icmp", icmp.ICMPV6: "icmpv6"}
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")  # RFC 9293, section 3.1; from the lowest bit on
_SAYS = {  # RFC 792, RFC 4443, RFC 4861
    icmp.ICMP: {
        0: "echo reply",
        3: "destination unreachable",
        5: "redirect",
        8: "echo request",
        11: "time exceeded",
        12: "parameter problem",
    },
    icmp.ICMPV6: {
        1: "destination unreachable",
        2: "packet too big",
        3: "time exceeded",
        4: "parameter problem",
        128: "echo request",
        129: "echo reply",
        135: "neighbour solicitation",
        136: "neighbour advertisement",
    },
}


class Glance(NamedTuple):
    """What was seen of a frame."""

    kind: str = ""  # tcp, udp, icmp, icmpv6, arp; "protocol 47", "ethertype 0x88cc"
    src: bytes = b""  # 16 bytes; empty: it has none
    dst: bytes = b""
    protocol: int = 0
    ports: bytes = b""  # source, destination; empty: it has none
    says: str = ""  # TCP's flags, what an ICMP message is, what is asked by ARP, that it is a later piece


def glance(frame: bytes) -> Glance:
    """Return what is seen of a frame."""
    kind, at = skip_tags(frame)
    if kind == ETHERTYPE_ARP:
        return _arp(frame, at)
    if kind == ETHERTYPE_IPV4 and len(frame) >= at + ipv4.HEADER_BYTES:
        place = int.from_bytes(frame[at + ipv4.FLAGS_AT : at + 8], "big") & ipv4.OFFSET
        ends = V4_MAPPED + frame[at + 12 : at + 16], V4_MAPPED + frame[at + 16 : at + 20]
        return _packet(frame, *ends, frame[at + 9], at + (frame[at] & 15) * 4, is_later=bool(place))
    if kind == ETHERTYPE_IPV6 and len(frame) >= at + ipv6.HEADER_BYTES:
        protocol, l4_at, is_later = _behind_extensions(frame, frame[at + 6], at + ipv6.HEADER_BYTES)
        return _packet(
            frame, frame[at + 8 : at + 24], frame[at + 24 : at + 40], protocol, l4_at, is_later=is_later
        )
    return Glance(f"ethertype 0x{kind.hex()}" if kind else "a cut frame")


def _arp(frame: bytes, at: int) -> Glance:
    asked = arp.parse(frame, at)
    if asked is None:
        return Glance("arp")
    says = {arp.REQUEST: "who has", arp.REPLY: "is at"}.get(asked.operation, "")
    return Glance("arp", V4_MAPPED + asked.sender_ip, V4_MAPPED + asked.target_ip, says=says)


def _behind_extensions(frame: bytes, protocol: int, at: int) -> tuple[int, int, bool]:
    """Return protocol, place of its header, and whether this is a later piece."""
    for _ in range(ipv6.MAX_EXTENSIONS):
        if protocol not in ipv6.EXTENSIONS or len(frame) < at + 8:
            break
        following, length, place = struct.unpack_from(">BBH", frame, at)
        if protocol == ipv6.FRAGMENT and place >> 3:
            return following, at + 8, True
        at += 8 if protocol == ipv6.FRAGMENT else 8 + 8 * length
        protocol = following
    return protocol, at, False


def _packet(frame: bytes, src: bytes, dst: bytes, protocol: int, at: int, *, is_later: bool) -> Glance:
    seen = Glance(_NAMES.get(protocol, f"protocol {protocol}"), src, dst, protocol)
    if is_later:
        return seen._replace(says="later piece")
    if protocol in _SAYS and len(frame) > at:
        return seen._replace(says=_SAYS[protocol].get(frame[at], f"type {frame[at]}"))
    if protocol not in (TCP, UDP) or len(frame) < at + 4:
        return seen
    says = _flags(frame[at + TCP_FLAGS_AT]) if protocol == TCP and len(frame) > at + TCP_FLAGS_AT else ""
    return seen._replace(ports=frame[at : at + 4], says=says)


def _flags(bits: int) -> str:
    return " ".join(name for place, name in enumerate(_FLAGS) if bits >> place & 1)
