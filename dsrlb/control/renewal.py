"""Whether files of certificates have changed since they were loaded: a renewal needs no other word."""

from __future__ import annotations

from collections.abc import Sequence

from dsrlb.host.certificates import digest
from dsrlb.model import Service

LOOK_EVERY_S = 60.0


class Renewal:
    """What the files of services were when HAProxy loaded them."""

    def __init__(self) -> None:
        self._loaded, self._due_s = b"", 0.0

    def note(self, services: Sequence[Service], now_s: float) -> None:
        """Take the files for loaded as they are now; begin to look for changes."""
        self._loaded, self._due_s = _digest(services), now_s + LOOK_EVERY_S

    def is_due(self, now_s: float) -> bool:
        """Return whether it is time to look again; each time is told once."""
        if now_s < self._due_s:
            return False
        self._due_s = now_s + LOOK_EVERY_S
        return True

    def has_changed(self, services: Sequence[Service]) -> bool:
        """Return whether a file is not what was loaded."""
        return _digest(services) != self._loaded


def _digest(services: Sequence[Service]) -> bytes:
    return digest(one.proxy for one in services if one.proxy is not None)
