"""What health and operators say of each backend, told in the log, for as long as the process runs."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace

from dsrlb import schedulers
from dsrlb.host.watch import Event
from dsrlb.model import Backend, Service, person_backend
from dsrlb.schedulers import RESPONSE
from dsrlb.schedulers.base import Cursor
from dsrlb.standing import (
    AS_CONFIGURED,
    Change,
    Effective,
    Ejection,
    Health,
    Names,
    Standing,
    after,
    effective,
    grown_percent,
    key_of,
    named,
    takes_new,
)
from dsrlb.table import ForwardingTable

# Each step of a server that starts slowly costs slots of a hash that change hands, so these take few.
HASH_STEPS, MOST_STEPS = 4, 19

log = logging.getLogger("dsrlb")


def standing_event(names: Names, change: Change) -> Event:
    """Return the event that tells the control loop what is said of a backend; any thread may put it."""
    return "standing", *names, change


class Standings:
    """The standing of every backend of a configuration.  The main thread's.

    Who checks backends goes by what stands here, and tells what differs from it.
    """

    def __init__(self, services: Sequence[Service]) -> None:
        """Begin with all up and as configured."""
        self.of: dict[Names, Standing] = {}
        self._services: dict[bytes, Service] = {}
        self._backends: dict[Names, Backend] = {}
        self._growing: set[Names] = set()  # those that start slowly
        self._left: set[bytes] = set()  # services of which no backend takes new flows
        self._said: Effective | None = None
        self._is_silent = False
        self.change_to(services, 0)

    def aside(self) -> Standings:
        """Return a copy on which a configuration can be tried: it logs nothing, and nothing changes here."""
        other = copy(self)
        other.of, other._growing, other._is_silent = dict(self.of), set(self._growing), True
        return other

    def hear(self, names: Names, change: Change, now_s: float) -> None:
        """Take over what is said of a backend, and log what that changes; of one that is gone, nothing."""
        before = self.of.get(names)
        if before is None:
            return
        service, backend = self._services[names[0]], self._backends[names]
        if isinstance(change, Health) and service.check is None and backend.check is None:
            return  # from before a reload
        if isinstance(change, Ejection) and not service.watches:
            return
        standing = after(before, change)
        if standing.takes_new(backend) != before.takes_new(backend):
            standing = replace(standing, since_s=now_s)
            self._follow(names, service, is_new=standing.takes_new(backend))
        self.of[names], self._said = standing, None
        for level, words in _told(before, standing, backend):
            log.log(level, "%s %s", self.words(names), words)
        self._tell_service(service)

    def weigh(self, percents: Mapping[Names, int]) -> bool:
        """Give backends so many per cent of their weights for how fast they answer; return if that is new."""
        changed = {
            names: percent
            for names, percent in percents.items()
            if self.of[names].response_percent != percent
        }
        for names, percent in changed.items():
            self.of[names] = replace(self.of[names], response_percent=percent)
        self._said = None if changed else self._said
        return bool(changed)

    def adopt(self, table: ForwardingTable) -> None:
        """Take over who was down, or left, for a process before this one, where a check will have a word."""
        for names in [one for service in self._services.values() for one in _checked(service)]:
            known = table.services.get(names[0])
            target = known.by_key.get(names[1]) if known is not None else None
            if target is not None and not target.up:
                self._adopt_down(names)

    def adopt_down(self, some: Container[Names]) -> None:
        """Take these for down, where a check will have a word."""
        for names in [one for service in self._services.values() for one in _checked(service)]:
            if names in some:
                self._adopt_down(names)

    def _adopt_down(self, names: Names) -> None:
        if self.of[names].enabled:
            self.hear(names, Health(False, "so it was before this start"), self.of[names].since_s)

    def effective(self, now_s: float) -> Effective:
        """Return what all of it comes to now."""
        for names in sorted(self._growing):
            self._grow(names, now_s)
        if self._said is None:
            self._said = effective(tuple(self._services.values()), self.of)
        return self._said

    def change_to(self, services: Sequence[Service], now_s: float) -> None:
        """Go over to another configuration; what is known of backends that stay is kept."""
        before, self._services = self._services, {key_of(one): one for one in services}
        self._backends = dict(one for service in services for one in named(service))
        known, self.of, self._said = self.of, {}, None
        for key, service in self._services.items():
            took = {names for names, one in _named(before.get(key)) if known[names].takes_new(one)}
            for names, backend in named(service):
                standing = _unchecked(
                    known.get(names, replace(AS_CONFIGURED, since_s=now_s)), service, backend
                )
                if standing.takes_new(backend) and names not in took:
                    standing = replace(standing, since_s=now_s)
                    self._follow(names, service, is_new=key in before)
                self.of[names] = standing
            self._tell_service(service)
        self._growing &= self.of.keys()
        self._left = self._left & self._services.keys()

    def people(self) -> dict[tuple[str, str], Names]:
        """Return every backend by its service and itself as a person writes them."""
        return {(self._services[one[0]].name, person_backend(one[1])): one for one in self.of}

    def words(self, names: Names) -> str:
        """Return a backend as the log calls it."""
        return f"backend {_person(self._backends[names], names)} of {self._services[names[0]].name}"

    def _follow(self, names: Names, service: Service, *, is_new: bool) -> None:
        """Let a backend that is new among those that take new flows start slowly, if its service says so."""
        if is_new and service.slow_start_s:
            self._growing.add(names)
        else:
            self._growing.discard(names)

    def _grow(self, names: Names, now_s: float) -> None:
        """Give a backend that starts slowly its share of now."""
        service, standing = self._services[names[0]], self.of[names]
        cursor = schedulers.BY_NAME[service.scheduler].cursor
        steps = HASH_STEPS if cursor in (Cursor.FLOW_HASH, Cursor.CLIENT_HASH) else MOST_STEPS
        percent = 100
        if names in self._growing and service.slow_start_s:
            percent = grown_percent(now_s - standing.since_s, service.slow_start_s, steps)
        if percent == 100:
            self._growing.discard(names)
        if percent != standing.share_percent:
            self.of[names], self._said = replace(standing, share_percent=percent), None

    def _tell_service(self, service: Service) -> None:
        """Log that a service has no backend for new flows any more, or has one again."""
        if self._is_silent:
            return
        key = key_of(service)
        if takes_new(service, self.of):
            if key in self._left:
                log.info("%s has a backend for new flows again", service.name)
            self._left.discard(key)
        elif key not in self._left:
            self._left.add(key)
            log.warning("%s has no backend for new flows: %s", service.name, self._fate(service))

    def _fate(self, service: Service) -> str:
        """Return what becomes of new flows of a service that has no backend for them."""
        is_kept = any(self.of[names].is_wanted(one) for names, one in named(service))
        if service.on_all_down == "keep" and is_kept:
            return "those that are down get them"
        return "they are refused" if service.on_all_down == "reject" else "they are dropped"


def _named(service: Service | None) -> Iterator[tuple[Names, Backend]]:
    return iter(()) if service is None else named(service)


def _checked(service: Service) -> Iterator[Names]:
    return (names for names, one in named(service) if service.check is not None or one.check is not None)


def _unchecked(standing: Standing, service: Service, backend: Backend) -> Standing:
    """Return a standing without what is said by checks, response times or handshakes that nobody looks at."""
    if service.check is None and backend.check is None:
        standing = after(standing, Health(True))
    if service.scheduler != RESPONSE.name:
        standing = replace(standing, response_percent=100)
    return standing if service.watches else after(standing, Ejection(False))


def _person(backend: Backend, names: Names) -> str:
    label = f" ({backend.label})" if backend.label else ""
    return f"{person_backend(names[1])}{label}"


def _told(before: Standing, now: Standing, backend: Backend) -> Iterator[tuple[int, str]]:
    """Yield what to log of a change of a standing: levels and words."""
    why = f": {now.why}" if now.why else ""
    if now.up and not before.up:
        yield logging.INFO, "is up again"
    elif before.up and not now.up:
        yield logging.WARNING, f"is down{why}"
    elif now.why != before.why:
        yield logging.INFO, f"is still down{why}"
    if now.ejected != before.ejected:
        is_out = f"is ejected: {now.why_ejected}" if now.ejected else "is ejected no more"
        yield logging.WARNING if now.ejected else logging.INFO, is_out
    if now.enabled != before.enabled:
        yield logging.INFO, "is enabled" if now.enabled else "is disabled: it gets no new flows, and no UDP"
    if now.drained != before.drained:
        yield (
            logging.INFO,
            "is drained: it keeps its flows, gets no new ones" if now.drained else "is drained no more",
        )
    if before.gone and not now.gone:
        yield logging.INFO, "takes part again"
    if now.weight != before.weight:
        by = "as configured" if now.weight is None else f"in place of the configured {backend.weight}"
        yield logging.INFO, f"has weight {backend.weight if now.weight is None else now.weight}, {by}"
