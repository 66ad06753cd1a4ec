"""What limits of mode proxy have refused: HAProxy is asked, and what it said before a reload is kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from dsrlb.engines.haproxy import refusals, runtime
from dsrlb.engines.haproxy.places import Places
from dsrlb.errors import HostError
from dsrlb.model import Service


class Refused:
    """Totals since this process began."""

    def __init__(self, places: Places) -> None:
        self._places, self._refusals = places, refusals.Refusals()

    def look(self, services: Sequence[Service]) -> None:
        """Ask HAProxy; if it is silent, what it said last holds."""
        with suppress(HostError):
            for said in runtime.answers(self._places.runtime, refusals.commands(services)):
                self._refusals.note(services, said)

    def begin_anew(self) -> None:
        """Take it that HAProxy counts from 0 again."""
        self._refusals.begin_anew()

    def totals(self) -> dict[refusals.Refusal, int]:
        """Return what was refused, or would have been."""
        return self._refusals.totals()
