"""Leaves servers whose clients' handshakes fail, and takes them back: looks at what the engine has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

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
    """A service, and what is known of its servers."""

    service: Service
    evidence: dict[Names, Evidence]
    ejections: Ejections

    def __post_init__(self) -> None:
        self.key = key_of(self.service)
        self.backends = tuple(named(self.service))
        self.resets = modes.BY_NAME[self.service.mode].sees_replies

    def take(self, seen: Mapping[Names, Handshakes], now_s: float) -> bool:
        """Take over what was seen of handshakes; return whether there is anything to decide."""
        is_failing = False
        for names, _ in self.backends:
            if (handshakes := seen.get(names)) is not None:
                evidence = self.evidence.get(names)
                if evidence is None:
                    evidence = self.evidence[names] = Evidence()
                evidence.add(handshakes, now_s, resets=self.resets)
                is_failing = is_failing or evidence.is_failing
        return is_failing or bool(self.ejections.out)

    def able(self, standings: Mapping[Names, Standing], table: ForwardingTable) -> set[Names]:
        """Return the servers that would take new flows, were none left for its clients' handshakes."""
        compiled = table.services.get(self.key)
        targets = compiled.by_key if compiled is not None else {}
        return {
            names
            for names, backend in self.backends
            if (standing := standings.get(names, AS_CONFIGURED)).up
            and standing.is_wanted(backend)
            and (target := targets.get(names[1])) is not None
            and target.hop is not None
        }

    def changes(self, able: Set[Names], now_s: float, *, decide: bool) -> Changes:
        """Yield what changes; who is an outlier is found out only to ``decide``."""
        taking = {names: one for names, one in self.evidence.items()
                  if names in able and names not in self.ejections.out}  # fmt: skip
        for names, change in self.ejections.changes(able, outliers(taking) if decide else {}, now_s):
            if names in self.evidence:
                self.evidence[names].forget()
            yield names, change


class Passive:
    """The watch over the services that want it.  The main thread's; it tells changes, and makes none."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._watched: dict[bytes, _Watched] = {}
        self.change_to(services)

    @property
    def watches(self) -> bool:
        """Whether any service wants it."""
        return bool(self._watched)

    def change_to(self, services: Sequence[Service]) -> None:
        """Go over to another configuration; what is known of servers that stay is kept."""
        before, self._watched = self._watched, {}
        for service in (one for one in services if one.watches):
            stay = {names for names, _ in named(service)}
            known = before.get(key_of(service), _Watched(service, {}, Ejections()))
            evidence = {names: one for names, one in known.evidence.items() if names in stay}
            known.ejections.keep(stay)
            self._watched[known.key] = _Watched(service, evidence, known.ejections)

    def look(
        self,
        seen: Mapping[Names, Handshakes],
        standings: Mapping[Names, Standing],
        table: ForwardingTable,
        now_s: float,
    ) -> Changes:
        """Yield what changes by what was seen of handshakes until now."""
        for one in self._watched.values():
            if one.take(seen, now_s):
                yield from one.changes(one.able(standings, table), now_s, decide=True)

    def relent(self, standings: Mapping[Names, Standing], table: ForwardingTable, now_s: float) -> Changes:
        """Yield who is taken back, since too few others are left just now."""
        for one in self._watched.values():
            if one.ejections.out:
                yield from one.changes(one.able(standings, table), now_s, decide=False)
