"""What laws of the data path are tried with: frames of any kind, and a table of each scheduler."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import balancer
import packets as p
from hypothesis import settings
from hypothesis import strategies as st

from dsrlb.config import parse_vip
from dsrlb.model import Backend, Hop, Service
from dsrlb.schedulers import SCHEDULERS
from dsrlb.table import ForwardingTable, compile_table

NAMES = [scheduler.name for scheduler in SCHEDULERS]
MAC = p.mac_bytes(p.BALANCER_MAC)
TABLES = {name: balancer.table(scheduler=name) for name in NAMES}

LAW = settings(max_examples=100)
SLOW_LAW = settings(LAW, max_examples=25)

VALID = [
    bytes(frame)
    for vip in (p.VIP, p.VIP6)
    for frame in (
        p.tcp("S", dst=vip),
        p.tcp("PA", dst=vip, load=b"GET /", tags=(5,)),
        p.udp(dst=vip, tags=(5, 6)),
        p.echo(vip),
        p.error_about(p.tcp(dst=vip)),
        *p.pieces(p.udp(dst=vip, load=bytes(100)), 48),
    )
] + [
    bytes(p.who_has()),
    bytes(p.claims()),
    bytes(p.solicits()),
    bytes(p.solicits(src="::")),
    bytes(p.advertises()),
]


@st.composite
def mutated(draw: Callable[..., Any]) -> bytes:
    """Return a valid frame with some bytes changed, perhaps cut short or with a tail."""
    frame = bytearray(draw(st.sampled_from(VALID)))
    for at, byte in draw(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=4)):
        frame[at % len(frame)] = byte
    return bytes(frame[: draw(st.integers(0, 200))])


FRAMES = st.one_of(st.binary(max_size=120), st.sampled_from(VALID), mutated())
BURSTS = st.lists(FRAMES, min_size=1, max_size=12)
WEIGHTS = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=3, max_size=3)


def table_of(behind: list[tuple[int, bool]], scheduler: str, keep: bytes | None = None) -> ForwardingTable:
    """Return a table by each backend's weight and whether its MAC is known (that of ``keep`` is)."""
    backends, hops = [], {}
    for address, mac, (weight, is_known) in zip(p.BACKENDS, p.BACKEND_MACS, behind, strict=True):
        hop = Hop(p.IFINDEX, MAC, p.mac_bytes(mac))
        backends.append(Backend(ip_address(address), weight))
        hops[ip_address(address)] = hop if is_known or hop.dst_mac == keep else None
    services = [Service(*parse_vip(vip), "l2dsr", scheduler, tuple(backends)) for vip in balancer.ALL_VIPS]
    return compile_table(services, hops, {p.IFINDEX: MAC})
