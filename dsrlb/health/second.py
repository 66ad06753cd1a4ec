"""What is asked of a server that does not answer at the VIP behind a tunnel, beside its own address.

An echo, wrapped as clients' packets are, but for the server's own address inside.  A tunnel that ends there
lets it out, whether the server has the VIP or not.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from dsrlb import modes
from dsrlb.health.asking import Way
from dsrlb.health.base import Outcome, close_beside
from dsrlb.health.by_mode import unchanged
from dsrlb.health.echo import HEADERS_BYTES, Send, is_answered
from dsrlb.modes.base import wraps

HOPS = 64  # beside the tunnel there may be routers

Frames = Callable[[bytes], Sequence[bytes]]


class Second(NamedTuple):
    """What the second question found."""

    at_own: Outcome | None
    is_tunnel_dead: bool  # nothing comes out of the tunnel, and nothing is said of that


def is_tunnelled(way: Way) -> bool:
    """Return whether a server is to unwrap packets, of the IP version of its own address."""
    mode, version = modes.BY_NAME[way.server.mode], way.server.address.version
    return wraps(mode, way.server.options) and version == way.server.vip.version


async def comes_out(way: Way, within_s: float) -> bool:
    """Return whether a server answers what is for its own address inside the tunnel.

    True as well where that cannot be told: it answers no echo at all, or this host cannot send one.
    """
    try:
        out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    except OSError:
        return True
    asking = [asyncio.ensure_future(_ask(way, partial(_send, out, way, by))) for by in _ways(way)]
    try:
        await asyncio.wait(asking, timeout=within_s)
        inside, beside = (one.done() and one.result() for one in asking)
        return inside or not beside
    except OSError:
        return True
    finally:
        for one in asking:
            one.cancel()
        await close_beside(out)


def _ways(way: Way) -> tuple[Frames, Frames]:
    """Return what makes frames of packets: in the tunnel, and beside it."""
    return way.lead.frames, unchanged(way.hop)


async def _ask(way: Way, send: Send) -> bool:
    address = way.server.address
    return await is_answered(way.source, address, send, HEADERS_BYTES[address.version], HOPS)


def _send(out: socket.socket, way: Way, frames: Frames, packet: bytes) -> None:
    for frame in frames(packet):
        out.sendto(frame, (way.link.name, 0))
