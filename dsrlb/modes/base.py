"""What every forwarding mode says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from dsrlb.model import V4_MAPPED, Address, Hop, HostStep, ModeOptions, Reason, ServerOptions, wire_address
from dsrlb.wire.offload import Offload
from dsrlb.wire.packet import Packet

NO_LIMIT = 1 << 17  # more than any IP packet has


class Job(NamedTuple):
    """One frame for one backend: all that a mode may look at."""

    frame: bytes
    l3_at: int  # where the IP header begins
    packet: Packet
    address: bytes  # the backend's, 16 bytes
    port: bytes  # two bytes; empty: the service's own
    hop: Hop
    options: ModeOptions
    mtu_bytes: int  # of the way to the backend; NO_LIMIT where not known
    offload: Offload | None  # None: the frame is complete
    reply_key: bytes = b""  # modes that see replies: how the server names the flow (a piece: without ports)


class TooBig(NamedTuple):
    """The packet does not fit and must not be cut: its sender is told the size that does."""

    mtu_bytes: int


# The frames to send (one, or the pieces of one packet), or why there is none.
Outcome = list[bytes] | TooBig | Reason


class Plain(NamedTuple):
    """How a complete, plain IPv4 packet that is not too long is rewritten, whatever else is in it."""

    # From frame and next hop to the frame to send; None: nothing but the MAC addresses changes.
    rewrite: Callable[[bytes, Hop], bytes] | None
    most_bytes: int  # greatest total length of the IP packet


@dataclass(frozen=True)
class Mode:
    """A forwarding mode: how it rewrites a frame, and what it asks of network and server."""

    name: str
    summary: str
    forward: Callable[[Job], Outcome]
    plain: Callable[[ModeOptions, Hop, bytes, bytes], Plain | None]  # options, hop, address, port
    overhead_bytes: Callable[[ModeOptions, int], int]  # options, IP version of the backend: added to packets
    needs_same_link: bool  # True: backends must be neighbours, no router in between
    translates_ports: bool  # True: a backend may listen on another port than the service's
    crosses_families: bool  # True: a backend's address may be of another IP version than the VIP
    options: frozenset[str]  # the fields of ModeOptions that it heeds
    sees_replies: bool  # True: what servers answer passes the balancer
    host_steps: Callable[[Address, ServerOptions], tuple[HostStep, ...]]  # what a real server needs, in order


def wraps(mode: Mode, options: ModeOptions) -> bool:
    """Return whether a mode puts bytes before packets."""
    return mode.overhead_bytes(options, 4) > 0


def outer_source(options: ModeOptions, hop: Hop, address: bytes) -> bytes | None:
    """Return the 16-byte source of packets that the balancer itself sends to a backend.

    That is the address asked for, for backends of its family, else the host's own on the way.
    """
    asked = wire_address(options.source) if options.source is not None else None
    if asked is not None and asked.startswith(V4_MAPPED) == address.startswith(V4_MAPPED):
        return asked
    return hop.source
