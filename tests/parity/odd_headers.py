"""Packets whose headers are as odd as headers can be: every length, every chain, every kind of address.

Most of them are to a VIP and made to be read as far as they can, so that each check is the one that decides.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import pairwise
from random import Random

import packets as p
from parity import frames as f
from parity.frames import Ip, Link

EXTENSIONS = 0, 43, 44, 44, 60
PROTOCOLS = 6, 17, 1, 58, 50, 59
PLACES = 0, 0, 0, 6, 1, 8, 9, 0xFFF8  # of an IPv6 fragment header: offset, reserved bits, more
TAGS: list[tuple[int, ...]] = [(), (), (), (5,), (5, 6)] * 4 + [(5, 6, 7)]
SOURCES = {
    4: [p.CLIENT] * 4 + ["0.1.2.3", "127.0.0.1", "224.1.2.3", "255.255.255.255", p.VIP, p.STRANGER],
    6: [p.CLIENT6] * 4 + ["::", "::1", "::2", "ff02::5", f"::ffff:{p.CLIENT}", p.VIP6],
}
DESTINATIONS = {
    4: [p.VIP] * 5 + ["0.0.0.0", p.OTHER_VIP, p.CLIENT],
    6: [p.VIP6] * 5 + ["::", f"::ffff:{p.VIP}", p.CLIENT6],
}
LOADS = 0, 1, 3, 8, 24, 40
MORE = 0, 0, 0, 0, -9, -3, 5, 7  # what a length field says beside the truth
BALANCER, STRANGER = p.mac_bytes(p.BALANCER_MAC), p.mac_bytes(p.STRANGER_MAC)


def odd_frame(rng: Random) -> bytes:
    """Return a frame of one of the kinds below, perhaps tagged, padded, or to another."""
    made = rng.choice((_ipv4, _ipv6, _ipv6, _arp, _echo, _echo, _neighbour))(rng)
    if rng.random() < 0.1:
        made = rng.choice((BALANCER, STRANGER)) + made[6:]
    if rng.random() < 0.1:
        at = rng.randrange(len(made))
        made = made[:at] + bytes((made[at] ^ 1 << rng.randrange(8),)) + made[at + 1 :]
    return made + bytes(rng.choice((0, 0, 0, 4, 18)))


def _link(rng: Random, version: int) -> bytes:
    return f.link(Link(tags=rng.choice(TAGS)), version)


def _head(rng: Random, version: int, protocol: int) -> Ip:
    src, dst = f.packed(rng.choice(SOURCES[version])), f.packed(rng.choice(DESTINATIONS[version]))
    return Ip(src, dst, protocol, ttl=rng.choice((64, 255)), ident=rng.getrandbits(16))


def _longer(rng: Random, packet: bytes, at: int) -> bytes:
    """Return a packet whose length field, at an offset, may be wrong."""
    length = max(0, int.from_bytes(packet[at : at + 2], "big") + rng.choice(MORE))
    return packet[:at] + length.to_bytes(2, "big") + packet[at + 2 :]


def _ipv4(rng: Random) -> bytes:
    """IPv4 with options of any length, cut or not; header lengths that cannot be."""
    head = replace(_head(rng, 4, rng.choice(PROTOCOLS)), options=rng.randbytes(4 * rng.randrange(11)))
    packet = f.packet(head, rng.randbytes(rng.choice(LOADS)), rng.choice((0, 0, 0, 1, 8, 9, 0xFFF8)))
    packet = _longer(rng, packet, 2)
    if rng.random() < 0.1:
        packet = bytes((rng.randrange(256),)) + packet[1:]
    header_bytes = max(20, (packet[0] & 15) << 2)
    if rng.random() < 0.9:
        packet = f.summed(packet[:10] + bytes(2) + packet[12:header_bytes], 10) + packet[header_bytes:]
    return _link(rng, 4) + packet


def _ipv6(rng: Random) -> bytes:
    """IPv6 with a chain of extension headers of every kind, and ten at most."""
    head = _head(rng, 6, rng.choice(PROTOCOLS))
    kinds = [rng.choice(EXTENSIONS) for _ in range(rng.randrange(11))] + [head.protocol]
    chain = b"".join(_extension(rng, kind, after) for kind, after in pairwise(kinds))
    load = rng.choice((b"", b"\x80", b"\x87", b"\x88")) + rng.randbytes(rng.choice(LOADS))
    fixed = struct.pack(">IHBB", 6 << 28, len(chain) + len(load), kinds[0], head.ttl)
    return _link(rng, 6) + _longer(rng, fixed + head.src + head.dst + chain + load, 4)


def _extension(rng: Random, kind: int, after: int) -> bytes:
    if kind == f.FRAGMENT:
        place = rng.choice(PLACES)
        return struct.pack(">BBHI", after, rng.choice((0, 9)), place, rng.choice((7, 8, 0x1234567)))
    words = rng.choice((0, 0, 1, 2))
    left = rng.choice((0, 0, 0, 2)) if kind == 43 else 1
    return bytes((after, words, 0, left)) + bytes(4 + 8 * words)


def _arp(rng: Random) -> bytes:
    """ARP of all kinds, to all and to us."""
    dst = rng.choice((p.BROADCAST_MAC, p.BROADCAST_MAC, p.BALANCER_MAC, p.STRANGER_MAC))
    mac = rng.choice((p.ROUTER_MAC, p.ROUTER_MAC, p.BALANCER_MAC))
    target, src = rng.choice((p.VIP, p.VIP, p.CLIENT)), rng.choice((p.ROUTER, p.ROUTER, p.VIP))
    made = p.mac_bytes(dst) + p.mac_bytes(mac) + _link(rng, 4)[12:-2] + b"\x08\x06\0\1\x08\0\6\4\0"
    made += bytes((rng.choice((1, 1, 1, 2)),)) + p.mac_bytes(mac) + f.packed(src)
    return made + bytes(6) + f.packed(target)


def _echo(rng: Random) -> bytes:
    """Echo requests of any length, also of zeros, behind options and extension headers."""
    version = rng.choice((4, 6))
    head = _head(rng, version, f.ICMP if version == 4 else f.ICMPV6)
    if version == 4:
        head = replace(head, options=bytes((1,)) * (4 * rng.choice((0, 0, 1, 10))))
    load = rng.choice((bytes, rng.randbytes))(rng.choice((0, 1, 50, 127, 511, 1400, 2049, 3000)))
    message = f.message(
        head, 8 if version == 4 else 128, rng.choice((0, 0, 3)), rng.choice((0, 0x70001)), load
    )
    if version == 6 and rng.random() < 0.3:
        head = f.extended(head, (rng.choice((0, 60, 44)),) * rng.randrange(1, 4))
    return _link(rng, version) + f.packet(head, message)


def _neighbour(rng: Random) -> bytes:
    """Neighbour messages, with a source link-layer address or not, from everywhere."""
    head = replace(_head(rng, 6, f.ICMPV6), ttl=rng.choice((255, 255, 255, 64)))
    target = f.packed(rng.choice((p.VIP6, p.VIP6, p.VIP6, p.CLIENT6, f"::ffff:{p.VIP}")))
    option = rng.choice((b"", b"\1\1" + f.ROUTER, b"\1\1" + f.ROUTER + b"\x0e\1" + bytes(6)))
    kind, code = rng.choice((135, 135, 135, 136)), rng.choice((0, 0, 0, 1))
    message = f.message(head, kind, code, 0, target + option)
    if rng.random() < 0.2:
        head = f.extended(head, (rng.choice((0, 60)),) * rng.randrange(1, 3))
    return _link(rng, 6) + f.packet(head, message)
