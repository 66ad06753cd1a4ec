"""What every forwarding mode says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dsrlb.model import Address, Hop, HostStep


@dataclass(frozen=True)
class Mode:
    """A forwarding mode: how it rewrites a frame, and what it asks of network and server."""

    name: str
    summary: str
    rewrite: Callable[[bytes, Hop], bytes]  # frame, next hop -> frame to send
    overhead_bytes: int  # added to every packet
    needs_same_link: bool  # True: backends must be neighbours, no router in between
    host_steps: Callable[[Address], tuple[HostStep, ...]]  # VIP -> what a real server needs, in order
