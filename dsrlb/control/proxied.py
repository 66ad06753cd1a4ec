"""Services of mode proxy: the addresses that this host has for them, and HAProxy, kept as it should be.

::

    prepare     is all there, is each place free, does HAProxy take the configuration    nothing is touched
    change_to   addresses, then HAProxy (a reload where it runs), then addresses of before are taken back
    reconcile   how servers stand, by the runtime API
    tend        HAProxy again where it ended, certificates again where they changed
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from dsrlb.control.proxy_counts import Counting, Counts, Key
from dsrlb.control.proxy_ports import bound
from dsrlb.control.proxy_revival import Revival
from dsrlb.control.proxy_silence import Silence
from dsrlb.control.proxy_table import as_new, compiled, count_of, keys_of, moved, transparent, user
from dsrlb.control.proxy_trial import tried
from dsrlb.control.renewal import Renewal
from dsrlb.engines.haproxy import refusals, render, runtime
from dsrlb.engines.haproxy.lock import Lock
from dsrlb.engines.haproxy.names import entries
from dsrlb.engines.haproxy.process import Places, Process, running
from dsrlb.engines.haproxy.program import check, program, version
from dsrlb.errors import ConfigError, DsrlbError, HostError
from dsrlb.flows import BackendCount
from dsrlb.host import certificates
from dsrlb.host.addresses import Addresses, added_before
from dsrlb.host.transparent import TransparentRules
from dsrlb.model import Address, Service
from dsrlb.standing import ALL_UP, Effective, Names, named
from dsrlb.table import CompiledService

ASKED_AT_ONCE = 64  # tables: HAProxy takes a line of 16 KiB
KEEP_ADDRESSES_EVERY_S = 1.0
COUNT_EVERY_S = 1.0  # what is younger is lost with a HAProxy that is killed
SILENT_S = 2.0  # after which one that did not take commands is told again

log = logging.getLogger("dsrlb")


class Proxied:
    """HAProxy for the services of a configuration; nothing at all while there are none.

    The main thread's.
    """

    def __init__(self, folder: Path, *, keeps: bool) -> None:
        """Take where its files are, and whether it is to go on when this process stops."""
        self.places, self._keeps = Places(folder), keeps
        self.services: tuple[Service, ...] = ()
        self.process: Process | None = None
        self.table: Mapping[bytes, CompiledService] = {}  # the services, for their shares
        self.revival = Revival()
        self.version = ""  # of HAProxy
        self.reloads = 0
        self.lock = Lock(folder)
        self._addresses: Addresses | None = None
        self._rules: TransparentRules | None = None
        self._said: dict[tuple[str, str], render.ServerState] = {}
        self._gone: frozenset[Names] = frozenset()
        self._why_untold = ""
        self._counting = Counting(self.places)
        self._renewal = Renewal()
        self.is_renewed = False  # whether files of certificates were all that the last change was about
        self._checked = ""  # what HAProxy takes, as was tried before a start
        self._silence = Silence()
        self._is_loading = False  # a reload takes long
        self._is_taken = True  # what was loaded last
        self._refusals = refusals.Refusals()
        self._addresses_due_s = self._tell_due_s = self._count_due_s = 0.0

    # ------------------------------------------------------------------------- a start, a reload, the end

    def prepare(self, services: Sequence[Service]) -> None:
        """Raise ConfigError or HostError if these cannot be served; nothing is touched."""
        if not services:
            return
        path = program()
        self._hold()
        process = self.process or Process(path, self.places)
        if not self.revival.is_at_work and process.lost:
            raise HostError(f"HAProxy cannot be reloaded: {process.lost}")
        self._checked = tried(services, self.places, ALL_UP, self._ours(process))

    def trial(self, effective: Effective) -> Callable[[Sequence[Service]], str]:
        """Return what tries services on any thread, as to stand so; what it returns, ``change_to`` takes."""
        ours = self._ours(self.process)
        return lambda services: tried(services, self.places, effective, ours)

    def _ours(self, process: Process | None) -> set[str]:
        return bound(self.places.configuration) if process is not None and process.is_running else set()

    def change_to(
        self, services: Sequence[Service], interface: str, effective: Effective, checked: str = ""
    ) -> None:
        """Serve these from now on.  Raises ConfigError or HostError: all is as it was then.

        ``checked``: a configuration with which HAProxy has just found nothing wrong.
        """
        services, self.is_renewed = tuple(services), False
        checked, self._checked = checked or self._checked, ""
        if not services:
            return self._end()
        path = program()
        self._hold()
        is_same = self._is_same(services)
        process, table = self.process or self._found(path), compiled(services, effective)
        states = render.states(services, table)
        text = self._text(services, states)
        fresh = self._written(path, text, is_checked=is_same or text == checked)
        if is_same and process.is_running:  # how servers stand is told without a reload
            fresh.replace(self.places.configuration)
            self.services, self.table = services, table
            return self.reconcile(effective)
        self._put_in_use(process, fresh, services, interface)
        self.version = version(path)
        self._counting.forget(moved(self.services, services))
        self.process, self.services, self._said, self.table = process, services, states, table
        self._gone = effective.gone
        self.revival.forget()
        with suppress(HostError):  # one that is over and stays does no harm
            self._have_addresses(services, interface)
        self._renewal.note(services, time.monotonic())  # what changes from here on is loaded later

    def _found(self, path: str) -> Process:
        """Return the HAProxy that a process before this one left; or one that is not started yet."""
        process = Process(path, self.places)
        if process.is_running:
            log.info("HAProxy (process %s) is at work already: it is taken over", process.pid)
            self._counting.adopt()
        return process

    def _put_in_use(self, process: Process, fresh: Path, services: Sequence[Service], interface: str) -> None:
        """Let HAProxy serve by another configuration; if it does not, all is as it was."""
        in_use = self.places.configuration
        before, had = in_use.read_bytes() if in_use.exists() else None, added_before(self.places.addresses)
        self._addresses = self._addresses or Addresses(self.places.addresses)
        self._rules = self._rules or TransparentRules(self.places.transparent)
        had_rules = self._rules.ours
        try:
            self._addresses.add({one.vip for one in services}, interface)
            self._rules.add(transparent(services))
            fresh.replace(in_use)
            if process.is_running and not self.revival.is_at_work:
                self._reload(process)
            else:
                process.start()
        except BaseException:
            fresh.unlink(missing_ok=True)
            if before is not None:
                in_use.write_bytes(before)
            if self.services:
                self._have_addresses(self.services, interface)
            elif process.is_running:  # one that was left at work, and stays so
                self._addresses.only(had)
                self._rules.only(had_rules)
            else:
                process.stop()
                self._addresses.close()
                self._rules.close()
            raise

    def _reload(self, process: Process) -> None:
        self._counting.look(is_now=True)  # the workers of now may be gone at the next look
        self.refused()
        process.reload()
        self._is_loading, self._is_taken = process.is_loading(), True
        if self._is_loading:
            log.warning("HAProxy is still loading its configuration, and serves by the one before meanwhile")
        self._refusals.begin_anew()
        self.reloads += 1

    def _is_same(self, services: Sequence[Service]) -> bool:
        """Return whether HAProxy serves all of it by now, but for how servers stand."""
        if self.process is None or not self._is_taken:
            return False
        if self._text(services, as_new(services)) != self._text(self.services, as_new(self.services)):
            return False
        self.is_renewed = self._renewal.has_changed(services)
        return not self.is_renewed or self._renewal.take_over(services, self.places.runtime)

    def _have_addresses(self, services: Sequence[Service], interface: str) -> None:
        if self._addresses is not None:
            self._addresses.change_to({one.vip for one in services}, interface)
        if self._rules is not None:
            self._rules.change_to(transparent(services))

    def _end(self) -> None:
        """Serve nothing any more; what a process before this one left ends too."""
        process, self.process = self.process, None
        if process is None:
            if not self.places.folder.exists():
                return
            try:
                self._hold()
                process = Process("", self.places)
            except ConfigError:
                return self.lock.give_back()  # it is another's
        else:
            self._counting.look(is_now=True)
        process.stop()
        (self._addresses or Addresses(self.places.addresses)).close()
        (self._rules or TransparentRules(self.places.transparent)).close()
        self.places.remove()
        self.lock.give_back()
        self.services, self.table, self._addresses = (), {}, None
        self._rules = None
        self.revival.forget()

    def close(self) -> None:
        """End HAProxy and take the addresses back, unless it is to go on; harmless when repeated."""
        if self.process is not None and not self._keeps:
            self._end()
        elif self.process is None and self.lock.is_held and not self._is_anything_left():
            self.places.remove()  # of a start that failed
        self.process = None
        self.lock.give_back()

    def _is_anything_left(self) -> bool:
        is_set = bool(added_before(self.places.addresses)) or self.places.transparent.exists()
        return is_set or running(self.places) is not None

    def _hold(self) -> None:
        """Keep other processes from the folder.  ConfigError: one has it, or there can be none."""
        self.places.make()
        self.lock.take()

    # ------------------------------------------------------------------------- the configuration

    def _text(self, services: Sequence[Service], states: Mapping[Key, render.ServerState]) -> str:
        return render.configuration(services, states, self.places.runtime, user())

    def _written(self, path: str, text: str, *, is_checked: bool = False) -> Path:
        """Return a file with a configuration, with which HAProxy finds nothing wrong."""
        fresh = self.places.folder / "haproxy.cfg.new"
        fresh.write_text(text)
        try:
            if not is_checked:
                check(path, fresh)
        except DsrlbError:
            fresh.unlink()
            raise
        return fresh

    def _write_states(self) -> None:
        """Let the configuration in use say how servers stand now."""
        fresh = self.places.folder / "haproxy.cfg.new"
        fresh.write_text(self._text(self.services, self._said))
        fresh.replace(self.places.configuration)

    # ------------------------------------------------------------------------- all the time

    def reconcile(self, effective: Effective) -> None:
        """Let servers stand as they are to: by the runtime API, without a reload."""
        if self.process is None:
            return
        self.table = compiled(self.services, effective)
        states = render.states(self.services, self.table)
        commands = [*render.changes(self._said, states), *self._let_go(effective.gone)]
        now_s = time.monotonic()
        if not commands or now_s < self._tell_due_s:
            return
        try:
            runtime.tell(self.places.runtime, commands)
        except HostError as error:
            self._tell_due_s = now_s + SILENT_S
            if self.process.is_running and str(error) != self._why_untold:
                log.warning("HAProxy was not told how servers stand, and is told again: %s", error)
            self._why_untold = str(error)
            return
        self._said, self._gone, self._why_untold = states, effective.gone, ""

    def _let_go(self, gone: frozenset[Names]) -> Iterator[str]:
        """Yield what ends the connections of servers whose drain is over."""
        for service in self.services:
            for names, backend in named(service):
                if names in gone and names not in self._gone:
                    for proxy, server in entries(service, backend):
                        yield f"shutdown sessions server {proxy}/{server}"

    def tend(self) -> None:
        """Start HAProxy again if it has ended; load new certificates; keep the addresses."""
        process, now_s = self.process, time.monotonic()
        if process is None:
            return
        if self.revival.look(process, self._begin_anew, now_s):
            self._tell_due_s = 0.0
            self._counting.wake()
        if now_s >= self._addresses_due_s and self._addresses is not None:
            self._addresses_due_s = now_s + KEEP_ADDRESSES_EVERY_S
            self._addresses.keep()
            self._keep_rules(process)
        if now_s >= self._count_due_s:
            self._count_due_s = now_s + COUNT_EVERY_S
            self._counting.look()
            if self._is_loading:
                self._look_at_reload(process)
        if process.is_running and not self.revival.is_at_work:
            self._silence.look(process, self._counting.silent_since_s, now_s)
            self._look_at_certificates(process, now_s)

    def _look_at_reload(self, process: Process) -> None:
        """Tell how a reload has ended that took long."""
        try:
            self._is_loading = process.is_loading()
        except HostError as error:
            self._is_loading = self._is_taken = False
            return log.error("%s What was loaded last is not served: correct it, and reload again.", error)
        if not self._is_loading:
            log.info("HAProxy has loaded its configuration")
            self._said = {}  # those of before were told meanwhile
        return None

    def _keep_rules(self, process: Process) -> None:
        """Keep the policy rules, and those of before for as long as connections of before are left."""
        if self._rules is None:
            return
        self._rules.keep()
        said = process.workers() if self._rules.has_others else None
        if said is not None and not said.old:
            self._rules.drop_others()

    def _begin_anew(self) -> None:
        """Make ready for a HAProxy that is started again."""
        self._hold()  # the folder may be gone
        if self._addresses is not None:
            self._addresses.note_again()
        self._refusals.begin_anew()
        self._write_states()

    def _look_at_certificates(self, process: Process, now_s: float) -> None:
        """Reload HAProxy if files of certificates have changed, and can be used."""
        if process.lost or not self._renewal.is_due(now_s) or not self._renewal.has_changed(self.services):
            return
        options = [one.proxy for one in self.services if one.proxy is not None]
        faults = [fault for one in options for fault in certificates.faults(one, certificates.now())]
        if unusable := [one.sentence for one in faults if not one.is_old]:
            return log.warning("certificates have changed, and are not loaded: %s", unusable[0])
        if self._renewal.take_over(self.services, self.places.runtime):
            return None
        self._renewal.note(self.services, now_s)
        self._written(program(), self._text(self.services, self._said)).replace(self.places.configuration)
        self._reload(process)
        log.info("certificates have changed: HAProxy has loaded them")
        return None

    # ------------------------------------------------------------------------- seeing

    def down_before(self, services: Sequence[Service]) -> frozenset[Names]:
        """Return the servers that a HAProxy at work, which is to be taken over, sends nothing to."""
        try:
            rows = runtime.statistics(self.places.runtime, ()) if services else []
        except HostError:
            return frozenset()
        out = {(one.proxy, one.server) for one in rows if one.status.startswith("MAINT")}
        return frozenset(names for names, key in keys_of(services) if key in out)

    def counted(self) -> Mapping[Key, Counts]:
        """Return what HAProxy counted since this process began, by names of proxies and servers."""
        return self._counting.look() if self.process is not None else self._counting.of

    @property
    def expiries(self) -> Mapping[tuple[str, str], datetime]:
        """When certificates expire, by service and file, as they were loaded."""
        return dict(self._renewal.ends)

    def counts(self) -> dict[Names, BackendCount]:
        """Return what HAProxy counted of each backend since this process began.

        Flows are connections or, by HTTP, requests; packets are not counted.
        """
        found = self.counted()
        return {
            names: count_of([found.get(one, {}) for one in entries(service, backend)])
            for service in self.services
            for names, backend in named(service)
        }

    def refused(self) -> dict[refusals.Refusal, int]:
        """Return what limits refused, or would have, since this process began."""
        asked = refusals.commands(self.services) if self.process is not None else []
        if asked and not self._counting.is_silent:
            with suppress(HostError):  # what it said last holds
                for first in range(0, len(asked), ASKED_AT_ONCE):
                    said = runtime.command(self.places.runtime, *asked[first : first + ASKED_AT_ONCE])
                    self._refusals.note(self.services, said)
        return self._refusals.totals()

    def text(self) -> str:
        """Return the configuration in use; empty: there is none.  HostError: its file is gone."""
        if self.process is None:
            return ""
        if not self.revival.is_at_work and self.process.lost:
            raise HostError(f"The configuration of HAProxy cannot be shown: {self.process.lost}")
        self._write_states()
        return self.places.configuration.read_text()

    @property
    def vips(self) -> tuple[Address, ...]:
        """The VIPs of the services."""
        return tuple(dict.fromkeys(one.vip for one in self.services))
