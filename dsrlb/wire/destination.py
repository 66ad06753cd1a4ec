"""Whom a frame is for, read at a fixed place: known also when nothing else in the packet makes sense."""

from __future__ import annotations

from dsrlb.model import V4_MAPPED
from dsrlb.wire import ipv4, ipv6
from dsrlb.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, skip_tags


def destination(frame: bytes) -> bytes:
    """Return the 16-byte destination of an IP packet in a frame; empty if there is none that can be a VIP."""
    kind, at = skip_tags(frame)
    if kind == ETHERTYPE_IPV4 and len(frame) >= at + ipv4.HEADER_BYTES:
        return V4_MAPPED + frame[at + 16 : at + 20]
    if kind == ETHERTYPE_IPV6 and len(frame) >= at + ipv6.HEADER_BYTES:
        return ipv6.unmapped(frame[at + 24 : at + 40])
    return b""
