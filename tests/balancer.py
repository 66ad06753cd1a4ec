"""A balancer made of values: tables and states for the tests of the pure data path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from packets import BACKEND_MACS, BACKENDS, BALANCER_MAC, IFINDEX, VIP, VIP6, mac_bytes

from dsrlb.config import parse_backend, parse_vip
from dsrlb.datapath import process
from dsrlb.model import Action, Backend, Hop, Reason, Service
from dsrlb.state import State, Verdict
from dsrlb.table import ForwardingTable, compile_table

ALL_VIPS = (f"{VIP}:80", f"{VIP}:53/udp", f"[{VIP6}]:80", f"[{VIP6}]:53/udp")
ALL_BACKENDS = tuple(f"{address},mac={mac}" for address, mac in zip(BACKENDS, BACKEND_MACS, strict=True))
BALANCER = mac_bytes(BALANCER_MAC)


def services(
    vips: Iterable[str] = ALL_VIPS, backends: Iterable[str] = ALL_BACKENDS, scheduler: str = "maglev"
) -> tuple[Service, ...]:
    """Return one service for each VIP text, with the backends of these texts behind it."""
    behind = tuple(parse_backend(text) for text in backends)
    return tuple(Service(*parse_vip(vip), "l2dsr", scheduler, behind) for vip in vips)


def hops(behind: Iterable[Backend], ifindex: int = IFINDEX) -> dict[Any, Hop | None]:
    """Return the next hops of backends by the MACs given with them; without one there is no hop."""
    return {one.address: None if one.mac is None else Hop(ifindex, BALANCER, one.mac) for one in behind}


def table(
    vips: Iterable[str] = ALL_VIPS,
    backends: Iterable[str] = ALL_BACKENDS,
    scheduler: str = "maglev",
    interfaces: Mapping[int, bytes | None] | None = None,
) -> ForwardingTable:
    """Return the forwarding table of a balancer with one interface."""
    made = services(vips, backends, scheduler)
    behind = [backend for service in made for backend in service.backends]
    return compile_table(made, hops(behind), {IFINDEX: BALANCER} if interfaces is None else interfaces)


def feed(
    frames: Sequence[object], to: ForwardingTable, state: State | None = None, now_s: int = 0
) -> list[Verdict]:
    """Process frames one after the other; return each verdict, behind the held pieces that it set free."""
    state = State() if state is None else state
    verdicts: list[Verdict] = []
    for frame in frames:
        verdict = process(bytes(frame), IFINDEX, to, state, now_s)  # type: ignore[call-overload]  # scapy
        verdicts += [*state.released, verdict]
        state.released.clear()
    return verdicts


def one(frame: object, to: ForwardingTable, state: State | None = None, now_s: int = 0) -> Verdict:
    """Return the verdict on one frame."""
    return feed([frame], to, state, now_s)[-1]


def counted(state: State) -> dict[str, int]:
    """Return the counters that are not zero, by the reason's word."""
    return {Reason(number).word: count for number, count in enumerate(state.reasons) if count}


def sent(verdicts: Iterable[Verdict]) -> list[bytes]:
    """Return the frames that leave the balancer."""
    return [out for action, _, _, out in verdicts if action >= Action.TX]


def backend_of(verdict: Verdict) -> str:
    """Return the address of the backend whose MAC a sent frame carries."""
    macs = [mac_bytes(mac) for mac in BACKEND_MACS]
    return str(ip_address(BACKENDS[macs.index(verdict[3][:6])]))
