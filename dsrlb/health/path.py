"""Asking a server at the VIP, by the way that its clients' packets take.

::

    check ─► socket ─► host/probe_path.py ─► the mode's forward ─► server: the VIP ─► its service
      ▲                                                                                    │
      └────────────────────── answers by themselves, past the data path ◄─────────────────┘

So a server without the VIP, one that does not unwrap, and one whose service does not listen there fail
their checks.  Which of these it is tells a second question, at the server's own address, once half of the
time-out is over or the first one is refused (``naming.py``).

Packets have one hop to live.  A server takes what is for itself whatever that says; one that lacks the VIP
and forwards what is not its own can send it nowhere, so it never comes back to the balancer, to be answered
by another server.

Where this host cannot ask so, it asks at the own address, and says so once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from dsrlb.errors import HostError
from dsrlb.health.asking import AGAIN_AFTER_S, SOON_S, Asking, NotSo, Place, Way, at_own_address
from dsrlb.health.base import Ask, Outcome, Subject, Unasked, directly, probe
from dsrlb.health.by_mode import frames_by, own_address, unchanged
from dsrlb.health.naming import SILENT, Findings, is_alive, is_open, named
from dsrlb.health.second import Second, comes_out, is_tunnelled
from dsrlb.health.seeking import Seeking
from dsrlb.host.answers_in import why_dropped
from dsrlb.host.links import Link
from dsrlb.host.probe_path import Lead, ProbePath
from dsrlb.model import Address, Hop

NEVER_S = float("inf")
REFUSED_WITHIN_S = 5.0  # a server says once a second at most that it does not unwrap
MOST_IDLE = 1000
UNRESOLVED = Outcome("unresolved", "nobody answers for its MAC address, or that of the router before it")

log = logging.getLogger("dsrlb")


class ByPath:
    """Asks servers at their VIPs.  The checks' thread's, but for ``see``, ``keep`` and ``close``."""

    def __init__(self, refused_at: Mapping[Address, float], refused_own_at: Mapping[Address, float]) -> None:
        """Take when (monotonic) servers last said by ICMP that they do not unwrap.

        ``refused_own_at``: what was for their own addresses inside.
        """
        self._refused_at, self._refused_own_at = refused_at, refused_own_at
        self._hops: Mapping[Address, Hop | None] = {}
        self._links: Mapping[Address, Link] = {}
        self._ways: dict[int, Way] = {}  # by the id of the subject, which they hold
        self._reached_at: dict[tuple[Place, Address], float] = {}  # when a server last answered at the VIP
        self._path: ProbePath | None = None
        self._opening = asyncio.Lock()
        self._gate = threading.Lock()  # for what opens the path, and ends it
        self._is_over = False
        self._barred: dict[Place | None, tuple[float, str]] = {}  # where it cannot be, until when, and why
        self._mended: dict[Place, float] = {}
        self._told: set[str] = set()
        self._seeking = Seeking()

    def see(self, hops: Mapping[Address, Hop | None], links: Mapping[Address, Link]) -> None:
        """Take the next hop of each backend, and the interface there, as they are now."""
        self._hops, self._links = hops, links

    def keep(self) -> None:
        """Set the rules again if somebody flushed them."""
        if (path := self._path) is not None:
            path.keep()

    def close(self) -> None:
        """Take back what was set on this host, once the checks have ended."""
        with self._gate:
            self._is_over = True
            if self._path is not None:
                self._path.close()

    async def probe(self, ask: Ask, server: Subject) -> Outcome:
        """Ask a server once, within the time-out.  Raises Unasked."""
        if not server.mode:
            return await self._probe_directly(ask, server)
        if server.address not in self._hops:
            raise Unasked("the way to it has not been looked for yet")
        hop, link = self._hops.get(server.address), self._links.get(server.address)
        if hop is None or link is None:
            return UNRESOLVED
        if not self._is_barred(None) and not self._is_barred((server.vip, hop.ifindex)):
            try:
                way = self._way(server, hop, link)
                await self.path()  # before the clock runs: the first time it takes a while
                return await self._ask(ask, way)
            except NotSo as error:
                self._bar(error)
        return await probe(ask, server, directly)

    async def _probe_directly(self, ask: Ask, server: Subject) -> Outcome:
        """Ask a server at its own address; if it is silent, look whether its MAC is what this host knows."""
        outcome = await probe(ask, server, directly)
        hop, link = self._hops.get(server.address), self._links.get(server.address)
        if outcome.word in SILENT and hop is not None and link is not None:
            return self._seeking.moved(server.address, hop, link) or outcome
        return outcome

    def way_of(self, server: Subject) -> Way | None:
        """Return the way that clients' packets take to a server; None while there is none.  Raises NotSo."""
        hop, link = self._hops.get(server.address), self._links.get(server.address)
        if hop is None or link is None:
            return None
        if server.mode:
            is_barred = self._is_barred(None) or self._is_barred((server.vip, hop.ifindex))
            return None if is_barred else self._way(server, hop, link)
        return straight(server, hop, link)

    async def _ask(self, ask: Ask, way: Way) -> Outcome:
        """Ask at the VIP; if that does not tell what is wrong, ask at the own address as well."""
        loop, asking = asyncio.get_running_loop(), Asking(way, self)
        own: list[asyncio.Task[Second]] = []
        half_s = way.server.check.timeout_s / 2

        def ask_own() -> None:
            own.append(loop.create_task(self._ask_again(way, half_s)))

        timer = loop.call_later(half_s, ask_own)
        try:
            at_vip = await probe(ask, way.at_vip, asking.open)
            await asking.require_came()
            if not is_open(at_vip, asking.is_connected):
                self._reached_at[way.place, way.server.address] = time.monotonic()
                return at_vip
            if not own:
                ask_own()
            await asyncio.wait(own)
            return await self._named(way, at_vip, own[0].result())
        finally:
            timer.cancel()
            for one in own:
                one.cancel()

    async def _ask_again(self, way: Way, within_s: float) -> Second:
        """Ask at the own address; in a tunnel too, at the same time, unless the server has refused that."""
        asking = at_own_address(way.server, within_s)
        if not is_tunnelled(way) or self._refuses(way):
            return Second(await asking, False)
        since = time.monotonic() - REFUSED_WITHIN_S  # it does not say so to each echo
        own, is_out = await asyncio.gather(asking, comes_out(way, within_s))
        refused_at = self._refused_own_at.get(way.server.address, -NEVER_S)
        return Second(own, not is_out and refused_at < since)

    def _refuses(self, way: Way) -> bool:
        """Return whether a server has said of late that it does not unwrap."""
        refused_at = self._refused_at.get(way.server.address, -NEVER_S)
        reached_at = self._reached_at.get((way.place, way.server.address), -NEVER_S)
        return refused_at > max(time.monotonic() - REFUSED_WITHIN_S, reached_at)

    async def _named(self, way: Way, at_vip: Outcome, again: Second) -> Outcome:
        at_own, says_no_tunnel = again.at_own, self._refuses(way)
        if at_vip.word in SILENT and not is_alive(at_own) and not says_no_tunnel:
            return self._seeking.moved(way.server.address, way.hop, way.link) or at_vip
        if at_vip.word != "refused" and is_alive(at_own) and not says_no_tunnel:
            why = await asyncio.to_thread(why_dropped, way.server.vip, way.link)
            if why is not None:
                raise NotSo(way.place, why)
        return named(
            Findings(
                way.server.vip,
                way.server.mode,
                at_vip,
                at_own,
                says_no_tunnel,
                again.is_tunnel_dead,
                way.server.options,
            )
        )

    # ------------------------------------------------------------------------- the path

    async def path(self) -> ProbePath:
        """Return the path, opened.  Raises NotSo."""
        if self._path is None:
            async with self._opening:
                if self._path is None:
                    await asyncio.to_thread(self._open, asyncio.get_running_loop())
        if self._path is None:
            if self._is_over:
                raise NotSo(None, "dsrlb stops")
            raise NotSo(None, "its device is gone again", SOON_S)
        return self._path

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open the path, beside the loop: netlink would wait in its place."""
        with self._gate:
            if self._path is None and not self._is_over:
                try:
                    path = self._path = ProbePath()
                except HostError as error:
                    raise NotSo(None, str(error)) from error
                loop.call_soon_threadsafe(self._listen, path)

    def _listen(self, path: ProbePath) -> None:
        """Hear of what comes, unless the path has been closed since."""
        if path is self._path:
            asyncio.get_running_loop().add_reader(path.fileno(), self.hand_on)

    def hand_on(self) -> None:
        """Send on what has come; without the device begin anew."""
        if self._path is not None:
            try:
                self._path.hand_on()
            except OSError as error:
                log.debug("the path of the checks: %s", error)
                self._begin_anew()

    async def mend(self, place: Place) -> NotSo:
        """Set routes and rules again; without a device that is up, begin anew.  Return what to say."""
        now = asyncio.get_running_loop().time()
        ago_s = now - self._mended.get(place, -NEVER_S)
        if ago_s > 2 * SOON_S:  # else several checks under way met the same
            self._mended[place] = now
        for_s = AGAIN_AFTER_S if 2 * SOON_S < ago_s < 2 * AGAIN_AFTER_S else SOON_S
        if self._path is None or not self._path.is_up():
            self._begin_anew()
        else:
            await asyncio.to_thread(self._path.restore)
        return NotSo(place, "what is sent there does not take the way of the checks' rule", for_s)

    def _begin_anew(self) -> None:
        """Close the path: the next check opens it again."""
        path, self._path = self._path, None
        if path is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(path.fileno())
            loop.run_in_executor(None, path.close)

    def _way(self, server: Subject, hop: Hop, link: Link) -> Way:
        known = self._ways.get(id(server))
        if known is not None and known.server is server and known.hop == hop and known.link == link:
            return known
        source = own_address(server.vip, hop, link)
        if source is None:
            raise NotSo((server.vip, hop.ifindex), f"{link.name} has no address of IPv{server.vip.version}")
        frames = frames_by(server.mode, server.options, server.address, hop)
        at_vip = replace(server, address=server.vip)
        if len(self._ways) > 2 * len(self._hops) + MOST_IDLE:
            self._ways.clear()  # subjects of configurations that are over
            self._reached_at.clear()
        way = self._ways[id(server)] = Way(server, at_vip, hop, link, source, Lead(hop.ifindex, frames))
        return way

    def _is_barred(self, place: Place | None) -> bool:
        return place in self._barred and asyncio.get_running_loop().time() < self._barred[place][0]

    def barred(self, vip: Address) -> str:
        """Return why servers of a VIP are not asked there now; empty: they are."""
        places = (one for one in self._barred if (one is None or one[0] == vip) and self._is_barred(one))
        return next((self._barred[one][1] for one in places), "")

    def _bar(self, error: NotSo) -> None:
        self._barred[error.place] = asyncio.get_running_loop().time() + error.for_s, str(error)
        whose = f"servers of VIP {error.place[0]}" if error.place else "servers"
        sentence = f"{whose} are checked at their own addresses, not at the VIP: {error}"
        if error.for_s == AGAIN_AFTER_S and sentence not in self._told:
            self._told.add(sentence)
            log.warning("%s", sentence)


def straight(server: Subject, hop: Hop, link: Link) -> Way | None:
    """Return the way to a server's own address, past this host's routing; None without an own address."""
    source = own_address(server.address, hop, link)
    if source is None:
        return None
    return Way(server, server, hop, link, source, Lead(hop.ifindex, unchanged(hop)))
