"""Which servers are checked, and how each is asked."""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator, Mapping, Sequence

from dsrlb import modes
from dsrlb.control.standings import standing_event
from dsrlb.health import BY_NAME
from dsrlb.health.base import Subject
from dsrlb.health.monitor import Monitor
from dsrlb.host.watch import Event
from dsrlb.model import ANY_PORT, Backend, Check, Service
from dsrlb.standing import Names, Standing, named
from dsrlb.table import stand_in

PROTOCOLS = {"tcp": "tcp", "http": "tcp", "https": "tcp", "udp": "udp", "dns": "udp"}

DEAF = (
    "%s: %d of its servers cannot be checked: with engine xdp and mode inline without snat, answers of the "
    "service's port do not come to this host; give the check another port, or take kind icmp"
)

log = logging.getLogger("dsrlb")


class Checks:
    """The checks of a configuration: what they find comes as events to the control loop."""

    def __init__(self, events: queue.SimpleQueue[Event]) -> None:
        """Take the loop's events."""
        self._monitor = Monitor(lambda names, health: events.put(standing_event(names, health)))
        self.close = self._monitor.close
        self.records = self._monitor.records

    def change_to(
        self, services: Sequence[Service], standings: Mapping[Names, Standing], engine: str
    ) -> None:
        """Check the servers of these services; those that are checked alike go on."""
        subjects: dict[Names, Subject] = {}
        for service in services:
            every = list(_subjects(service))
            heard = [
                (names, subject)
                for names, one, subject in every
                if not (engine == "xdp" and _is_deaf(service, one, subject))
            ]
            subjects |= heard
            if len(heard) < len(every):
                log.warning(DEAF, service.name, len(every) - len(heard))
        self._monitor.change_to(subjects, standings)


def _subjects(service: Service) -> Iterator[tuple[Names, Backend, Subject]]:
    for names, backend in named(service):
        check = backend.check or service.check
        if check is not None:
            yield names, backend, Subject(backend.address, _port(service, backend, check), service.vip, check)


def _port(service: Service, backend: Backend, check: Check) -> int:
    if not BY_NAME[check.kind].has_port and check.kind != "command":
        return 0
    return check.port or backend.port or service.port


def _is_deaf(service: Service, backend: Backend, subject: Subject) -> bool:
    """Return whether the program in the kernel takes the answers for some that belong to no connection."""
    is_translated = modes.BY_NAME[service.mode].sees_replies and stand_in(service) is None
    port = backend.port or service.port
    return (
        is_translated
        and PROTOCOLS.get(subject.check.kind) == service.protocol
        and port in (subject.port, ANY_PORT)
    )
