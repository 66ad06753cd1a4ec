"""The control loop: look at the host, compile the table, install it if it changed.

Everything that happens (a neighbour, a link, a signal, another machine's claim) is a small event
on one queue, and nearly all of it has one reaction: look again.  So a lost or doubled event costs
a look, never a wrong table.
"""

from __future__ import annotations

import logging
import queue
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial

from dsrlb import modes
from dsrlb import table as tables
from dsrlb.config import Config, located
from dsrlb.engines.packet import PacketEngine
from dsrlb.engines.report import lines
from dsrlb.errors import ConfigError, DsrlbError
from dsrlb.host import guard, ownership
from dsrlb.host.links import Link, link_at
from dsrlb.host.notify import READY, STOPPING, notify
from dsrlb.host.output import print_lines
from dsrlb.host.privileges import require_network
from dsrlb.host.resolver import Resolver
from dsrlb.host.watch import Event, Watch
from dsrlb.model import Address, Hop, person_mac, wire_address
from dsrlb.modes.base import wraps
from dsrlb.preflight import Ground, Way, find_ways, other_owners, survey, vips_owned_here
from dsrlb.tunnel import refusing_server

RESOLVE_WITHIN_S = 3.0
LOOK_EVERY_S = 0.28  # three looks fit into the second within which a server's new MAC is followed
PROBE_EVERY_S = 2.0
ROUTES_EVERY_S = 0.5  # at most: a flapping route costs a look, however often it flaps
REPORT_REFUSAL_EVERY_S = 600.0
REPORT_CONFLICT_EVERY_S = 10.0  # RFC 5227 section 1.1, DEFEND_INTERVAL
ANNOUNCE_AGAIN_AFTER_S = 1.0
COMPLAIN_AFTER_S = 60.0  # a failure that had stayed away that long is told again

log = logging.getLogger("dsrlb")


def serve(config: Config, *, force: bool = False) -> None:
    """Balance until SIGTERM or SIGINT, then take back everything that was set on the host.

    Raises ConfigError or HostError, with nothing left behind, when it cannot begin.
    """
    require_network("dsrlb serve")
    ours = {service.vip for service in config.services}
    for vip in guard.remove_stale(keep=ours):  # our own are taken over: without them the host would answer
        log.info("took back the rules that a crashed run left for VIP %s", vip)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: events.put(("stop",)))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # flags cannot be reloaded, and rules must be taken back
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until then: an event ends the start early
    with ExitStack() as undo:
        undo.callback(guard.remove_stale)  # last of all: a start that fails leaves none, whoever set them
        ground = survey(config, force=force)
        undo.callback(guard.claim(ground.vips).release)
        undo.callback(guard.remove, ground.vips)  # before any rule is set
        loop = _Loop(config, ground, events, undo)
        loop.begin(force)
        signal.signal(signal.SIGUSR1, lambda *_: events.put(("counters",)))
        loop.run()
        notify(STOPPING)


