"""Frames by the hundred thousand: built field by field, since scapy takes a millisecond for each.

What they are held to is the two data paths' agreement, so a field may have any value at all; a test holds the
ordinary ones to scapy's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import ip_address

import packets as p

TCP, UDP, ICMP, ICMPV6, HOP_BY_HOP, FRAGMENT, DESTINATION = 6, 17, 1, 58, 0, 44, 60
ROUTER, BALANCER = p.mac_bytes(p.ROUTER_MAC), p.mac_bytes(p.BALANCER_MAC)
_PAD_OPTION = bytes((1, 4, 0, 0, 0, 0))  # an IPv6 option of six bytes that says nothing


@dataclass(frozen=True)
class Link:
    """What stands before the IP packet."""

    dst: bytes = BALANCER
    src: bytes = ROUTER
    tags: tuple[int, ...] = ()


@dataclass(frozen=True)
class Ip:
    """An IP header; addresses are of 4 or 16 bytes."""

    src: bytes
    dst: bytes
    protocol: int
    ttl: int = 64
    tos: int = 0
    ident: int = 0
    df: bool = False
    options: bytes = b""  # IPv4: as they stand; IPv6: extension headers, the first one's kind is ``chain``
    chain: int = 0


def packed(address: str) -> bytes:
    """Return the bytes of an address."""
    return ip_address(address).packed


def ones_sum(data: bytes) -> int:
    """Return the one's complement sum of 16-bit words."""
    return int.from_bytes(data + bytes(len(data) & 1), "big") % 0xFFFF


def summed(data: bytes, at: int, more: bytes = b"") -> bytes:
    """Return data with the checksum over it (and what is not sent with it) put in its place."""
    total = 0xFFFF - ones_sum(more + data)
    return data[:at] + total.to_bytes(2, "big") + data[at + 2 :]


def link(head: Link, version: int) -> bytes:
    """Return the bytes of a link header; the outer one of two tags is 802.1ad."""
    kinds = [0x88A8] * (len(head.tags) - 1) + [0x8100] * bool(head.tags)
    tags = b"".join(struct.pack(">HH", *one) for one in zip(kinds, head.tags, strict=True))
    return head.dst + head.src + tags + (b"\x08\x00" if version == 4 else b"\x86\xdd")


def packet(head: Ip, segment: bytes, place: int = 0) -> bytes:
    """Return an IP packet; ``place``: of a piece, offset in bytes, with 1 added when more follow."""
    if len(head.src) == 16:
        chain, kind = head.options, head.chain if head.options else head.protocol
        if place:
            after = struct.pack(">BBHI", kind, 0, place, head.ident)
            chain, kind = after + chain, FRAGMENT
        first = 6 << 28 | head.tos << 20
        return struct.pack(">IHBB", first, len(chain) + len(segment), kind, head.ttl) + (
            head.src + head.dst + chain + segment
        )
    words = 5 + len(head.options) // 4
    where = place >> 3 | (0x2000 if place & 1 else 0) | (0x4000 if head.df else 0)
    fixed = struct.pack(
        ">BBHHHBBH", 0x40 | words, head.tos, words * 4 + len(segment), head.ident, where,
        head.ttl, head.protocol, 0,
    )  # fmt: skip
    return summed(fixed + head.src + head.dst + head.options, 10) + segment


def pseudo(head: Ip, size: int) -> bytes:
    """Return what a transport checksum covers beside the segment."""
    return head.src + head.dst + struct.pack(">IHH", size, 0, head.protocol)


def segment(head: Ip, sport: int, dport: int, flags: int | None, load: bytes, options: bytes = b"") -> bytes:
    """Return a TCP segment, or a UDP datagram (flags None)."""
    if flags is None:
        size = 8 + len(load)
        return summed(struct.pack(">HHHH", sport, dport, size, 0) + load, 6, pseudo(head, size))
    words = 5 + len(options) // 4
    fixed = struct.pack(">HHIIBBHHH", sport, dport, 1, 1, words << 4, flags, 8192, 0, 0)
    whole = fixed + options + load
    return summed(whole, 16, pseudo(head, len(whole)))


def message(head: Ip, kind: int, code: int, word: int, rest: bytes) -> bytes:
    """Return an ICMP message of the family of its IP header."""
    whole = struct.pack(">BBHI", kind, code, 0, word) + rest
    return summed(whole, 2, pseudo(head, len(whole)) if head.protocol == ICMPV6 else b"")


def cut(head: Ip, payload: bytes, size: int) -> list[bytes]:
    """Return an IP packet in pieces of ``size`` bytes of payload each, a multiple of 8."""
    whole = replace(head, df=False)
    starts = range(0, len(payload), size)
    return [packet(whole, payload[at : at + size], at | (at + size < len(payload))) for at in starts]


def extended(head: Ip, kinds: tuple[int, ...]) -> Ip:
    """Return an IPv6 header with extension headers behind it, each of eight bytes."""
    chain = b""
    for kind in (*kinds[1:], head.protocol):
        chain += bytes((kind, 0)) + _PAD_OPTION
    return replace(head, options=chain, chain=kinds[0])
