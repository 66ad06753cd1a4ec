"""What the parsers of IPv4 and IPv6 tell about a packet, in one shape."""

from __future__ import annotations

from typing import NamedTuple

from dsrlb.model import Reason


class Fragment(NamedTuple):
    """A piece of a datagram: which datagram, and whether it is the first piece."""

    key: bytes  # source, destination, identification, protocol
    is_first: bool


class Packet(NamedTuple):
    """An IP packet inside a frame; offsets count from the frame's first byte."""

    src: bytes  # 16 bytes
    dst: bytes  # 16 bytes
    protocol: int
    l4_at: int
    end: int  # behind the last byte of the packet: what follows is Ethernet padding
    fragment: Fragment | None


Parsed = Packet | Reason
