"""Jobs for the mode that wraps, made of values, for the tests of the pure data path."""

from __future__ import annotations

from ipaddress import ip_address

import packets as p
import pytest

from dsrlb.model import Hop, ModeOptions, wire_address
from dsrlb.modes.base import NO_LIMIT, Job, Outcome
from dsrlb.wire import ipv4, ipv6
from dsrlb.wire.packet import Packet

V4, V6 = wire_address(ip_address(p.FAR)), wire_address(ip_address(p.FAR6))
OWN = {V4: wire_address(ip_address(p.BALANCER_IP)), V6: wire_address(ip_address(p.BALANCER_IP6))}
OVERHEADS = {
    ("ipip", V4): 20,
    ("ipip", V6): 40,
    ("gue", V4): 32,
    ("gue", V6): 52,
    ("gue1", V4): 28,
    ("gue1", V6): 48,
}
ENCAPS = [pytest.param(encap, to, id=f"{encap}-v{4 if to is V4 else 6}") for encap, to in OVERHEADS]


def job(
    frame: p.Packet | bytes,
    to: bytes = V4,
    encap: str = "ipip",
    mtu_bytes: int = 1500,
    source: bytes | None = b"own",
) -> Job:
    """Return the job of bringing a frame to the far server."""
    raw = bytes(frame)
    packet = (ipv6 if raw[12:14] == b"\x86\xdd" else ipv4).parse(raw, 14)
    assert isinstance(packet, Packet)
    own = OWN[to] if source == b"own" else source
    hop = Hop(2, p.mac_bytes(p.BALANCER_MAC), p.mac_bytes(p.ROUTER_MAC), mtu_bytes, own)
    chosen = ModeOptions(encap=encap)  # type: ignore[arg-type]  # one of its words
    return Job(raw, 14, packet, to, b"", hop, chosen, mtu_bytes or NO_LIMIT, None)


def sent(outcome: Outcome) -> list[bytes]:
    """Return the frames of an outcome that is nothing but frames."""
    assert isinstance(outcome, list)
    return outcome
