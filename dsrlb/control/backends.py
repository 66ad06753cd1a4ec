"""The way to each backend, and the MAC at its end, as they are now."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from dsrlb import modes
from dsrlb.config import Config
from dsrlb.engines.base import Engine
from dsrlb.errors import ConfigError, DsrlbError
from dsrlb.host.links import Link, every_address, link_at
from dsrlb.host.resolver import NextHop, Resolver
from dsrlb.host.watch import Event
from dsrlb.model import Address, Hop, person_mac, wire_address
from dsrlb.modes.base import wraps
from dsrlb.preflight import Ground, Way, find_ways
from dsrlb.table import stand_in
from dsrlb.tunnel import refusing_server

REPORT_REFUSAL_EVERY_S = 600.0

log = logging.getLogger("dsrlb")


class Backends:
    """The backends of a configuration.  The main thread's, but for ``hear_refusal``."""

    def __init__(self, config: Config, ground: Ground, events: queue.SimpleQueue[Event]) -> None:
        """Take the ways that were found.  Raises OSError without CAP_NET_RAW."""
        self._events = events
        self._told: dict[Address, bytes | None] = {}
        self._last_macs: dict[Address, bytes] = {}  # that backends had when they last had one
        self._refused: dict[Address, float] = {}  # backend -> when its next refusal may be told
        self.refused_at: dict[Address, float] = {}  # backend -> when it last refused what is wrapped
        self.refused_own_at: dict[Address, float] = {}  # the same of what was for its own address inside
        self.routes_changed = False
        self._take(config, ground, {})
        self.resolver = Resolver(targets(self.ways, self._fixed_macs, self._lost))

    def _take(self, config: Config, ground: Ground, lost: Mapping[Address, str]) -> None:
        self._config, self._fixed_macs = config, ground.fixed_macs
        self.own = own_addresses(config)
        self.ways = dict(ground.ways)
        self._lost = dict(lost)  # backends without a way, and why
        self._wrapped = wrapped_for(config)
        backends = [one for service in config.forwarded for one in service.backends]
        self._names = {one.address: f"{one.address} ({one.label})" for one in backends if one.label}

    def change_to(self, config: Config, ground: Ground, lost: Mapping[Address, str]) -> None:
        """Go over to another configuration; what is known of backends that stay is kept."""
        self._take(config, ground, lost)
        self._told = {address: mac for address, mac in self._told.items() if address in self.ways}
        self._refused = {address: at for address, at in self._refused.items() if address in self.ways}
        self.resolver.update(targets(self.ways, self._fixed_macs, self._lost))

    @property
    def unresolved(self) -> frozenset[Address]:
        """The backends that get no traffic now."""
        return frozenset(address for address, mac in self._told.items() if mac is None)

    def hears(self, backend: Address) -> bool:
        """Return whether errors about what is sent to a backend are to be heard."""
        return backend in self._wrapped

    def links_to_hear(self) -> dict[int, bytes]:
        """Return ifindex and MAC of the interfaces on which errors about wrapped packets come back."""
        return {way.link.ifindex: way.link.mac for address, way in self.ways.items() if self.hears(address)}

    @property
    def ways_out(self) -> frozenset[int]:
        """The interfaces (ifindex) that frames leave by."""
        return frozenset(way.link.ifindex for way in self.ways.values())

    def add_ways_out(self, engine: Engine) -> None:
        """Let the engine send by every way.  Raises DsrlbError."""
        for address, way in self.ways.items():
            engine.add_way_out(way.link, hears=self.hears(address))

    def macs(self, resolved: Mapping[NextHop, bytes | None]) -> dict[Address, bytes | None]:
        """Return the MAC that frames for each backend go to, None while it is not known."""
        return {
            address: None
            if address in self._lost
            else self._fixed_macs.get(address) or resolved.get(way.asked)
            for address, way in self.ways.items()
        }

    def hops(self, macs: Mapping[Address, bytes | None]) -> dict[Address, Hop | None]:
        """Return the next hop of each backend, as the table takes it."""
        return {address: hop_by(self.ways[address], mac) for address, mac in macs.items()}

    def refresh(self, links: Mapping[int, Link]) -> None:
        """Read the interfaces of the ways again: names, MACs and addresses may have changed."""
        now = {ifindex: links.get(ifindex) or link_at(ifindex) for ifindex in self.ways_out}
        self.ways = {
            address: replace(way, link=now[way.link.ifindex] or way.link)
            for address, way in self.ways.items()
        }
        self.resolver.refresh()

    def look_at_routes(self, links: Iterable[Link], engine: Engine) -> None:
        """Find the way to each backend anew."""
        self.own = own_addresses(self._config)
        found, lost = find_ways(self._config, list(links))
        for address, way in found.items():
            try:
                engine.add_way_out(way.link, hears=self.hears(address))
                self.ways[address] = way
            except DsrlbError as error:  # it is gone again
                lost[address] = str(error)
        self._lost = lost
        self.resolver.update(targets(self.ways, self._fixed_macs, lost))

    def at_mac(self, mac: str) -> list[Address]:
        """Return the backends that have a MAC themselves: no router before them has it."""
        direct = (one for one, way in self.ways.items() if way.next_hop == one)
        return [one for one in direct if person_mac(self._last_macs.get(one, b"")) == mac]

    def tell_changes(self, macs: Mapping[Address, bytes | None]) -> dict[Address, tuple[bytes, bytes]]:
        """Log, once each, which backends are unresolved, found, or at another MAC.

        Return the MACs, before and now, of the last ones.
        """
        known = {address: mac for address, mac in macs.items() if mac is not None}
        moved = {
            address: (old, mac)
            for address, mac in known.items()
            if (old := self._last_macs.get(address, mac)) != mac
        }
        self._last_macs = {one: mac for one, mac in {**self._last_macs, **known}.items() if one in macs}
        before, self._told = self._told, dict(macs)
        for address, mac in macs.items():
            if mac is None and before.get(address, b"") is not None:
                why = self._lost.get(address, _silent(address, self.ways[address]))
                log.warning(
                    "backend %s is unresolved and gets no traffic: %s", self._names.get(address, address), why
                )
            elif mac is not None and before.get(address, mac) != mac:
                log.info("backend %s is at %s", self._names.get(address, address), person_mac(mac))
        return moved

    def hear_refusal(self, frame: bytes) -> None:
        """Pass on, from the engine's thread, that a server does not take wrapped packets; not too often."""
        now, address = time.monotonic(), refusing_server(frame)
        if is_of_a_look(frame, address):
            self.refused_own_at[address] = now
            return
        if address in self._wrapped:
            self.refused_at[address] = now
        if now >= self._refused.get(address, now):
            self._refused[address] = now + REPORT_REFUSAL_EVERY_S
            self._events.put(("refusal", str(address)))


