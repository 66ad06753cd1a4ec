"""What is seen of servers beside the outcome of their checks, and what comes of it.

::

    clients' handshakes  ──► passive    ──► a server is ejected, or taken back     an event, like a check's
    handshakes, probes,
    answers              ──► responses  ──► how much of its weight a server has
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from dsrlb.answered import Answers
from dsrlb.control.checks import Checks
from dsrlb.control.passive import Passive
from dsrlb.control.responses import Responses, by_response
from dsrlb.control.standings import Standings, standing_event
from dsrlb.engines.base import Engine
from dsrlb.host.watch import Event
from dsrlb.model import Service
from dsrlb.standing import Ejection, Names
from dsrlb.table import ForwardingTable

Answering = Callable[[Sequence[Service]], Mapping[Names, Mapping[str, Answers]]]


class Observed:
    """The servers of a configuration, in services that want them observed.  The main thread's."""

    def __init__(
        self,
        services: Sequence[Service],
        standings: Standings,
        checks: Checks,
        events: queue.SimpleQueue[Event],
    ) -> None:
        self.responses = Responses()
        self._passive = Passive(services)
        self._standings, self._checks, self._events = standings, checks, events

    def watch(self, engine: Engine) -> None:
        """Leave servers whose clients' handshakes fail, where services want that, and take them back."""
        if self._passive.watches:
            seen, now_s = engine.handshakes(), time.monotonic()
            self._tell(self._passive.look(seen, self._standings.of, engine.table, now_s))

    def relent(self, table: ForwardingTable) -> None:
        """Take back servers that were left, where too few others are left."""
        self._tell(self._passive.relent(self._standings.of, table, time.monotonic()))

    def weigh(self, services: Sequence[Service], engine: Engine, answers: Answering) -> bool:
        """Give servers the weights that their response times leave them, where a service goes by those.

        ``answers``: tells of services of mode proxy how long their servers take.  Return whether a weight
        is new.
        """
        services, now_s = by_response(services), time.monotonic()
        seen = engine.handshakes() if any(one.samples for one in services) else {}
        records = self._checks.records() if services else {}
        of_proxy = answers([one for one in services if one.mode == "proxy"])
        percents = self.responses.look(services, self._standings.of, records, seen, now_s, of_proxy)
        return self._standings.weigh(percents)

    def change_to(self, services: Sequence[Service], table: ForwardingTable) -> None:
        """Go over to another configuration, after the standings; what is known of who stays is kept."""
        self.responses.keep(services)
        self._passive.change_to(services)
        self.relent(table)

    def _tell(self, said: Iterable[tuple[Names, Ejection]]) -> None:
        """Take what handshakes say of servers for events like others."""
        for names, change in said:
            self._events.put(standing_event(names, change))
