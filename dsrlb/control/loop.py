"""The control loop: events and clock ticks, nearly all of which have one reaction: look again.

Everything that happens (a neighbour, a link, a signal, another machine's claim) is a small event on one
queue.  So a lost or doubled event costs a look, never a wrong table.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from dsrlb import table as tables
from dsrlb.config import Config, located
from dsrlb.control.backends import Backends, refuse_if_none_answers
from dsrlb.control.checks import Checks
from dsrlb.control.durable import Durable, state_path
from dsrlb.control.engine import keeps, open_engine
from dsrlb.control.front import Front
from dsrlb.control.history import History
from dsrlb.control.kept_totals import KeptTotals, totals_path
from dsrlb.control.left import needed, take_back_stale
from dsrlb.control.observed import Observed
from dsrlb.control.planned_slots import moved_rows
from dsrlb.control.proxied import Proxied
from dsrlb.control.reload import RESOLVE_WITHIN_S, Prepared, Reload, Running, changes, wait_for_macs
from dsrlb.control.reloading import Heard, Reloads
from dsrlb.control.remarking import Remarking
from dsrlb.control.standings import Standings
from dsrlb.control.takeover import finish, stage, unstage
from dsrlb.control.ticks import Tick
from dsrlb.control.traces import Trace
from dsrlb.control.wishes import Wishes
from dsrlb.engines.base import Counters, Engine, Hears
from dsrlb.engines.choice import EngineChoice
from dsrlb.engines.report import lines
from dsrlb.errors import ConfigError, DsrlbError
from dsrlb.host import guard
from dsrlb.host.notify import READY, WATCHDOG, notify, watchdog_every_s
from dsrlb.host.output import print_lines
from dsrlb.host.resolver import NextHop
from dsrlb.host.watch import Event, Watch
from dsrlb.outliers import LOOK_S
from dsrlb.preflight import Ground, links_of_answers, other_owners
from dsrlb.standing import Ejection, Health, Wish
from dsrlb.transition import carry

LOOK_EVERY_S = 0.28  # three looks fit into the second within which a server's new MAC is followed
PROBE_EVERY_S = 2.0
ROUTES_EVERY_S = 0.5  # at most: a flapping route costs a look, however often it flaps
ANNOUNCE_AGAIN_AFTER_S = 1.0
TEND_EVERY_S = 1.0
WEIGH_EVERY_S = 1.0
DRAINS_EVERY_S = 1.0
KEEP_EVERY_S = 10.0
PROXY_EVERY_S = 0.2
COMPLAIN_AFTER_S = 60.0  # a failure that had stayed away that long is told again

log = logging.getLogger("dsrlb")


class Loop:
    """What the reactions share.  Only the main thread is ever in here."""

    engine: Engine  # from ``begin`` on

    def __init__(
        self,
        config: Config,
        ground: Ground,
        claim: guard.Claim,
        events: queue.SimpleQueue[Event],
        force: bool,
        choice: EngineChoice,
    ) -> None:
        self.config, self.events, self.force, self.choice = config, events, force, choice
        self.front = Front(ground, claim, events)
        self.backends = Backends(config, ground, events)
        self.standings = Standings(config.services)
        self.wishes = Wishes(self.standings, Durable(state_path(choice.state_dir, choice.instance)))
        self.totals = KeptTotals(totals_path(choice.state_dir, choice.instance))
        self.known: tables.Known = {}
        self.checks = Checks(events, self.backends.refused_at, self.backends.refused_own_at)
        self.remarking = Remarking(self.checks.remarks)
        self.observed = Observed(config.services, self.standings, self.checks, events)
        self.proxied = Proxied(choice.haproxy_at, keeps=keeps(choice, config))
        self.complaints: dict[str, float] = {}  # what failed lately, and when it did last
        self.reloads = Reloads(self.prepare, self.change_to)
        self.history = History(Path(choice.state_dir) / f"{choice.instance}.configs")
        self.moved: list[dict[str, Any]] = []  # slots that changed hands by the last reload, by service
        self.is_changed = False  # what the table goes by, since the last look
        self.ticks: list[Tick] = []
        self.trace: Trace | None = None  # that somebody has begun by the admin socket

    def begin(self, undo: ExitStack) -> None:
        """Do all that comes before the first packet."""
        front = self.front
        macs = wait_for_macs(self.backends.resolver, lambda: not self.events.empty())
        if not self.force and self.events.empty():
            refuse_if_none_answers(self.backends.macs(macs), RESOLVE_WITHIN_S)
        self.check_owners()
        undo.callback(self.proxied.close)
        self.proxied.prepare(self.config.proxied)
        hears = Hears(front.hear_claim, self.hear_failure, self.backends.hear_refusal)
        engine = self.engine = open_engine(self.choice, self.config, front, hears)
        undo.callback(engine.close)
        self.totals.begin(engine, self.counters)
        undo.callback(self.totals.end)
        self.backends.add_ways_out(engine)
        self.standings.adopt(engine.table)
        self.standings.adopt_down(self.proxied.down_before(self.config.proxied))
        self.wishes.begin(time.monotonic())
        guard.install(front.guarded, front.names)
        watch = Watch(self.events)
        undo.callback(watch.stop)
        self.events.put(("resync",))  # what changed since the survey
        self.reconcile(macs)
        # What a program that was at work served before, and where, is over now.
        engine.narrow(list(front.links.values()), front.wire_vips, self.backends.ways_out)
        take_back_stale(self.choice.bpf_fs)
        engine.start()
        self.proxied.change_to(self.config.proxied, front.names[0], self.standings.effective(0))
        self.checks.change_to(self.config.services, self.standings.of)
        front.announce()

    def check_owners(self) -> None:
        """Refuse (or warn) when another machine answers for a VIP on one of the interfaces."""
        links = list(self.front.links.values())
        taken = other_owners([(vip, one) for vip in self.front.all_vips for one in links], links)
        if taken and not self.force:
            raise ConfigError(*located(self.config, taken))
        for one in taken:
            log.warning("%s", one.sentence)

    def give_back(self) -> tuple[guard.Guarded, ...]:
        """Give back the claim, and the rules unless frames are still taken; return what stays guarded."""
        engine: Engine | None = getattr(self, "engine", None)  # a start may fail before there is one
        guarded = self.front.guarded
        is_left = engine is not None and engine.outlives
        stays = guarded if is_left else tuple(needed(self.choice.bpf_fs, guarded))
        self.front.give_back(stays)
        return stays

    def close(self) -> None:
        """Stop the checks; give back what was opened before the engine."""
        self.wishes.durable.close()
        self.history.close()
        self.checks.close()
        self.backends.resolver.close()

    # ------------------------------------------------------------------------- events

    def run(self) -> None:
        """Say that all is ready; react to events, and look by the clock, until told to stop."""
        names = ", ".join(service.name for service in self.config.services)
        log.info("ready: %s on %s", names, ", ".join(self.front.names))
        notify(READY)
        self.keep_config()
        self.ticks = [
            Tick(LOOK_S, lambda: self.observed.watch(self.engine)),
            Tick(LOOK_EVERY_S, lambda: self.reconcile(self.backends.resolver.step(time.monotonic()))),
            Tick(PROBE_EVERY_S, self.front.probe_for_owners),
            Tick(ROUTES_EVERY_S, self.look_for_returned),
            Tick(ROUTES_EVERY_S, self.look_at_routes),
            Tick(TEND_EVERY_S, self.engine.tend),
            Tick(WEIGH_EVERY_S, self.weigh),
            Tick(DRAINS_EVERY_S, self.look_at_drains),
            Tick(KEEP_EVERY_S, self.totals.keep),
            Tick(LOOK_EVERY_S, self.totals.hurry),
            Tick(PROXY_EVERY_S, self.proxied.tend),
            Tick(ANNOUNCE_AGAIN_AFTER_S, self.front.announce, once=True),
        ]
        if (every_s := watchdog_every_s()) is not None:
            self.ticks.append(Tick(every_s, lambda: notify(WATCHDOG)))
        while True:
            with suppress(queue.Empty):
                due = min(tick.due for tick in self.ticks)
                event = self.events.get(timeout=max(0.0, due - time.monotonic()))
                if event[0] == "stop":
                    self.engine.stop()
                    self.engine.hand_on()
                    return self.print_counters()
                if event[0] == "failure":
                    raise DsrlbError(f"The {self.engine.name} engine failed: {event[1]}; please report this.")
                self.attempt(partial(self.react, event))
            for tick in self.ticks:
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
            case ("reload",):
                self.begin_reload()
            case ("call", do) if callable(do):  # by who sees and steers from beside
                do()
            case ("prepared",):
                self.reloads.end()
            case ("claim", str(vip), str(mac), str(interface), bool(by_asking)):
                log.warning("VIP %s is also claimed by %s on %s; announcing it again", vip, mac, interface)
                self.front.announce()
                whose = self.backends.at_mac(mac)
                self.remarking.claimed(ip_address(vip), mac, interface, whose, by_asking=by_asking)
            case ("refusal", str(backend)):
                log.warning(
                    "backend %s does not unwrap what it is sent (it says so by ICMP); "
                    "set it up: dsrlb backend setup --mode l3dsr",
                    backend,
                )
            case ("neighbour",):
                self.is_changed = True
            case ("standing", bytes(service), bytes(backend), Health() | Ejection() | Wish() as change):
                self.standings.hear((service, backend), change, time.monotonic())
                self.observed.relent(self.engine.table)
                self.is_changed = True
            case ("rule",):
                self.front.keep_guard()
                self.checks.keep_rules()
            case ("route",):  # a routing daemon may send many: the next look at the routes serves them all
                self.backends.routes_changed = True
            case _:
                self.backends.routes_changed = True
                self.front.look_at_links()
                self.backends.refresh(self.front.links)
                self.is_changed = True
        if self.is_changed and self.events.empty():  # many may come at once: one look serves them all
            self.is_changed = False
            self.look_again()

    # ------------------------------------------------------------------------- looking

    def look_at_routes(self) -> None:
        """Find the way to each backend anew, if routes or addresses changed since the last time."""
        if self.backends.routes_changed:
            self.backends.look_at_routes(self.front.links.values(), self.engine)
            self.follow_answers()
            self.remarking.owned(self.front.warn_of_owned())
            self.backends.routes_changed = False  # only now: a look that failed is taken again

    def look_for_returned(self) -> None:
        """Take frames again on interfaces that were deleted and made anew."""
        if back := self.front.returned():
            self.engine.widen(list(back.values()), self.front.wire_vips)
            self.front.take_returned(back)
            self.engine.narrow(list(self.front.links.values()), self.front.wire_vips, self.backends.ways_out)
            self.backends.routes_changed = True
            self.look_again()

    def follow_answers(self) -> None:
        """Hear inline servers on the interfaces behind which they are now."""
        links = links_of_answers(self.config, self.backends.ways, list(self.front.links.values()))
        if links:
            self.engine.widen(links, self.front.wire_vips)
            self.front.also(links)

    def look_again(self) -> None:
        """Have the table as it is to be by what is known now, without asking anybody."""
        self.reconcile(self.backends.resolver.known(time.monotonic()))

    def reconcile(self, resolved: Mapping[NextHop, bytes | None]) -> None:
        """Compile the table from what is known now, and install it if it differs."""
        macs = self.backends.macs(resolved)
        front = {ifindex: one.mac for ifindex, one in self.front.links.items()}
        interfaces = self.backends.links_to_hear() | front
        mtus = {ifindex: one.mtu_bytes for ifindex, one in self.front.links.items()}
        hops, said = self.backends.hops(macs), self.standings.effective(time.monotonic())
        self.checks.see(hops, self.backends.ways)
        services, own = self.config.forwarded, self.backends.own
        table = tables.compile_table(services, hops, interfaces, mtus, said, self.known, own)
        table = carry(self.engine.table, table, int(time.monotonic()))
        if tables.diff(self.engine.table, table):
            self.engine.install(table)
        self.proxied.reconcile(said)
        self.remarking.moved(self.backends.tell_changes(macs))
        self.front.known_macs = frozenset(filter(None, macs.values()))

    def weigh(self) -> None:
        """Let servers have the weights that their response times leave them."""
        if self.observed.weigh(self.config.services, self.engine, self.proxied.answers):
            self.look_again()

    def look_at_drains(self) -> None:
        """Let go of what drained backends still have whose time is over."""
        if self.wishes.look(self.counters, self.table(), time.monotonic()):
            self.look_again()

    def show_ways(self) -> None:
        """Tell the checks of the way to each backend."""
        macs = self.backends.macs(self.backends.resolver.known(time.monotonic()))
        self.checks.see(self.backends.hops(macs), self.backends.ways)

    def table(self) -> tables.ForwardingTable:
        """Return the table in use, with services of mode proxy beside those that are forwarded."""
        table = self.engine.table
        return (
            replace(table, services={**table.services, **self.proxied.table}) if self.proxied.table else table
        )

    def counters(self) -> Counters:
        """Return what the engine has counted, and HAProxy."""
        counted, more, refused = self.engine.counters(), self.proxied.counts(), self.proxied.refused()
        if not more and not refused:
            return counted
        ends = {**counted.ends, **more}  # HAProxy counts are those since this process began
        return counted._replace(backends={**counted.backends, **more}, ends=ends, refused=refused)

    def hear_failure(self, error: Exception) -> None:
        """Pass on, from the engine's thread, that it ended."""
        log.debug("engine", exc_info=error)
        self.events.put(("failure", repr(error)))

    def print_counters(self) -> None:
        """Print the counters on stdout; that nobody reads them is no failure."""
        if fault := print_lines(lines(self.counters(), self.table(), self.config.services)):
            log.warning("the counters could not be printed: %s", fault)

    # ------------------------------------------------------------------------- reload

    def begin_reload(self, *tell: Heard) -> None:
        """Begin to prepare what the file says now, and ``tell`` what came of it."""
        self.reloads.begin(*tell)

    def prepare(self) -> Reload:
        """Begin to prepare what the file says now."""
        return Reload(self.running(), self.events)

    def running(self) -> Running:
        """Return what is there before a reload."""
        links = tuple(self.front.links.values())
        trial = self.proxied.trial(self.standings.effective(time.monotonic()))
        return Running(self.config, links, self.backends.unresolved, self.force, self.front.lent, trial)

    def keep_config(self) -> None:
        """Keep what is in force now, for a rollback."""
        if self.config.origin is not None:
            self.history.keep(self.config.origin.content)

    def change_to(self, new: Prepared) -> None:
        """Go over to another configuration.

        First everything that can fail, beside what runs; then the table; then what is over is given back.
        """
        ways = new, self.front, self.backends, self.engine, self.choice.bpf_fs
        with ExitStack() as undo:
            undo.callback(unstage, *ways)
            stage(*ways)
            said = self.standings.effective(time.monotonic())
            self.proxied.change_to(new.config.proxied, new.ground.links[0].name, said, new.checked)
            undo.pop_all()
        old, self.config, before = self.config, new.config, self.engine.table.services
        fresh = [vip for vip in (*new.ground.vips, *new.ground.lent) if vip not in self.front.all_vips]
        self.backends.change_to(new.config, new.ground, new.lost)
        self.standings.change_to(new.config.services, time.monotonic())
        self.wishes.change_to(time.monotonic())
        self.attempt(self.show_ways)  # before anybody new is asked
        self.checks.change_to(new.config.services, self.standings.of)
        self.observed.change_to(new.config.services, self.engine.table)
        gone = self.front.change_to(new.ground, new.claim)
        self.attempt(self.look_again)
        self.moved = moved_rows(before, self.engine.table.services)
        finish(gone, self.front, self.backends, self.engine)
        self.front.announce(vips=fresh)
        self.ticks = [tick for tick in self.ticks if not tick.is_over]
        self.ticks.append(Tick(ANNOUNCE_AGAIN_AFTER_S, self.front.announce, once=True))
        self.keep_config()
        renewed = ["certificates"] if self.proxied.is_renewed else []
        done = ", ".join([*changes(old, new.config), *renewed]) or "nothing changed"
        log.info("reloaded %s: %s", new.config.origin.file if new.config.origin else "", done)
        notify(f"{READY}\nSTATUS=reloaded: {done}")
