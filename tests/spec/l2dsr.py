"""L2 DSR by someone who has never seen dsrlb: which frames leave the balancer for a backend, and when.

``leaves(frame, mac, services, pieces)`` returns the frames that must leave, as they came in, now that this
one has come: none, the frame, or the pieces of its datagram that waited for it and then the frame.
``services`` holds (VIP, port, protocol), port 0 for any; ``pieces`` starts empty and is its memory: for each
datagram the pieces that wait, or None when its first one has been sent.
"""

from __future__ import annotations

from ipaddress import ip_address
from struct import unpack_from
from typing import NamedTuple

Services = set[tuple[bytes, int, int]]
Pieces = dict[bytes, "list[bytes] | None"]
ERRORS = {1: (3, 11, 12), 58: (1, 2, 3, 4)}


class Ip(NamedTuple):
    src: bytes
    dst: bytes
    protocol: int
    body: bytes
    datagram: bytes | None  # which one this is a piece of
    is_first: bool


def leaves(frame: bytes, mac: bytes, services: Services, pieces: Pieces) -> list[bytes]:
    at = 12
    while at < 20 and frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8", b"\x91\x00"):
        at += 4
    read = {b"\x08\x00": ipv4, b"\x86\xdd": ipv6}.get(frame[at : at + 2])
    packet = read(frame[at + 2 :], strict=True) if read is not None and frame[:6] == mac else None
    vips = {vip for vip, _, _ in services}
    if packet is None or packet.dst not in vips or packet.src in vips or not may_send(packet.src):
        return []
    if packet.datagram is None:
        return [frame] if has_owner(packet, services) else []
    if packet.is_first and not (packet.protocol in (6, 17) and has_owner(packet, services)):
        return []
    waiting = pieces.setdefault(packet.datagram, [])
    if packet.is_first:
        pieces[packet.datagram] = None
    elif waiting is not None:
        waiting.append(frame)
        return []
    return [*(waiting or []), frame]


def has_owner(packet: Ip, services: Services) -> bool:
    """Return whether a packet belongs to a service: by its own port, or an error by the one it quotes."""
    body, size = packet.body, len(packet.body)
    if packet.protocol == 6:
        return size >= 20 and 20 <= body[12] >> 4 << 2 <= size and knows(packet, body[2:4], services)
    if packet.protocol == 17 and size >= 8:
        length = unpack_from("!H", body, 4)[0]
        return 8 <= length <= (65535 if packet.datagram else size) and knows(packet, body[2:4], services)
    is_v6 = len(packet.dst) == 16
    if packet.protocol != (58 if is_v6 else 1) or size < 8 or body[0] not in ERRORS[packet.protocol]:
        return False
    pseudo = packet.src + packet.dst + size.to_bytes(4, "big") + b"\0\0\0\x3a" if is_v6 else b""
    quoted = (ipv6 if is_v6 else ipv4)(body[8:], strict=False)
    if not adds_up(pseudo + body) or quoted is None or not quoted.is_first or len(quoted.body) < 4:
        return False
    return quoted.src == packet.dst and knows(quoted._replace(dst=quoted.src), quoted.body[:2], services)


def knows(packet: Ip, port: bytes, services: Services) -> bool:
    number = int.from_bytes(port, "big")
    return any((packet.dst, known, packet.protocol) in services for known in (number, 0))


def ipv4(packet: bytes, strict: bool) -> Ip | None:
    """Read a packet; a quoted one (not strict) may be cut short and have a stale length and checksum."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[0] & 15 < 5:
        return None
    header, length, ident, place = (packet[0] & 15) * 4, *unpack_from("!HHH", packet, 2)
    if strict and (not header <= length <= len(packet) or not adds_up(packet[:header])):
        return None
    datagram = packet[12:20] + ident.to_bytes(2, "big") + packet[9:10] if place & 0x3FFF else None
    body = packet[header : length if strict else None]
    return Ip(packet[12:16], packet[16:20], packet[9], body, datagram, not place & 0x1FFF)


def ipv6(packet: bytes, strict: bool) -> Ip | None:
    """Read a packet and walk its extension headers, no more than eight of them."""
    length = unpack_from("!H", packet, 4)[0] if len(packet) >= 40 else 0
    if len(packet) < 40 or packet[0] >> 4 != 6 or (strict and length > len(packet) - 40):
        return None
    src, dst, protocol, datagram = packet[8:24], packet[24:40], packet[6], None
    body = packet[40 : 40 + length if strict else None]
    for _ in range(9):
        if protocol not in (0, 43, 44, 60):
            return Ip(src, dst, protocol, body, datagram, True)
        size = 8 if protocol == 44 else (body[1] + 1) * 8 if len(body) >= 8 else 8
        if len(body) < size or (protocol == 43 and body[3]):
            return None
        place = unpack_from("!H", body, 2)[0] if protocol == 44 else 0
        if place & 0xFFF9:
            datagram = src + dst + body[4:8]
        protocol, body = body[0], body[size:]
        if place & 0xFFF8:
            return Ip(src, dst, protocol, body, datagram, False)
    return None


def may_send(src: bytes) -> bool:
    """Return whether an address can be a client's."""
    address = ip_address(src)
    if address.is_multicast or address.is_loopback or address.is_unspecified:
        return False
    return 0 < src[0] < 240 if len(src) == 4 else src[:12] != bytes(10) + b"\xff\xff"


def adds_up(block: bytes) -> bool:
    """Return whether the one's complement sum of a block is all ones."""
    padded = block + b"\0" * (len(block) % 2)
    total: int = sum(unpack_from(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF
