"""What is told of one moment, taken on the control loop's thread in little time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dsrlb.config import Config
from dsrlb.control import Loop
from dsrlb.control.proxy_seen import HaproxySeen, haproxy_seen
from dsrlb.control.responses import times_us
from dsrlb.engines.base import Counters
from dsrlb.host.links import Link
from dsrlb.model import Backend, Service
from dsrlb.standing import AS_CONFIGURED, Names, Standing, key_of, named
from dsrlb.table import CompiledService, ForwardingTable


@dataclass(frozen=True)
class Moment:
    """All that the page is made of; nothing in it changes any more but counters, which only grow."""

    config: Config
    standings: Mapping[Names, Standing]
    table: ForwardingTable
    counters: Counters
    links: tuple[Link, ...]
    engine: str
    instance: str
    max_flows: int
    times_us: Mapping[Names, float]  # response times, where known
    expiries: Mapping[tuple[str, str], datetime]  # of certificates, by service and file
    haproxy: HaproxySeen | None = None  # where a service is of mode proxy
    kept: threading.Event = field(default_factory=threading.Event)  # set: what was counted may be told

    def compiled(self, service: Service) -> CompiledService | None:
        """Return a service as it is in force; None where it is not."""
        return self.table.services.get(key_of(service))

    def takes_new(self, service: Service) -> bool:
        """Return whether new flows of a service find a backend, or need none."""
        compiled = self.compiled(service)
        return compiled is not None and (any(compiled.shares) or not service.backends)

    def backends(self, service: Service) -> Iterator[tuple[Names, Backend, Standing]]:
        """Yield the backends of a service, each with its standing."""
        for names, backend in named(service):
            yield names, backend, self.standings.get(names, AS_CONFIGURED)


def moment_of(loop: Loop) -> Moment:
    """Return what holds now."""
    counted, kept = loop.totals.look(), threading.Event()
    loop.totals.when_kept(kept.set)
    return Moment(
        config=loop.config,
        standings=dict(loop.standings.of),
        table=loop.table(),
        counters=counted._replace(reasons=tuple(counted.reasons), backends=dict(counted.backends)),
        links=tuple(loop.front.links.values()),
        engine=loop.engine.name,
        instance=loop.choice.instance,
        max_flows=loop.engine.max_flows,
        expiries=loop.proxied.expiries,
        times_us=times_us(loop.observed.responses.of, loop.checks.records()),
        haproxy=haproxy_seen(loop.proxied),
        kept=kept,
    )
