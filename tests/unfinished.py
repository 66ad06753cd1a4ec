"""Frames as a kernel passes them on that leaves checksums and cutting to the hardware."""

from __future__ import annotations

from ipaddress import ip_address

import packets as p
from reassembly import ones_sum

from dsrlb.frameio.vnet import NEEDS_CSUM, VNET


def partial(frame: p.Packet) -> bytes:
    """Return a frame whose TCP or UDP checksum covers the pseudo-header only, as a kernel leaves it."""
    raw = bytes(frame)
    l4 = frame[p.TCP] if p.TCP in frame else frame[p.UDP]
    at = len(raw) - len(bytes(l4))
    sum_at = at + (16 if p.TCP in frame else 6)
    ip = frame[p.IPv6] if p.IPv6 in frame else frame[p.IP]
    ends = ip_address(ip.src).packed + ip_address(ip.dst).packed
    protocol = 6 if p.TCP in frame else 17
    pseudo = ends + (len(raw) - at).to_bytes(4, "big") + bytes((0, 0, 0, protocol))
    return raw[:sum_at] + ones_sum(pseudo).to_bytes(2, "big") + raw[sum_at + 2 :]


def vnet(frame: p.Packet, gso_type: int = 0, segment_bytes: int = 0, flags: int = NEEDS_CSUM) -> bytes:
    """Return the vnet header that goes with an unfinished frame."""
    l4 = frame[p.TCP] if p.TCP in frame else frame[p.UDP]
    start = len(bytes(frame)) - len(bytes(l4))
    return VNET.pack(flags, gso_type, 0, segment_bytes, start, 16 if p.TCP in frame else 6)
