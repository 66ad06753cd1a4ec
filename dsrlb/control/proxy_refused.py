"""What limits of mode proxy have refused: HAProxy is asked, and what it said before a reload is kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from dsrlb.engines.haproxy import refusals, runtime
from dsrlb.engines.haproxy.places import Places
from dsrlb.errors import HostError
from dsrlb.model import Service

ASKED_AT_ONCE = 64  # tables: HAProxy takes a line of 16 KiB


class Refused:
    """Totals since this process began."""

    def __init__(self, places: Places) -> None:
        self._places, self._refusals = places, refusals.Refusals()

    def look(self, services: Sequence[Service]) -> None:
        """Ask HAProxy; if it is silent, what it said last holds."""
        asked = refusals.commands(services)
        with suppress(HostError):
            for first in range(0, len(asked), ASKED_AT_ONCE):
                said = runtime.command(self._places.runtime, *asked[first : first + ASKED_AT_ONCE])
                self._refusals.note(services, said)

    def begin_anew(self) -> None:
        """Take it that HAProxy counts from 0 again."""
        self._refusals.begin_anew()

    def totals(self) -> dict[refusals.Refusal, int]:
        """Return what was refused, or would have been."""
        return self._refusals.totals()
