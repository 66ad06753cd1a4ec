"""Keeping the MACs of backends true.

Left alone, Linux notices that a server has a new MAC after half a minute at best.  The Resolver keeps the
kernel's neighbour entries fresh by asking more often; the answers go to the kernel, which decides::

    entry as the kernel has it    what is asked for
    ----------------------------  ------------------------------------------------------------------
    answered within 0.45 s        unicast to the known MAC (costs nobody else anything)
    silent for longer             broadcast / multicast: its answer makes the kernel take a new MAC
    silent for 2 s                the same, and the kernel probes (NUD_PROBE): after 3 s it says FAILED
    none, or FAILED               once a second the kernel resolves anew (NTF_USE)
    PERMANENT, NOARP, INCOMPLETE  nothing: somebody decided, or the kernel is asking
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from typing import TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.host import frames
from dsrlb.host.links import Link, link_at
from dsrlb.host.neighbours import (
    NUD_FAILED,
    NUD_INCOMPLETE,
    NUD_NOARP,
    NUD_NONE,
    NUD_PERMANENT,
    NUD_PROBE,
    Neighbour,
    NeighbourKey,
    neighbours,
)
from dsrlb.model import Address, wire_address

UNICAST_FOR_S = 0.45  # two steps without an answer fit into the second within which a MAC is followed
SILENT_AFTER_S = 2.0
RESOLVE_EVERY_S = 1.0
KEEP_MISSING_S = 1.0  # the kernel may evict an entry from a full table; it is back within this
FRAMES_PER_STEP = 256
CHANGES_PER_STEP = 64  # requests to the kernel, about 0.3 ms each
NTF_USE = 0x01  # linux/neighbour.h: start resolving, as if a packet were waiting


class Ask(Enum):
    """What to do about one neighbour now."""

    NOTHING = "nothing"
    UNICAST = "unicast"
    MULTICAST = "multicast"
    PROBE = "probe"
    RESOLVE = "resolve"


def what_to_ask(entry: Neighbour | None) -> Ask:
    """Return what the state of a kernel entry calls for; the table at the top of this file."""
    if entry is None or entry.state in (NUD_NONE, NUD_FAILED):
        return Ask.RESOLVE
    if entry.state & (NUD_PERMANENT | NUD_NOARP | NUD_INCOMPLETE):
        return Ask.NOTHING
    if entry.confirmed_age_s <= UNICAST_FOR_S:
        return Ask.UNICAST
    if entry.confirmed_age_s <= SILENT_AFTER_S or entry.state == NUD_PROBE:
        return Ask.MULTICAST
    return Ask.PROBE


@dataclass(frozen=True)
class Question:
    """The two frames that ask for one neighbour; ``unicast`` lacks its destination MAC."""

    ifname: str
    unicast: bytes
    multicast: bytes


@lru_cache(maxsize=8192)  # scapy takes 0.25 ms a frame, and nearly every refresh finds the links as they were
def question(target: Address, link: Link) -> Question | None:
    """Build the frames that ask for a target on a link; None when this host has no address to ask from.

    IPv4 without an own address asks as a probe does, from 0.0.0.0.
    """
    if isinstance(target, IPv4Address):
        own = nearest(target, link.ipv4)
        frame = frames.arp_request(link.mac, own.ip if own else IPv4Address(0), target)
        return Question(link.name, frame, frame)
    here = nearest(target, link.ipv6)
    if here is None:
        return None
    return Question(
        link.name,
        frames.neighbour_solicitation(link.mac, here.ip, target, unicast=True),
        frames.neighbour_solicitation(link.mac, here.ip, target),
    )


AnyInterface = TypeVar("AnyInterface", IPv4Interface, IPv6Interface)


def nearest(target: Address, own: Sequence[AnyInterface]) -> AnyInterface | None:
    """Return the own address to speak to a target from: one of its subnet, else any, else None."""
    return min(own, key=lambda interface: target not in interface.network, default=None)


# Whom to ask for, and on which interface (ifindex): link-local addresses are the same on many.
NextHop = tuple[int, Address]


class Resolver:
    """The MACs of a set of neighbours, kept true.  Owned by one thread."""

    def __init__(self, targets: Iterable[NextHop]) -> None:
        """Take the targets.  Raises OSError without CAP_NET_RAW."""
        self._ipr = IPRoute()
        self._out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: receives nothing
        self._out.setblocking(False)
        self._seen: dict[NextHop, tuple[float, bytes]] = {}  # when last usable, and its MAC
        self._resolve_at: dict[NextHop, float] = {}
        self._turn: NextHop | None = None
        self.update(targets)

    def update(self, targets: Iterable[NextHop]) -> None:
        """Replace the targets; what is known of those that stay is kept."""
        self._keys = {target: (target[0], wire_address(target[1])) for target in targets}
        self._seen = {one: seen for one, seen in self._seen.items() if one in self._keys}
        self._resolve_at = {one: due for one, due in self._resolve_at.items() if one in self._keys}
        self.refresh()

    def refresh(self) -> None:
        """Read the own addresses and MACs again; call it after a change of links or addresses."""
        links = {ifindex: link_at(ifindex) for ifindex in {ifindex for ifindex, _ in self._keys}}
        self._questions: dict[NextHop, Question] = {}
        for target in self._keys:
            here = links[target[0]]
            asked = question(target[1], here) if here else None
            if asked:
                self._questions[target] = asked

    def known(self, now: float) -> dict[NextHop, bytes | None]:
        """Return the MAC of every target, None where unresolved, without asking anybody.

        ``now`` in seconds, of any clock that only goes forward.
        """
        return self._judge(self._read(), now)

    def step(self, now: float) -> dict[NextHop, bytes | None]:
        """Return what ``known`` does, and ask where that is due; call it every 0.25 to 0.3 s."""
        table = self._read()
        self._ask(table, now)
        return self._judge(table, now)

    def close(self) -> None:
        """Close the sockets."""
        self._out.close()
        self._ipr.close()

    def _read(self) -> dict[NeighbourKey, Neighbour]:
        table: dict[NeighbourKey, Neighbour] = {}
        for ifindex in {ifindex for ifindex, _ in self._keys}:
            table.update(neighbours(ifindex))
        return table

    def _judge(self, table: Mapping[NeighbourKey, Neighbour], now: float) -> dict[NextHop, bytes | None]:
        macs: dict[NextHop, bytes | None] = {}
        for target, key in self._keys.items():
            entry = table.get(key)
            if entry is not None and entry.usable and entry.mac is not None:
                self._seen[target] = (now, entry.mac)
            elif entry is not None and entry.state == NUD_FAILED:
                self._seen.pop(target, None)
            at, mac = self._seen.get(target, (now, None))
            macs[target] = mac if now - at <= KEEP_MISSING_S else None
        return macs

    def _ask(self, table: Mapping[NeighbourKey, Neighbour], now: float) -> None:
        """Ask within the budget of a step; the next one begins with the first that had to wait."""
        frames_left, changes_left = FRAMES_PER_STEP, CHANGES_PER_STEP
        waiting: NextHop | None = None
        for target, key in self._from_turn():
            entry = table.get(key)
            ask = what_to_ask(entry)
            changes = ask is Ask.PROBE or (ask is Ask.RESOLVE and now >= self._resolve_at.get(target, now))
            sends = ask in (Ask.UNICAST, Ask.MULTICAST, Ask.PROBE)
            if changes > changes_left or sends > frames_left:
                waiting = waiting or target
                continue
            changes_left -= changes
            frames_left -= sends
            if changes:
                self._change(ask, target, now)
            if sends:
                self._send(target, entry if ask is Ask.UNICAST else None)
        self._turn = waiting

    def _from_turn(self) -> list[tuple[NextHop, NeighbourKey]]:
        """Return the targets in the order of this step."""
        order = list(self._keys.items())
        start = list(self._keys).index(self._turn) if self._turn in self._keys else 0
        return order[start:] + order[:start]

    def _change(self, ask: Ask, target: NextHop, now: float) -> None:
        """Set the kernel's own machine going, without naming a MAC, so that what it knows stays."""
        ifindex, address = target
        with contextlib.suppress(NetlinkError):  # the interface is down, or the entry just went
            if ask is Ask.PROBE:
                self._ipr.neigh("change", dst=str(address), ifindex=ifindex, state=NUD_PROBE)
            else:
                self._resolve_at[target] = now + RESOLVE_EVERY_S
                self._ipr.neigh("replace", dst=str(address), ifindex=ifindex, state=NUD_NONE, flags=NTF_USE)

    def _send(self, target: NextHop, known: Neighbour | None) -> None:
        """Send the question: to one known MAC, or to all."""
        asked = self._questions.get(target)
        if asked is None:
            return
        frame = asked.multicast
        if known is not None and known.mac is not None:
            frame = known.mac + asked.unicast[6:]
        with contextlib.suppress(OSError):  # interface down or queue full: the next step asks again
            self._out.sendto(frame, (asked.ifname, 0))
