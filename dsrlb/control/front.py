"""The VIPs on the interfaces where clients' frames come in: kept ours, kept from the host, announced."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from dsrlb.errors import DsrlbError
from dsrlb.host import guard, ownership
from dsrlb.host.links import Link, link, link_at
from dsrlb.host.watch import Event
from dsrlb.model import Address, person_mac, wire_address
from dsrlb.preflight import Ground, vips_owned_here

REPORT_CONFLICT_EVERY_S = 10.0  # RFC 5227 section 1.1, DEFEND_INTERVAL
ANYBODY = b""

log = logging.getLogger("dsrlb")


class Front:
    """VIPs and interfaces of now.  The main thread's, but for ``hear_claim``."""

    def __init__(self, ground: Ground, claim: guard.Claim, events: queue.SimpleQueue[Event]) -> None:
        self.vips, self.guarded, self.hosted = ground.vips, ground.guarded, ground.hosted
        self.lent = ground.lent
        self.links = {one.ifindex: one for one in ground.links}
        self._claim, self._events = claim, events
        self._owned_here: dict[Address, str] = {}  # VIPs that are configured on this host, and what to say
        self.known_macs: frozenset[bytes] = frozenset()  # of backends
        # VIP, who claims it (one of the backends, or anybody else), and whether by asking for another address
        # -> when the next claim may be told
        self._told_until: dict[tuple[Address, bytes, bool], float] = {}

    @property
    def wire_vips(self) -> list[bytes]:
        """The VIPs as the data path writes them."""
        return [wire_address(vip) for vip in self.vips]

    @property
    def all_vips(self) -> tuple[Address, ...]:
        """All that is announced: not those of mode proxy that the host has anyway, its own affair."""
        return (*self.vips, *self.lent)

    @property
    def names(self) -> list[str]:
        """The interfaces' names."""
        return [one.name for one in self.links.values()]

    def give_back(self, stays: Iterable[guard.Guarded] = ()) -> None:
        """Take back the rules but for those to stay, then the claim: whoever claims next finds no rule."""
        try:
            guard.remove(set(self.guarded) - set(stays))
        finally:
            self._claim.release()

    # ------------------------------------------------------------------------- a reload

    def guard_also(self, ground: Ground) -> None:
        """Keep the host off the VIPs of another ground as well.  HostError if the kernel refuses."""
        names = {one.name for one in (*self.links.values(), *ground.links)}
        guard.install({*self.guarded, *ground.guarded}, names)

    def change_to(self, ground: Ground, claim: guard.Claim) -> set[guard.Guarded]:
        """Go over to another ground and hold the claim of what is new too; return what is guarded no more."""
        gone = set(self.guarded) - set(ground.guarded) | set(self.hosted) - set(ground.hosted)
        self._claim.take_over(claim)
        self.vips, self.guarded, self.hosted = ground.vips, ground.guarded, ground.hosted
        self.lent = ground.lent
        self.links = {one.ifindex: one for one in ground.links}
        self._told_until = {one: at for one, at in self._told_until.items() if one[0] not in gone}
        return gone

    def let_go(self, gone: Iterable[guard.Guarded]) -> None:
        """Take back rules and claim of what is not served any more, and rules of other interfaces."""
        gone = set(gone)
        with suppress(DsrlbError):
            guard.remove(gone)
        self._claim.release(gone - {*self.guarded, *self.hosted})  # a VIP may have changed its mode
        self.keep_guard()

    # ------------------------------------------------------------------------- all the time

    def also(self, links: Iterable[Link]) -> None:
        """Take more interfaces for those where frames come in."""
        self.links |= {one.ifindex: one for one in links}
        self.keep_guard()
        self.announce(links)

    def keep_guard(self) -> None:
        """Set the rules again if somebody flushed them (systemd-networkd does, when it starts again)."""
        with suppress(DsrlbError):
            guard.install(self.guarded, self.names)

    def announce(self, links: Iterable[Link] | None = None, vips: Iterable[Address] | None = None) -> None:
        """Tell the network where VIPs are; an interface that is down is told again when it is up."""
        for one in list(self.links.values()) if links is None else links:
            with suppress(DsrlbError):
                ownership.announce(self.all_vips if vips is None else vips, one)

    def probe_for_owners(self) -> None:
        """Ask who else has a VIP; the engine hears the answer."""
        for one in self.links.values():
            with suppress(DsrlbError):
                if one.up:
                    ownership.probe(self.vips, one)

    def look_at_links(self) -> None:
        """Read the interfaces again: MACs and names may have changed; one that came up is announced on."""
        for ifindex, before in list(self.links.items()):
            now = link_at(ifindex) or replace(before, up=False, is_gone=True)
            if (now.up, now.is_gone) != (before.up, before.is_gone):  # one that goes may be seen down before
                state = "up" if now.up else "down (gone)" if now.is_gone else "down"
                log.warning("interface %s is %s", now.name, state)
            self.links[ifindex] = now
            if now.up and (not before.up or now.mac != before.mac):
                self.announce([now])
        self.keep_guard()

    def returned(self) -> dict[int, Link]:
        """Return the interfaces that are there again, made anew, by the index of the one that is gone."""
        back: dict[int, Link] = {}
        for ifindex, before in self.links.items():
            with suppress(OSError, DsrlbError):  # not there yet, or gone again
                if not before.up and link_at(ifindex) is None:
                    back[ifindex] = link(before.name)
        return back

    def take_returned(self, back: Mapping[int, Link]) -> None:
        """Go over to interfaces that were made anew."""
        for ifindex, now in back.items():
            del self.links[ifindex]
            self.links[now.ifindex] = now
            log.warning("interface %s is there again, %s", now.name, "and up" if now.up else "but down yet")
        self.keep_guard()
        self.announce(back.values())

    def warn_of_owned(self) -> dict[Address, str]:
        """Say it when somebody configures a VIP on this host, whose stack then answers; return all such."""
        before, now = self._owned_here, {one.subject: one.sentence for one in vips_owned_here(self.vips)}
        self._owned_here = {vip: now[vip] for vip in self.vips if vip in now}
        for vip, sentence in self._owned_here.items():
            if vip not in before:
                log.warning("%s", sentence)
        return self._owned_here

    def hear_claim(self, frame: bytes, ifindex: int) -> None:
        """Pass on, from the engine's thread, that another machine claims a VIP; not too often."""
        now, links = time.monotonic(), self.links
        for vip in self.vips:
            mac = ownership.claimant(frame, vip)
            if mac is None or ifindex not in links or mac in {one.mac for one in links.values()}:
                continue  # two interfaces on one segment hear each other
            by_asking = ownership.is_question(frame)
            key = vip, mac if mac in self.known_macs else ANYBODY, by_asking
            if now >= self._told_until.get(key, now):
                self._told_until[key] = now + REPORT_CONFLICT_EVERY_S
                self._events.put(("claim", str(vip), person_mac(mac), links[ifindex].name, by_asking))
