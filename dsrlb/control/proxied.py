"""Services of mode proxy: the addresses that this host has for them, and HAProxy, kept as it should be."""

from __future__ import annotations

import logging
import os
import pwd
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from dsrlb.control.renewal import Renewal
from dsrlb.engines.haproxy import refusals, render, runtime
from dsrlb.engines.haproxy.names import entries
from dsrlb.engines.haproxy.process import Places, Process, check, program
from dsrlb.errors import ConfigError, DsrlbError
from dsrlb.flows import BackendCount
from dsrlb.host import certificates
from dsrlb.host.addresses import Addresses
from dsrlb.model import Hop, Service
from dsrlb.standing import ALL_UP, Effective, Names, named
from dsrlb.table import CompiledService, compile_table

AGAIN_AFTER_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # from crash to restart; the last one goes on
CALM_S = 60.0  # after which a crash counts as the first one
USER = "haproxy"
REACHED = Hop(0, b"", b"")  # how, is the host's own affair
FREEBIND = {4: (socket.SOL_IP, 15), 6: (socket.IPPROTO_IPV6, 78)}  # linux/in.h, in6.h: IP_FREEBIND

log = logging.getLogger("dsrlb")


class Proxied:
    """HAProxy for the services of a configuration; nothing at all while there are none.

    The main thread's.
    """

    def __init__(self, folder: Path, *, keeps: bool) -> None:
        """Take where its files are, and whether it is to go on when this process stops."""
        self._places, self._keeps = Places(folder), keeps
        self._services: tuple[Service, ...] = ()
        self._process: Process | None = None
        self._addresses: Addresses | None = None
        self._said: dict[tuple[str, str], render.ServerState] = {}
        self._crashes: list[float] = []
        self._renewal = Renewal()
        self._refusals = refusals.Refusals()
        self.table: Mapping[bytes, CompiledService] = {}  # the services, for their shares

    def prepare(self, services: Sequence[Service]) -> None:
        """Raise ConfigError or HostError if these cannot be served; nothing is touched."""
        if services:
            path = program()
            if self._process is None and not Process(path, self._places).is_running:
                refuse_taken(services)
            fresh = self._written(path, services, render.states(services, compiled(services, ALL_UP)))
            fresh.unlink()

    def change_to(self, services: Sequence[Service], interface: str, effective: Effective) -> None:
        """Serve these from now on.  Raises ConfigError or HostError."""
        services = tuple(services)
        if not services:
            return self.close()
        path = program()
        process = self._process or Process(path, self._places)
        table = compiled(services, effective)
        states = render.states(services, table)
        is_same = self._services == services
        if is_same and self._renewal.has_changed(services):
            is_same = self._renewal.take_over(services, self._places.runtime)
        fresh = self._written(path, services, states)
        fresh.replace(self._places.configuration)
        if is_same and process.is_running:  # how servers stand is told without a reload
            return self.reconcile(effective)
        self._addresses = self._addresses or Addresses(self._places.folder / "addresses.json")
        self._addresses.change_to(
            {one.vip for one in services} | {one.vip for one in self._services}, interface
        )
        self._renewal.note(services, time.monotonic())  # what changes from here on is loaded later
        self._reload(process) if process.is_running else process.start()
        self._addresses.change_to({one.vip for one in services}, interface)
        self._process, self._services, self._said, self.table = process, services, states, table

    def _written(
        self, path: str, services: Sequence[Service], states: dict[tuple[str, str], render.ServerState]
    ) -> Path:
        """Return a file with the configuration, with which HAProxy finds nothing wrong."""
        folder = self._places.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = render.configuration(services, states, self._places.runtime, _user())
        fresh = folder / "haproxy.cfg.new"
        fresh.write_text(text)
        try:
            check(path, fresh)
        except DsrlbError:
            fresh.unlink()
            raise
        return fresh

    def reconcile(self, effective: Effective) -> None:
        """Let servers stand as they are to: by the runtime API, without a reload."""
        if self._process is None:
            return
        self.table = compiled(self._services, effective)
        states = render.states(self._services, self.table)
        commands = list(render.changes(self._said, states))
        if commands:
            runtime.command(self._places.runtime, *commands)
            self._said = states

    def tend(self) -> None:
        """Start HAProxy again if it has ended, each time in a row a little later; load new certificates."""
        process, now = self._process, time.monotonic()
        if process is None:
            return
        if process.is_running:
            return self._look_at_certificates(process, now)
        self._crashes = [at for at in self._crashes if now - at < CALM_S]
        after_s = AGAIN_AFTER_S[min(len(self._crashes), len(AGAIN_AFTER_S) - 1)]
        if self._crashes and now - self._crashes[-1] < after_s:
            return
        self._crashes.append(now)
        log.error("HAProxy has ended by itself; it is started again (connections of mode proxy are gone)")
        process.stop()  # what is left of it
        self._refusals.begin_anew()
        self._written(program(), self._services, self._said).replace(self._places.configuration)
        process.start()

    def _look_at_certificates(self, process: Process, now_s: float) -> None:
        """Reload HAProxy if files of certificates have changed, and can be used."""
        if not self._renewal.is_due(now_s) or not self._renewal.has_changed(self._services):
            return
        options = [one.proxy for one in self._services if one.proxy is not None]
        faults = [fault for one in options for fault in certificates.faults(one, certificates.now())]
        if unusable := [one.sentence for one in faults if not one.is_old]:
            return log.warning("certificates have changed, and are not loaded: %s", unusable[0])
        if self._renewal.take_over(self._services, self._places.runtime):
            return None
        self._renewal.note(self._services, now_s)
        self._written(program(), self._services, self._said).replace(self._places.configuration)
        self._reload(process)
        log.info("certificates have changed: HAProxy has loaded them")

    def _reload(self, process: Process) -> None:
        """Reload HAProxy, which counts anew then."""
        self.refused()
        process.reload()
        self._refusals.begin_anew()

    def refused(self) -> dict[refusals.Refusal, int]:
        """Return what limits refused, or would have, since this process began."""
        asked = refusals.commands(self._services) if self._process is not None else []
        if asked:
            with suppress(DsrlbError):  # HAProxy is silent: what it said last holds
                self._refusals.note(self._services, runtime.command(self._places.runtime, *asked))
        return self._refusals.totals()

    def close(self) -> None:
        """End HAProxy and take the addresses back, unless it is to go on; harmless when repeated."""
        process, self._process = self._process, None
        if self._keeps and process is not None:
            return
        if process is not None:
            process.stop()
        if self._addresses is not None:
            self._addresses.close()
        self._services, self.table = (), {}

    @property
    def expiries(self) -> Mapping[tuple[str, str], datetime]:
        """When certificates expire, by service and file, as they were loaded."""
        return dict(self._renewal.ends)

    def counts(self) -> dict[Names, BackendCount]:
        """Return what HAProxy counted of each backend since its start or reload; nothing if it is silent.

        Flows are sessions or, by HTTP, requests; packets are not counted.
        """
        if self._process is None:
            return {}
        try:
            found = runtime.statistics(self._places.runtime)
        except DsrlbError:
            return {}
        return {
            names: _count([found.get(one, {}) for one in entries(service, backend)])
            for service in self._services
            for names, backend in named(service)
        }


