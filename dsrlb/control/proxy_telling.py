"""HAProxy is told how servers stand, while it runs; what it does not take is told again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from dsrlb.control.proxy_counts import Key
from dsrlb.engines.haproxy import render, runtime
from dsrlb.engines.haproxy.names import entries
from dsrlb.engines.haproxy.places import Places
from dsrlb.engines.haproxy.process import Process
from dsrlb.errors import HostError
from dsrlb.model import Service
from dsrlb.standing import Names, named

AGAIN_AFTER_S = 2.0

log = logging.getLogger("dsrlb")


class Telling:
    """What HAProxy knows of its servers."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self.said: dict[Key, render.ServerState] = {}
        self._gone: frozenset[Names] = frozenset()
        self._is_lost = False  # what was said
        self._why_not = ""
        self._due_s = 0.0

    def is_told(self, states: dict[Key, render.ServerState], gone: frozenset[Names]) -> None:
        """Take it that HAProxy knows this, by its configuration."""
        self.said, self._gone, self._is_lost = states, gone, False

    def begin_anew(self) -> None:
        """Tell at once what there is to tell, as HAProxy serves again."""
        self._due_s = 0.0

    def forget(self) -> None:
        """Take it that HAProxy has not heard what was said."""
        self._is_lost = True

    def tell(
        self,
        process: Process,
        services: Sequence[Service],
        states: dict[Key, render.ServerState],
        gone: frozenset[Names],
        now_s: float,
    ) -> None:
        """Tell what differs from what HAProxy knows; ``gone``: servers whose drain is over."""
        commands = [
            *render.changes({} if self._is_lost else self.said, states),
            *self._let_go(services, gone),
        ]
        if not commands or now_s < self._due_s:
            return
        try:
            runtime.tell(self._places.runtime, commands)
        except HostError as error:
            self._due_s = now_s + AGAIN_AFTER_S
            if process.is_running and str(error) != self._why_not:
                log.warning("HAProxy was not told how servers stand, and is told again: %s", error)
            self._why_not = str(error)
            return
        self._why_not = ""
        self.is_told(states, gone)

    def _let_go(self, services: Sequence[Service], gone: frozenset[Names]) -> Iterator[str]:
        """Yield what ends the connections of servers whose drain is over."""
        for service in services:
            for names, backend in named(service):
                if names in gone and names not in self._gone:
                    for proxy, server in entries(service, backend):
                        yield f"shutdown sessions server {proxy}/{server}"
