"""What the parsers of IPv4 and IPv6 tell about a packet, in one shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

from dsrlb.model import Reason
from dsrlb.wire.offload import Offload


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


class Arrival(NamedTuple):
    """A frame as it came in: where, and what its IP header says."""

    frame: bytes
    ifindex: int
    l3_at: int
    packet: Packet
    offload: Offload | None = None  # None: the frame is complete


_Fields = tuple[bytes, bytes, int, int, int, "Fragment | None"]
# A Packet of a tuple of its fields: three times as fast as the constructor, which is written in Python.
as_packet = cast("Callable[[_Fields], Packet]", partial(tuple.__new__, Packet))

as_arrival = cast(
    "Callable[[tuple[bytes, int, int, Packet, Offload | None]], Arrival]", partial(tuple.__new__, Arrival)
)

Parsed = Packet | Reason
