"""Which servers are checked, and how each is asked."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping, Sequence

from dsrlb import modes
from dsrlb.control.standings import standing_event
from dsrlb.health import BY_NAME
from dsrlb.health.base import Subject
from dsrlb.health.monitor import Monitor
from dsrlb.health.pace import in_time
from dsrlb.health.path import ByPath
from dsrlb.health.remarks import Remarks
from dsrlb.host.links import Link
from dsrlb.host.watch import Event
from dsrlb.model import Address, Backend, Check, Hop, ModeOptions, Service
from dsrlb.preflight import Way
from dsrlb.schedulers import RESPONSE
from dsrlb.standing import Names, Standing, named
from dsrlb.table import stand_in


class Checks:
    """The checks of a configuration: what they find comes as events to the control loop."""

    def __init__(
        self,
        events: queue.SimpleQueue[Event],
        refused_at: Mapping[Address, float],
        refused_own_at: Mapping[Address, float],
    ) -> None:
        """Take the loop's events, and when (monotonic) backends last said that they do not unwrap.

        ``refused_own_at``: what was for their own addresses inside.
        """
        self._by_path = ByPath(refused_at, refused_own_at)
        self.remarks = Remarks()
        self._monitor = Monitor(
            lambda names, health: events.put(standing_event(names, health)),
            by_path=self._by_path,
            remarks=self.remarks,
        )
        self.records, self.keep_rules = self._monitor.records, self._by_path.keep

    def see(self, hops: Mapping[Address, Hop | None], ways: Mapping[Address, Way]) -> None:
        """Take the way to each backend as it is now."""
        links: dict[Address, Link] = {address: way.link for address, way in ways.items()}
        self._by_path.see(hops, links)

    def close(self) -> None:
        """End all checks, and take back what they set on this host."""
        self._monitor.close()
        self._by_path.close()

    def change_to(self, services: Sequence[Service], standings: Mapping[Names, Standing]) -> None:
        """Check the servers of these services; those that are checked alike go on."""
        subjects = dict(subject for service in services for subject in _subjects(service))
        self._monitor.change_to(subjects, standings)


def _subjects(service: Service) -> Iterator[tuple[Names, Subject]]:
    for names, backend in named(service):
        check = backend.check or service.check
        if check is not None:
            mode, options = _path_of(service, check)
            yield (
                names,
                Subject(
                    backend.address,
                    _port(service, backend, check),
                    service.vip,
                    in_time(check),
                    is_weighed=service.scheduler == RESPONSE.name,
                    mode=mode,
                    options=options,
                    answers_by_us=modes.BY_NAME[service.mode].sees_replies and stand_in(service) is None,
                ),
            )


def _path_of(service: Service, check: Check) -> tuple[str, ModeOptions]:
    """Return the mode by whose path a server is asked at the VIP, and its options; no mode: not so.

    Where the data path translates, servers see no VIP: there the own address is the path of the traffic.
    """
    if check.direct or check.kind == "command" or modes.BY_NAME[service.mode].sees_replies:
        return "", ModeOptions()
    return service.mode, service.options


def _port(service: Service, backend: Backend, check: Check) -> int:
    if not BY_NAME[check.kind].has_port and check.kind != "command":
        return 0
    return check.port or backend.port or service.port
