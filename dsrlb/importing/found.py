"""What is found in a configuration of others, before it is known what dsrlb makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dsrlb.model import Address

Check = Mapping[str, Any]  # by the keys of [service.check]

ROUTE, TUNNEL, NAT = "l2dsr", "l3dsr", "inline"  # LVS: direct routing, tunnelling, masquerading
# LVS's schedulers; of those that have no equivalent, what comes nearest, and what is different then.
SCHEDULERS: Mapping[str, tuple[str, str]] = {
    **{name: (name, "") for name in ("rr", "wrr", "lc", "wlc")},
    "sh": ("hash", ""),
    "mh": ("hash", ""),
    "dh": ("maglev", "goes by the destination, which is the same VIP for all; maglev goes by the flow"),
    "sed": ("wlc", "counts the connection to come as well; wlc does not"),
    "nq": ("wlc", "fills idle servers first; wlc goes by connections and weights"),
    "lblc": ("wlc", "is for caches; wlc goes by connections and weights"),
    "lblcr": ("wlc", "is for caches; wlc goes by connections and weights"),
    "fo": ("wlc", "has all flows at the server of the greatest weight; wlc shares them out"),
    "ovf": ("wlc", "fills one server after the other; wlc shares them out"),
    "twos": ("wlc", "takes the better one of two by chance; wlc the best"),
}
BY_PORT = ("sh-port", "mh-port")  # flags by which the source port is hashed too, as maglev does


class Note(NamedTuple):
    """Something that has no equivalent, or another one than it looks."""

    where: str  # FILE:LINE
    sentence: str


@dataclass
class Server:
    """A real server."""

    address: Address
    port: int  # 0: the service's
    where: str
    weight: int = 1
    mode: str = NAT
    tunnel: Mapping[str, Any] = field(default_factory=dict)  # keys of [[service]]: encap, encap_port
    check: Check | None = None


@dataclass
class Virtual:
    """A virtual service of LVS."""

    vip: Address
    port: int  # 0: every port
    protocol: str  # tcp, udp
    where: str
    scheduler: str = "wlc"
    persist: str = ""
    name: str = ""
    servers: list[Server] = field(default_factory=list)
    is_refused: bool = False  # clients are, when all servers are down


@dataclass
class Found:
    """All that was found."""

    virtuals: list[Virtual] = field(default_factory=list)
    notes: dict[Note, None] = field(default_factory=dict)  # in their order, each once
    timeouts: Mapping[str, int] = field(default_factory=dict)  # keys of [service.timeouts]
    interfaces: list[str] = field(default_factory=list)

    def note(self, where: str, sentence: str) -> None:
        """Add to the report, once."""
        self.notes[Note(where, sentence)] = None

    def scheduler(self, where: str, name: str, flags: tuple[str, ...] = ()) -> str:
        """Return the scheduler for one of LVS's."""
        if name not in SCHEDULERS:
            self.note(where, f"scheduler {name!r} is not known; wlc is written, LVS's default")
            return "wlc"
        ours, difference = SCHEDULERS[name]
        if difference:
            self.note(where, f"scheduler {name} {difference}")
        return "maglev" if ours == "hash" and any(one in BY_PORT for one in flags) else ours

    def timeouts_of(self, where: str, words: list[str]) -> None:
        """Take over LVS's three time-outs: TCP, TCP after a FIN, UDP, in seconds; 0 leaves one as it is."""
        if len(words) != 3 or not all(one.isdecimal() and len(one) < 8 for one in words):
            return self.note(where, f"time-outs {' '.join(words)!r} are not three numbers of seconds")
        named = zip(("established", "fin", "udp"), map(int, words), strict=True)
        self.timeouts = {**self.timeouts, **{name: seconds for name, seconds in named if seconds}}
