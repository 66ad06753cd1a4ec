"""NAT by someone who has never seen dsrlb: which IP packet leaves for which, and what is remembered.

A *name* is (source, its port, destination, its port, protocol).  ``Nat`` knows for each flow the name that
its client's packets have and the one that its server's have.  Whom it picks is not stated here: for a
new flow the packet that was sent is shown to it, and it says whether that choice was allowed.
"""

from __future__ import annotations

from struct import pack, unpack_from
from typing import NamedTuple

Address = bytes  # 4 or 16
Name = tuple[Address, int, Address, int, int]
Services = dict[tuple[Address, int, int], list[tuple[Address, int]]]  # VIP, port, protocol: servers, ports


class Packet(NamedTuple):
    """A whole IP packet without extension headers: its header, transport header and payload, its name."""

    head: bytes
    body: bytes
    name: Name


class Nat:
    """A NAT before some servers; with a source, that stands in for clients."""

    def __init__(self, services: Services, source: Address | None) -> None:
        self.services, self.source = services, source
        self.seen_as: dict[Name, Name] = {}  # a client's name of a flow: what its server answers
        self.asked_as: dict[Name, Name] = {}  # what a server answers: its client's name of the flow

    def leaves(self, raw: bytes, sent: bytes) -> bytes:
        """Return the packet that must leave now that this one has come; empty: none."""
        packet, choice = read(raw), read(sent)
        if packet is None or ttl(packet) < 2:
            return b""
        if packet.name in self.asked_as:
            return rewritten(packet, turned(self.asked_as[packet.name]))
        servers = self.services.get(packet.name[2:])
        if servers is None:
            return b""
        if packet.name not in self.seen_as and choice is not None:
            assert choice.name[2:4] in servers
            answer = turned(choice.name)
            assert answer not in self.asked_as  # no two flows of one name
            assert choice.name[0] == self.source or (self.source is None and choice.name[0] == packet.name[0])
            assert choice.name[1] >= 1024 or choice.name[1] == packet.name[1]
            self.seen_as[packet.name], self.asked_as[answer] = answer, packet.name
        return rewritten(packet, turned(self.seen_as[packet.name])) if packet.name in self.seen_as else b""


def turned(name: Name) -> Name:
    """Return the name of the answer."""
    return name[2], name[3], name[0], name[1], name[4]


def read(raw: bytes) -> Packet | None:
    """Return a packet of TCP or UDP; None for any other."""
    size = 40 if raw[:1] >= b"\x60" else (raw[0] & 15) * 4 if raw else 0
    protocol = raw[6 if size == 40 and raw[0] >> 4 == 6 else 9] if raw else 0
    if protocol not in (6, 17):
        return None
    head, body = raw[:size], raw[size:]
    ends = (head[8:24], head[24:40]) if head[0] >> 4 == 6 else (head[12:16], head[16:20])
    sport, dport = unpack_from("!HH", body)
    return Packet(head, body, (ends[0], sport, ends[1], dport, protocol))


def ttl(packet: Packet) -> int:
    return packet.head[7 if packet.head[0] >> 4 == 6 else 8]


def rewritten(packet: Packet, name: Name) -> bytes:
    """Return a packet of another name, one hop older, with every checksum computed from scratch."""
    head, body = bytearray(packet.head), bytearray(packet.body)
    src, sport, dst, dport, protocol = name
    body[:4] = pack("!HH", sport, dport)
    sum_at = 16 if protocol == 6 else 6
    if protocol == 6 or body[6:8] != b"\0\0":
        body[sum_at : sum_at + 2] = b"\0\0"
        total = checksum(src + dst + pack("!IHH", len(body), 0, protocol) + body)
        body[sum_at : sum_at + 2] = pack("!H", total or (0xFFFF if protocol == 17 else 0))
    if head[0] >> 4 == 6:
        head[7] -= 1
        head[8:40] = src + dst
    else:
        head[8] -= 1
        head[10:20] = b"\0\0" + src + dst
        head[10:12] = pack("!H", checksum(bytes(head)))
    return bytes(head + body)


def checksum(block: bytes | bytearray) -> int:
    """Return the complement of the one's complement sum of a block."""
    total = sum(unpack_from(f"!{(len(block) + 1) // 2}H", bytes(block) + b"\0"))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
