"""Leaves servers whose clients' handshakes fail, and takes them back: looks at what the engine has seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dsrlb import modes
from dsrlb.ejections import Ejections
from dsrlb.model import Service
from dsrlb.outliers import Evidence, outliers
from dsrlb.sampling import Handshakes
from dsrlb.standing import AS_CONFIGURED, Ejection, Names, Standing, key_of, named
from dsrlb.table import ForwardingTable

Changes = Iterator[tuple[Names, Ejection]]


@dataclass
class _Watched:
    """What is known of a service's servers."""

    evidence: dict[Names, Evidence] = field(default_factory=dict)
    ejections: Ejections = field(default_factory=Ejections)


class Passive:
    """The watch over the services that want it.  The main thread's; it tells changes, and makes none."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services: list[Service] = []
        self._watched: dict[bytes, _Watched] = {}
        self.change_to(services)

    @property
    def watches(self) -> bool:
        """Whether any service wants it."""
        return bool(self._services)

    def change_to(self, services: Sequence[Service]) -> None:
        """Go over to another configuration; what is known of servers that stay is kept."""
        self._services = [service for service in services if service.watches]
        self._watched = {
            key: self._watched.get(key, _Watched()) for key in (key_of(one) for one in self._services)
        }
        for service in self._services:
            watched, stay = self._watched[key_of(service)], {names for names, _ in named(service)}
            watched.evidence = {names: one for names, one in watched.evidence.items() if names in stay}
            watched.ejections.keep(stay)

    def look(
        self,
        seen: Mapping[Names, Handshakes],
        standings: Mapping[Names, Standing],
        table: ForwardingTable,
        now_s: float,
    ) -> Changes:
        """Yield what changes by what was seen of handshakes until now."""
        for service in self._services:
            watched, resets = self._watched[key_of(service)], modes.BY_NAME[service.mode].sees_replies
            for names in (one for one, _ in named(service) if one in seen):
                watched.evidence.setdefault(names, Evidence()).add(seen[names], now_s, resets=resets)
            able = set(_able(service, standings, table))
            taking = {names: one for names, one in watched.evidence.items()
                      if names in able and names not in watched.ejections.out}  # fmt: skip
            yield from self._changed(watched, able, outliers(taking), now_s)

    def relent(self, standings: Mapping[Names, Standing], table: ForwardingTable, now_s: float) -> Changes:
        """Yield who is taken back, since too few others are left just now."""
        for service in self._services:
            watched = self._watched[key_of(service)]
            if watched.ejections.out:
                able = set(_able(service, standings, table))
                yield from self._changed(watched, able, {}, now_s)

    def _changed(
        self, watched: _Watched, able: Collection[Names], why: Mapping[Names, str], now_s: float
    ) -> Changes:
        for names, change in watched.ejections.changes(able, why, now_s):
            if names in watched.evidence:
                watched.evidence[names].forget()
            yield names, change


def _able(service: Service, standings: Mapping[Names, Standing], table: ForwardingTable) -> Iterator[Names]:
    """Yield the servers that would take new flows, were none left for what its clients' handshakes say."""
    compiled = table.services.get(key_of(service))
    for names, backend in named(service):
        standing = standings.get(names, AS_CONFIGURED)
        target = compiled.by_key.get(names[1]) if compiled is not None else None
        if standing.up and standing.is_wanted(backend) and target is not None and target.hop is not None:
            yield names
