"""Frames of many flows at once, for the program at XDP.

Clients are in 198.18.0.0/16 and 2001:db8:1::/64; flow number n has address n modulo 65536 and a port above
1024 that its other bits say.  Headers are right, and so are IPv4 and ICMP checksums; those of TCP and UDP are
not written, because nobody reads them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsrlb.model import V4_MAPPED
from dsrlb.wire import ipv4
from dsrlb.wire.checksum import checksum
from dsrlb.wire.icmp import ICMP
from dsrlb.wire.l4 import ACK, TCP, UDP

FRAME4_BYTES, FRAME6_BYTES = 64, 80
LB_MAC, ROUTER_MAC = bytes.fromhex("0200c6130010"), bytes.fromhex("0200c6130001")
PORT = 80
_ETHERTYPE = {4: b"\x08\0", 6: b"\x86\xdd"}
_LLDP = b"\x88\xcc"
_NOP = b"\x01" * 4
_CLIENTS4 = V4_MAPPED + bytes((198, 18, 0, 0))
_CLIENTS6 = bytes.fromhex("20010db8000100000000000000000000")
_FRAGMENT = 44  # next header, RFC 8200 section 4.5
_FIRST4, _FIRST6 = 0x2000, 1  # more fragments follow
_FLAGS_AT = 13
_LOWEST_PORT, _ADDRESSES = 1024, 1 << 16


@dataclass(frozen=True)
class Kind:
    """What a frame is like."""

    version: int = 4
    protocol: int = TCP
    tcp_flags: int = ACK
    is_first_piece: bool = False
    has_options: bool = False
    is_ip: bool = True

    @property
    def frame_bytes(self) -> int:
        """How long it is."""
        return FRAME4_BYTES if self.version == 4 else FRAME6_BYTES

    @property
    def l4_at(self) -> int:
        """Where the TCP, UDP or ICMP header begins."""
        if self.version == 4:
            return 38 if self.has_options else 34
        return 62 if self.is_first_piece else 54

    @property
    def flags_at(self) -> int:
        """Where the TCP flags are."""
        return self.l4_at + _FLAGS_AT


def frames(kind: Kind, vip: bytes, flows: int) -> NDArray[np.uint8]:
    """Return a frame of each flow, one a row."""
    rows = np.tile(np.frombuffer(_frame(kind, vip), np.uint8), (flows, 1))
    number = np.arange(flows, dtype=np.uint32)
    low = (number % _ADDRESSES).astype(">u2").view(np.uint8).reshape(flows, 2)
    ports = (_LOWEST_PORT + number // _ADDRESSES).astype(">u2").view(np.uint8).reshape(flows, 2)
    last = 28 if kind.version == 4 else 36  # of the source address, its last two bytes
    if kind.is_ip:
        rows[:, last : last + 2] = low
    if kind.protocol in (TCP, UDP):
        rows[:, kind.l4_at : kind.l4_at + 2] = ports
    if kind.version == 4 and kind.is_ip:
        _sum_headers(rows, kind.l4_at)
    return rows


def _sum_headers(rows: NDArray[np.uint8], l4_at: int) -> None:
    """Write the checksum of each IPv4 header (RFC 1071)."""
    rows[:, 24:26] = 0
    total = rows[:, 14:l4_at].copy().view(">u2").astype(np.uint32).sum(axis=1)
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    rows[:, 24:26] = (~total & 0xFFFF).astype(">u2").view(np.uint8).reshape(-1, 2)


def _frame(kind: Kind, vip: bytes) -> bytes:
    """Return the frame of flow 0, padded to its length; IPv4's checksum is still to be written."""
    ether = LB_MAC + ROUTER_MAC + (_ETHERTYPE[kind.version] if kind.is_ip else _LLDP)
    payload = _payload(kind)
    if not kind.is_ip:
        return ether.ljust(kind.frame_bytes, b"\0")
    header = (_header4 if kind.version == 4 else _header6)(kind, vip, len(payload))
    return (ether + header + payload).ljust(kind.frame_bytes, b"\0")


def _header4(kind: Kind, vip: bytes, payload_bytes: int) -> bytes:
    options = _NOP if kind.has_options else b""
    header = ipv4.header(_CLIENTS4, vip, kind.protocol, payload_bytes + len(options))
    place = struct.pack(">H", _FIRST4) if kind.is_first_piece else header[6:8]
    return bytes((0x45 + len(options) // 4,)) + header[1:6] + place + header[8:] + options


def _header6(kind: Kind, vip: bytes, payload_bytes: int) -> bytes:
    extension = struct.pack(">BxHI", kind.protocol, _FIRST6, 7) if kind.is_first_piece else b""
    following = _FRAGMENT if kind.is_first_piece else kind.protocol
    return (
        struct.pack(">IHBB", 6 << 28, len(extension) + payload_bytes, following, 64)
        + _CLIENTS6
        + vip
        + extension
    )


def _payload(kind: Kind) -> bytes:
    """Return header and data above IP: as much as fills the frame, of a piece a multiple of eight octets."""
    room = kind.frame_bytes - kind.l4_at
    if kind.is_first_piece:
        room -= room % 8
    if kind.protocol == TCP:
        return struct.pack(">HHIIBBHHH", 0, PORT, 1, 1, 5 << 4, kind.tcp_flags, 0xFFFF, 0, 0).ljust(
            room, b"x"
        )
    if kind.protocol == UDP:
        return struct.pack(">HHHH", 0, PORT, room, 0).ljust(room, b"x")
    assert kind.protocol == ICMP  # noqa: S101  of what scenarios ask for
    echo = struct.pack(">BBHHH", 8, 0, 0, 1, 1).ljust(room, b"x")
    return echo[:2] + checksum(echo) + echo[4:]
