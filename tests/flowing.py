"""Flows through a balancer: opened, and followed to where each goes."""

from __future__ import annotations

import balancer
import packets as p

from dsrlb.model import ModeOptions, Reason
from dsrlb.state import State
from dsrlb.table import ForwardingTable

ONE, TWO, THREE = balancer.ALL_BACKENDS
SERVERS = tuple(f"{one}:8080,mac={mac}" for one, mac in zip(p.SERVERS, p.SERVER_MACS, strict=True))
VIP = f"{p.VIP}:80"
NUMBERS = range(4000, 4060)
SNAT = ModeOptions(snat=True)


def table(*backends: str, scheduler: str = "maglev", **more: object) -> ForwardingTable:
    return balancer.table([VIP], backends, scheduler, **more)  # type: ignore[arg-type]


def segment(number: int, flags: str) -> bytes:
    return bytes(p.ether() / p.IP(src=p.CLIENT, dst=p.VIP) / p.TCP(sport=number, dport=80, flags=flags))


def goes_to(made: ForwardingTable, state: State, flags: str, now_s: int = 5) -> list[bytes]:
    """Return what becomes of a packet of each flow; all must be forwarded."""
    verdicts = balancer.feed([segment(number, flags) for number in NUMBERS], made, state, now_s)
    assert {verdict[1] for verdict in verdicts} == {Reason.FORWARDED}
    return balancer.sent(verdicts)


def opened(made: ForwardingTable, state: State) -> list[bytes]:
    goes_to(made, state, "S")
    return goes_to(made, state, "A")