def _count(rows: Sequence[Mapping[str, str]]) -> BackendCount:
    total, now, octets = (sum(int(row.get(name) or 0) for row in rows) for name in ("stot", "scur", "bin"))
    return BackendCount(octets=octets, flows=total, active=now)


def compiled(services: Sequence[Service], effective: Effective) -> Mapping[bytes, CompiledService]:
    """Return the services as the packet engines take them, for their shares: all servers can be reached."""
    hops = {backend.address: REACHED for service in services for backend in service.backends}
    return compile_table(services, hops, {}, effective=effective).services


def refuse_taken(services: Sequence[Service]) -> None:
    """Raise ConfigError if another program listens at the address and port of a service."""
    taken = [one.name for one in services if not _is_free(one)]
    if taken:
        raise ConfigError(
            *(f"{name}: another program listens there; find it with ss -ltnp, and stop it." for name in taken)
        )


def _is_free(service: Service) -> bool:
    family = socket.AF_INET if service.vip.version == 4 else socket.AF_INET6
    with socket.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may linger
        sock.setsockopt(*FREEBIND[service.vip.version], 1)
        try:
            sock.bind((str(service.vip), service.port))
            sock.listen(1)
        except OSError:
            return False
    return True


def _user() -> str:
    """Return whom HAProxy is to run as: its own user, where there is one and this is root."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return ""
    return USER if os.geteuid() == 0 else ""
