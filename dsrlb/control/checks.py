"""Which servers are checked, and how each is asked."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping, Sequence

from dsrlb.control.standings import standing_event
from dsrlb.health import BY_NAME
from dsrlb.health.base import Subject
from dsrlb.health.monitor import Monitor
from dsrlb.host.watch import Event
from dsrlb.model import Backend, Check, Service
from dsrlb.schedulers import RESPONSE
from dsrlb.standing import Names, Standing, named


class Checks:
    """The checks of a configuration: what they find comes as events to the control loop."""

    def __init__(self, events: queue.SimpleQueue[Event]) -> None:
        """Take the loop's events."""
        self._monitor = Monitor(lambda names, health: events.put(standing_event(names, health)))
        self.close = self._monitor.close
        self.records = self._monitor.records

    def change_to(self, services: Sequence[Service], standings: Mapping[Names, Standing]) -> None:
        """Check the servers of these services; those that are checked alike go on."""
        subjects = dict(subject for service in services for subject in _subjects(service))
        self._monitor.change_to(subjects, standings)


def _subjects(service: Service) -> Iterator[tuple[Names, Subject]]:
    for names, backend in named(service):
        check = backend.check or service.check
        if check is not None:
            port, is_weighed = _port(service, backend, check), service.scheduler == RESPONSE.name
            yield names, Subject(backend.address, port, service.vip, check, is_weighed=is_weighed)


def _port(service: Service, backend: Backend, check: Check) -> int:
    if not BY_NAME[check.kind].has_port and check.kind != "command":
        return 0
    return check.port or backend.port or service.port