class _Loop:
    """What the reactions share.  Only the main thread is ever in here."""

    def __init__(
        self, config: Config, ground: Ground, events: queue.SimpleQueue[Event], undo: ExitStack
    ) -> None:
        self.config, self.ground, self.events, self.undo = config, ground, events, undo
        self.ways = dict(ground.ways)
        self.lost: dict[Address, str] = {}  # backends without a way, and why
        self.owned_here: list[str] = []
        self.complaints: dict[str, float] = {}  # what failed lately, and when it did last
        self.links = {one.ifindex: one for one in ground.links}
        self.routes_changed = False
        self.resolver = Resolver(self.to_resolve())
        undo.callback(self.resolver.close)
        self.macs: Mapping[Address, bytes | None] = {}
        self.told: dict[Address, bytes | None] = {}
        self.reported: dict[Address, float] = {}  # VIP -> when its next claim may be told
        self.refused: dict[Address, float] = {}  # backend -> when its next refusal may be told
        self.wrapped = {  # backends that packets are wrapped for, of which errors come back
            backend.address
            for service in config.services
            if wraps(modes.BY_NAME[service.mode], service.options)
            for backend in service.backends
        }

    def begin(self, force: bool) -> None:
        """Do all that comes before the first packet, and say so."""
        ground, undo = self.ground, self.undo
        self.resolve_first(force)
        self.check_owners(force)
        vips = [wire_address(vip) for vip in ground.vips]
        self.engine = PacketEngine(ground.links, vips, self.hear_claim, self.hear_failure, self.hear_refusal)
        undo.callback(self.engine.close)
        for address, way in self.ways.items():
            self.engine.add_way_out(way.link, hears=address in self.wrapped)
        guard.install(ground.vips, [one.name for one in ground.links])
        watch = Watch(self.events)
        undo.callback(watch.stop)
        self.events.put(("resync",))  # what changed since the survey
        self.reconcile(self.macs)
        self.engine.start()
        self.announce(ground.links)
        names = ", ".join(service.name for service in self.config.services)
        log.info("ready: %s on %s", names, ", ".join(one.name for one in ground.links))
        notify(READY)

    def resolve_first(self, force: bool) -> None:
        """Find the MACs of the backends; refuse when not one answers, since nothing could be forwarded."""
        until = time.monotonic() + RESOLVE_WITHIN_S
        macs = self.resolver.step(time.monotonic())
        while not all(macs.values()) and time.monotonic() < until and self.events.empty():
            time.sleep(0.05)
            macs = self.resolver.step(time.monotonic())
        self.macs = macs
        backends = self.backend_macs(macs)
        silent = [str(address) for address, mac in backends.items() if mac is None]
        if silent and len(silent) == len(backends) and not force and self.events.empty():
            raise ConfigError(
                f"No backend can be reached: {', '.join(silent)} did not answer ARP or neighbour discovery "
                f"within {RESOLVE_WITHIN_S:.0f} s; check that they are up and on this network, or start "
                "with --force to wait for them."
            )

    def check_owners(self, force: bool) -> None:
        """Refuse (or warn) when another machine answers for a VIP on one of the interfaces."""
        taken = other_owners(self.ground)
        if taken and not force:
            raise ConfigError(*located(self.config, taken))
        for one in taken:
            log.warning("%s", one.sentence)

    def run(self) -> None:
        """React to events, and look by the clock, until told to stop."""
        ticks = [
            _Tick(LOOK_EVERY_S, lambda: self.reconcile(self.resolver.step(time.monotonic()))),
            _Tick(PROBE_EVERY_S, self.probe_for_owners),
            _Tick(ROUTES_EVERY_S, self.look_at_routes),
            _Tick(ANNOUNCE_AGAIN_AFTER_S, lambda: self.announce(self.links.values()), once=True),
        ]
        while True:
            with suppress(queue.Empty):
                event = self.events.get(timeout=max(0.0, min(tick.due for tick in ticks) - time.monotonic()))
                if event[0] == "stop":
                    self.engine.stop()
                    return self.print_counters()
                if event[0] == "failure":
                    raise DsrlbError(f"The packet engine failed: {event[1]}; please report this.")
                self.attempt(partial(self.react, event))
            for tick in ticks:
                self.attempt(tick.run_if_due)

    def attempt(self, do: Callable[[], None]) -> None:
        """Do it; what goes on failing is told once, and the engine forwards on with the last good table."""
        try:
            do()
        except Exception as error:
            now, sentence = time.monotonic(), f"{type(error).__name__}: {error}"
            lately = {one: at for one, at in self.complaints.items() if now - at < COMPLAIN_AFTER_S}
            if sentence not in lately:
                log.warning("looking at the host failed (%s); forwarding goes on as it was", sentence)
                log.debug("traceback", exc_info=True)
            self.complaints = {**lately, sentence: now}

    def react(self, event: Event) -> None:
        """Do what an event asks for; most ask for a look."""
        match event:
            case ("counters",):
                self.print_counters()
            case ("claim", str(vip), str(mac), str(interface)):
                log.warning("VIP %s is also claimed by %s on %s; announcing it again", vip, mac, interface)
                self.announce(self.links.values())
            case ("refusal", str(backend)):
                log.warning(
                    "backend %s does not unwrap what it is sent (it says so by ICMP); "
                    "set it up: dsrlb backend setup --mode l3dsr",
                    backend,
                )
            case ("neighbour",):
                self.reconcile(self.resolver.known(time.monotonic()))
            case ("rule",):
                self.keep_guard()
            case ("route",):  # a routing daemon may send many: the next look at the routes serves them all
                self.routes_changed = True
            case _:
                self.routes_changed = True
                self.look_at_links()
                self.reconcile(self.resolver.known(time.monotonic()))

    def look_at_links(self) -> None:
        """Read the interfaces again: MACs and names may have changed; one that came up is announced on."""
        for ifindex, before in list(self.links.items()):
            now = link_at(ifindex) or replace(before, up=False)
            if now.up != before.up:
                lasting = "" if now.up or link_at(ifindex) else " (gone: when it is back, restart dsrlb)"
                log.warning("interface %s is %s%s", now.name, "up" if now.up else "down", lasting)
            self.links[ifindex] = now
            if now.up and (not before.up or now.mac != before.mac):
                self.announce([now])
        self.keep_guard()
        self.ways = {
            address: replace(
                way, link=self.links.get(way.link.ifindex) or link_at(way.link.ifindex) or way.link
            )
            for address, way in self.ways.items()
        }
        self.resolver.refresh()

    def look_at_routes(self) -> None:
        """Find the way to each backend anew, if routes or addresses changed since the last time."""
        if not self.routes_changed:
            return
        found, lost = find_ways(self.config, list(self.links.values()))
        for address, way in found.items():
            try:
                self.engine.add_way_out(way.link, hears=address in self.wrapped)
                self.ways[address] = way
            except DsrlbError as error:  # it is gone again
                lost[address] = str(error)
        self.lost = lost
        self.resolver.update(self.to_resolve())
        self.warn_of_owned()
        self.routes_changed = False  # only now: a look that failed is taken again

    def warn_of_owned(self) -> None:
        """Say it when somebody configures a VIP on this host: its own stack answers then."""
        before, self.owned_here = self.owned_here, [one.sentence for one in vips_owned_here(self.ground.vips)]
        for sentence in self.owned_here:
            if sentence not in before:
                log.warning("%s", sentence)

    def to_resolve(self) -> dict[Address, int]:
        """Return the next hops whose MAC is to be found, with the interface to ask on."""
        fixed = self.ground.fixed_macs
        return {
            way.next_hop: way.link.ifindex
            for address, way in self.ways.items()
            if address not in fixed and address not in self.lost
        }

    def backend_macs(self, resolved: Mapping[Address, bytes | None]) -> dict[Address, bytes | None]:
        """Return the MAC that frames for each backend go to, None while it is not known."""
        fixed = self.ground.fixed_macs
        return {
            address: None if address in self.lost else fixed.get(address) or resolved.get(way.next_hop)
            for address, way in self.ways.items()
        }

    def reconcile(self, resolved: Mapping[Address, bytes | None]) -> None:
        """Compile the table from what is known now, and install it if it differs."""
        macs = self.backend_macs(resolved)
        hops = {address: _hop(self.ways[address], mac) for address, mac in macs.items()}
        ears = {way.link.ifindex: way.link.mac for a, way in self.ways.items() if a in self.wrapped}
        interfaces = ears | {ifindex: one.mac for ifindex, one in self.links.items()}
        table = tables.compile_table(self.config.services, hops, interfaces)
        if tables.diff(self.engine.table, table):
            self.engine.install(table)
        self.tell_changes(macs)

    def tell_changes(self, macs: dict[Address, bytes | None]) -> None:
        """Log, once each, which backends are unresolved, found, or at another MAC."""
        before, self.told = self.told, dict(macs)
        for address, mac in macs.items():
            if mac is None and before.get(address, b"") is not None:
                why = self.lost.get(address, _silent(address, self.ways[address]))
                log.warning("backend %s is unresolved and gets no traffic: %s", address, why)
            elif mac is not None and before.get(address, mac) != mac:
                log.info("backend %s is at %s", address, person_mac(mac))

    def announce(self, links: Iterable[Link]) -> None:
        """Tell the network where the VIPs are; an interface that is down is told again when it is up."""
        for one in links:
            with suppress(DsrlbError):
                ownership.announce(self.ground.vips, one)

    def keep_guard(self) -> None:
        """Set the rules again if somebody flushed them (systemd-networkd does, when it starts again)."""
        with suppress(DsrlbError):
            guard.install(self.ground.vips, [one.name for one in self.links.values()])

    def probe_for_owners(self) -> None:
        """Ask who else has a VIP; the engine hears the answer."""
        for one in self.links.values():
            with suppress(DsrlbError):
                if one.up:
                    ownership.probe(self.ground.vips, one)

    def hear_claim(self, frame: bytes, ifindex: int) -> None:
        """Pass on, from the engine's thread, that another machine claims a VIP; not too often."""
        now, own = time.monotonic(), {one.mac for one in self.links.values()}
        for vip in self.ground.vips:
            mac = ownership.claimant(frame, vip)
            if mac is None or mac in own or ifindex not in self.links:  # two on one segment hear each other
                continue
            if now >= self.reported.get(vip, now):
                self.reported[vip] = now + REPORT_CONFLICT_EVERY_S
                self.events.put(("claim", str(vip), person_mac(mac), self.links[ifindex].name))

    def hear_refusal(self, frame: bytes) -> None:
        """Pass on, from the engine's thread, that a server does not take wrapped packets; not too often."""
        now, address = time.monotonic(), refusing_server(frame)
        if now >= self.refused.get(address, now):
            self.refused[address] = now + REPORT_REFUSAL_EVERY_S
            self.events.put(("refusal", str(address)))

    def hear_failure(self, error: Exception) -> None:
        """Pass on, from the engine's thread, that it ended."""
        log.debug("packet engine", exc_info=error)
        self.events.put(("failure", repr(error)))

    def print_counters(self) -> None:
        """Print the counters on stdout; that nobody reads them is no failure."""
        if fault := print_lines(lines(self.engine.state, self.engine.table)):
            log.warning("the counters could not be printed: %s", fault)


def _hop(way: Way, mac: bytes | None) -> Hop | None:
    source = wire_address(way.source) if way.source is not None else None
    return Hop(way.link.ifindex, way.link.mac, mac, way.mtu_bytes, source) if mac else None


def _silent(backend: Address, way: Way) -> str:
    router = f" of router {way.next_hop}" if way.next_hop != backend else ""
    return f"no answer{router} on {way.link.name}."


class _Tick:
    """Something to do every so often."""

    def __init__(self, every_s: float, do: Callable[[], None], *, once: bool = False) -> None:
        self.every_s = every_s if not once else float("inf")
        self.do, self.due = do, time.monotonic() + every_s

    def run_if_due(self) -> None:
        """Do it if its time has come."""
        if time.monotonic() >= self.due:
            self.due = time.monotonic() + self.every_s
            self.do()
