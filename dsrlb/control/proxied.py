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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from dsrlb.answered import Answers
from dsrlb.control.proxy_counts import Counting, Counts, Key
from dsrlb.control.proxy_host import HostSide
from dsrlb.control.proxy_loading import Loading
from dsrlb.control.proxy_ports import bound
from dsrlb.control.proxy_refused import Refused
from dsrlb.control.proxy_revival import Revival
from dsrlb.control.proxy_silence import Silence
from dsrlb.control.proxy_table import answers_of, compiled, counts_of, keys_of, moved
from dsrlb.control.proxy_telling import Telling
from dsrlb.control.proxy_trial import tried
from dsrlb.control.proxy_written import Written
from dsrlb.control.renewal import Renewal, faults
from dsrlb.engines.haproxy import refusals, render, runtime
from dsrlb.engines.haproxy.lock import Lock
from dsrlb.engines.haproxy.places import Places
from dsrlb.engines.haproxy.process import Process, running
from dsrlb.engines.haproxy.program import program, program_and_version
from dsrlb.errors import ConfigError, HostError
from dsrlb.flows import BackendCount
from dsrlb.model import Service
from dsrlb.standing import ALL_UP, Effective, Names, key_of
from dsrlb.table import CompiledService

COUNT_EVERY_S = 1.0  # what is younger is lost with a HAProxy that is killed

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
        self.version, self.reloads = "", 0  # of HAProxy
        self.lock = Lock(folder)
        self._host, self._written = HostSide(self.places), Written(self.places)
        self._telling = Telling(self.places)
        self._counting, self._count_due_s = Counting(self.places), 0.0
        self._renewal, self._silence, self._loading = Renewal(), Silence(), Loading()
        self.is_renewed = False  # whether files of certificates were all that the last change was about
        self._checked = ""  # what HAProxy takes, as was tried before a start
        self._refused = Refused(self.places)

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
        path, version = program_and_version()
        self._hold()
        is_same = self._is_same(services)
        process, table = self.process or self._found(path), compiled(services, effective)
        states = render.states(services, table)
        text = self._written.text(services, states)
        fresh = self._written.tried(path, text, is_checked=is_same or text == checked)
        if is_same and process.is_running:  # how servers stand is told without a reload
            fresh.replace(self.places.configuration)
            self.services, self.table = services, table
            return self.reconcile(effective)
        self._put_in_use(process, fresh, services, interface)
        self.version = version
        self._counting.forget(moved(self.services, services))
        self.process, self.services, self.table = process, services, table
        self._telling.is_told(states, effective.gone)
        self.revival.forget()
        with suppress(HostError):  # one that is over and stays does no harm
            self._host.change_to(services, interface)
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
        before, had = in_use.read_bytes() if in_use.exists() else None, self._host.had()
        try:
            self._host.add(services, interface)
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
                self._host.change_to(self.services, interface)
            elif process.is_running:  # one that was left at work, and stays so
                self._host.only(had)
            else:
                process.stop()
                self._host.close()
            raise

    def _reload(self, process: Process) -> None:
        self._counting.look(is_now=True)  # the workers of now may be gone at the next look
        self.refused()
        self._loading.begin(process)
        self._refused.begin_anew()
        self.reloads += 1

    def _is_same(self, services: Sequence[Service]) -> bool:
        """Return whether HAProxy serves all of it by now, but for how servers stand."""
        if self.process is None or not self._loading.is_taken:
            return False
        if self._written.plan(services) != self._written.plan(self.services):
            return False
        self.is_renewed = self._renewal.has_changed(services)
        return not self.is_renewed or self._renewal.take_over(services, self.places.runtime)

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
        self._host.close()
        self.places.remove()
        self.lock.give_back()
        self.services, self.table = (), {}
        self.revival.forget()

    def close(self) -> None:
        """End HAProxy and take the addresses back, unless it is to go on; harmless when repeated."""
        if self.process is not None and not self._keeps:
            self._end()
        elif self.process is None and self.lock.is_held and self._is_bare():
            self.places.remove()  # of a start that failed
        self.process = None
        self.lock.give_back()

    def _is_bare(self) -> bool:
        return running(self.places) is None and not self._host.is_anything_left

    def _hold(self) -> None:
        """Keep other processes from the folder.  ConfigError: one has it, or there can be none."""
        self.places.make()
        self.lock.take()

    # ------------------------------------------------------------------------- all the time

    def reconcile(self, effective: Effective) -> None:
        """Let servers stand as they are to: by the runtime API, without a reload."""
        if self.process is None:
            return
        self.table = compiled(self.services, effective)
        states = render.states(self.services, self.table)
        self._telling.tell(self.process, self.services, states, effective.gone, time.monotonic())

    def tend(self) -> None:
        """Start HAProxy again if it has ended; load new certificates; keep the addresses."""
        process, now_s = self.process, time.monotonic()
        if process is None:
            return
        if self.revival.look(process, self._begin_anew, now_s):
            self._telling.begin_anew()
            self._counting.wake()
        self._host.keep(process, now_s)
        if now_s >= self._count_due_s:
            self._count_due_s = now_s + COUNT_EVERY_S
            self._counting.look()
            if self._loading.has_ended(process):
                self._telling.forget()  # those of before were told meanwhile
        if process.is_running and not self.revival.is_at_work:
            self._silence.look(process, self._counting.silent_since_s, now_s)
            self._look_at_certificates(process, now_s)

    def _begin_anew(self) -> None:
        """Make ready for a HAProxy that is started again."""
        self._hold()  # the folder may be gone
        self._host.note_again()
        self._refused.begin_anew()
        self._written.put(self._written.text(self.services, self._telling.said))

    def _look_at_certificates(self, process: Process, now_s: float) -> None:
        """Reload HAProxy if files of certificates have changed, and can be used."""
        if process.lost or not self._renewal.is_due(now_s) or not self._renewal.has_changed(self.services):
            return
        if unusable := faults(self.services):
            return log.warning("certificates have changed, and are not loaded: %s", unusable[0])
        if self._renewal.take_over(self.services, self.places.runtime):
            return None
        self._renewal.note(self.services, now_s)
        text = self._written.text(self.services, self._telling.said)
        self._written.tried(program(), text).replace(self.places.configuration)
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
        return counts_of(self.services, self.counted())

    def answers(self, services: Sequence[Service]) -> dict[Names, dict[str, Answers]]:
        """Return how long servers of those of these services that are served here take to answer."""
        wanted = {key_of(one) for one in services}
        here = [one for one in self.services if key_of(one) in wanted]
        if not here:  # nobody goes by them: HAProxy is not asked
            return {}
        self.counted()
        return answers_of(here, *self._counting.by_worker)

    def refused(self) -> dict[refusals.Refusal, int]:
        """Return what limits refused, or would have, since this process began."""
        if self.process is not None and not self._counting.is_silent:
            self._refused.look(self.services)
        return self._refused.totals()

    def text(self) -> str:
        """Return the configuration in use; empty: there is none.  HostError: its file is gone."""
        if self.process is None:
            return ""
        if not self.revival.is_at_work and self.process.lost:
            raise HostError(f"The configuration of HAProxy cannot be shown: {self.process.lost}")
        self._written.put(self._written.text(self.services, self._telling.said))
        return self.places.configuration.read_text()
