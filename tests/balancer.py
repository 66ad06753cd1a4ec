"""A balancer made of values: tables and states for the tests of the pure data path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Literal

from packets import (
    BACKEND_MACS,
    BACKENDS,
    BALANCER_IP,
    BALANCER_IP6,
    BALANCER_MAC,
    IFINDEX,
    INNER_MAC,
    OTHER_IFINDEX,
    VIP,
    VIP6,
    mac_bytes,
)

from dsrlb.config import parse_backend, parse_vip
from dsrlb.datapath import process
from dsrlb.model import Action, Backend, Hop, ModeOptions, Persist, Reason, Service, wire_address
from dsrlb.standing import Names, Standing, effective, named
from dsrlb.state import State, Verdict
from dsrlb.table import NO_MTUS, ForwardingTable, compile_table

ALL_VIPS = (f"{VIP}:80", f"{VIP}:53/udp", f"[{VIP6}]:80", f"[{VIP6}]:53/udp")
ALL_BACKENDS = tuple(f"{address},mac={mac}" for address, mac in zip(BACKENDS, BACKEND_MACS, strict=True))
DEFAULTS = ModeOptions()
BALANCER, INNER = mac_bytes(BALANCER_MAC), mac_bytes(INNER_MAC)


def services(
    vips: Iterable[str] = ALL_VIPS,
    backends: Iterable[str] = ALL_BACKENDS,
    scheduler: str = "maglev",
    mode: str = "l2dsr",
    options: ModeOptions = DEFAULTS,
    persist: Persist | None = None,
) -> tuple[Service, ...]:
    """Return one service for each VIP text, with the backends of these texts behind it."""
    behind = tuple(parse_backend(text) for text in backends)
    return tuple(Service(*parse_vip(vip), mode, scheduler, behind, options, persist) for vip in vips)


def hops(behind: Iterable[Backend], ifindex: int = IFINDEX, mtu_bytes: int = 1500) -> dict[Any, Hop | None]:
    """Return the next hops of backends by the MACs given with them; without one there is no hop."""
    own = {4: wire_address(ip_address(BALANCER_IP)), 6: wire_address(ip_address(BALANCER_IP6))}
    found: dict[Any, Hop | None] = {}
    for one in behind:
        to, mac = (OTHER_IFINDEX, INNER) if is_inner(one) else (ifindex, BALANCER)
        hop = Hop(to, mac, one.mac, mtu_bytes, own[one.address.version]) if one.mac is not None else None
        found[one.address] = hop
    return found


def is_inner(backend: Backend) -> bool:
    """Return whether a backend is behind the balancer's second interface."""
    return str(backend.address).startswith(("198.18.2.", "2001:db8:2:"))


def table(
    vips: Iterable[str] = ALL_VIPS,
    backends: Iterable[str] = ALL_BACKENDS,
    scheduler: str = "maglev",
    interfaces: Mapping[int, bytes | None] | None = None,
    mode: str = "l2dsr",
    options: ModeOptions = DEFAULTS,
    mtu_bytes: int = 1500,
    mtus: Mapping[int, int] = NO_MTUS,
    persist: Persist | None = None,
    down: Iterable[str] = (),
    on_all_down: Literal["keep", "reject", "drop"] = "keep",
    samples: bool = False,
    own: Iterable[str] = (),
) -> ForwardingTable:
    """Return the forwarding table of a balancer with one interface, or with two if a backend needs it."""
    made = services(vips, backends, scheduler, mode, options, persist)
    made = tuple(replace(service, on_all_down=on_all_down, passive=samples) for service in made)
    behind = [backend for service in made for backend in service.backends]
    here = {IFINDEX: BALANCER, **({OTHER_IFINDEX: INNER} if any(map(is_inner, behind)) else {})}
    here = here if interfaces is None else dict(interfaces)
    said = effective(made, standings(made, down))
    ways, owned = hops(behind, mtu_bytes=mtu_bytes), {wire_address(ip_address(one)) for one in own}
    return compile_table(made, ways, here, mtus, said, own=owned)


def standings(of: Iterable[Service], down: Iterable[str]) -> dict[Names, Standing]:
    """Return the standings of services' backends of which those at these addresses are down."""
    addresses = {ip_address(one) for one in down}
    return {
        names: Standing(up=backend.address not in addresses) for one in of for names, backend in named(one)
    }


def feed(
    frames: Sequence[object],
    to: ForwardingTable,
    state: State | None = None,
    now_s: int = 0,
    ifindex: int = IFINDEX,
) -> list[Verdict]:
    """Process frames one after the other; return each verdict, behind the held pieces that it set free."""
    state = State() if state is None else state
    verdicts: list[Verdict] = []
    for frame in frames:
        verdict = process(bytes(frame), ifindex, to, state, now_s)  # type: ignore[call-overload]  # scapy
        verdicts += [*state.released, verdict]
        state.released.clear()
    return verdicts


def one(
    frame: object, to: ForwardingTable, state: State | None = None, now_s: int = 0, ifindex: int = IFINDEX
) -> Verdict:
    """Return the verdict on one frame."""
    return feed([frame], to, state, now_s, ifindex)[-1]


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
