"""Whether a server of this segment that is silent is at another MAC than this host sends to.

Asked beside the checks, which it must not hold up: what was found counts at the next check that fails.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from dsrlb.errors import DsrlbError
from dsrlb.health.base import Outcome
from dsrlb.health.naming import moved
from dsrlb.host.links import Link
from dsrlb.host.ownership import find_owner
from dsrlb.model import Address, Hop, person_mac

AGAIN_AFTER_S, HOLDS_FOR_S = 2.0, 10.0
AT_ONCE = 3  # each has a thread for as long as nobody answers


class Found(NamedTuple):
    """Who answered for a server's address, and when (the loop's time) it was asked."""

    mac: bytes | None
    at_s: float


class Seeking:
    """The MACs of servers that are silent.  The checks' thread's."""

    def __init__(self) -> None:
        self._found: dict[Address, Found] = {}
        self._under_way: dict[Address, asyncio.Task[None]] = {}

    def moved(self, address: Address, hop: Hop, link: Link) -> Outcome | None:
        """Return that a server is elsewhere, if that was found of late; look again where that is long ago."""
        if not is_on_link(address, link):
            return None
        now, known = asyncio.get_running_loop().time(), self._found.get(address)
        if known is None or now - known.at_s > AGAIN_AFTER_S:
            self._seek(address, link)
        if known is None or known.mac in (None, hop.dst_mac) or now - known.at_s > HOLDS_FOR_S:
            return None
        return moved(address, person_mac(known.mac or b""), person_mac(hop.dst_mac))

    def _seek(self, address: Address, link: Link) -> None:
        if address not in self._under_way and len(self._under_way) < AT_ONCE:
            task = asyncio.get_running_loop().create_task(self._ask(address, link))
            self._under_way[address] = task
            task.add_done_callback(lambda _: self._under_way.pop(address))

    async def _ask(self, address: Address, link: Link) -> None:
        try:
            mac = await asyncio.to_thread(find_owner, address, link)
        except DsrlbError:
            mac = None
        now = asyncio.get_running_loop().time()
        self._found = {one: it for one, it in self._found.items() if now - it.at_s < HOLDS_FOR_S}
        self._found[address] = Found(mac, now)


def is_on_link(address: Address, link: Link) -> bool:
    """Return whether an address is of this host's own segment."""
    return any(address in one.network for one in link.ipv4) or any(
        address in one.network for one in link.ipv6
    )