def is_of_a_look(frame: bytes, server: Address) -> bool:
    """Return whether a server refuses what was for its own address inside the tunnel: a check's second look.

    Its address stands there three times: who says it, whom the tunnel led to, whom the packet inside was for.
    """
    return frame.count(server.packed) > 2


def wrapped_for(config: Config) -> frozenset[Address]:
    """Return the backends that packets are wrapped for, about which errors come back."""
    return frozenset(
        backend.address
        for service in config.forwarded
        if wraps(modes.BY_NAME[service.mode], service.options)
        for backend in service.backends
    )


def own_addresses(config: Config) -> frozenset[bytes]:
    """Return the host's addresses, where a server's answer to the host could be taken for a client's."""
    if not any(modes.BY_NAME[one.mode].sees_replies and stand_in(one) is None for one in config.forwarded):
        return frozenset()
    return frozenset(map(wire_address, every_address()))


def targets(
    ways: Mapping[Address, Way], fixed_macs: Mapping[Address, bytes], lost: Mapping[Address, str]
) -> frozenset[NextHop]:
    """Return the next hops whose MAC is to be found, with the interface to ask on."""
    return frozenset(
        way.asked for address, way in ways.items() if address not in fixed_macs and address not in lost
    )


def refuse_if_none_answers(macs: Mapping[Address, bytes | None], within_s: float) -> None:
    """Raise ConfigError if there are backends to ask and not one answered: nothing could be forwarded."""
    silent = [str(address) for address, mac in macs.items() if mac is None]
    if silent and len(silent) == len(macs):
        raise ConfigError(
            f"No backend can be reached: {', '.join(silent)} did not answer ARP or neighbour discovery "
            f"within {within_s:.0f} s; check that they are up and on this network, or start "
            "with --force to wait for them."
        )


def hop_by(way: Way, mac: bytes | None) -> Hop | None:
    """Return the next hop by a way, as the table takes it; None: its MAC is not known."""
    source = wire_address(way.source) if way.source is not None else None
    return Hop(way.link.ifindex, way.link.mac, mac, way.mtu_bytes, source) if mac else None


def _silent(backend: Address, way: Way) -> str:
    router = f" of router {way.next_hop}" if way.next_hop != backend else ""
    return f"no answer{router} on {way.link.name}."
