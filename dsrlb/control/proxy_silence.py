"""A HAProxy that runs and does not answer is told of once; it is not killed, for it may serve."""

from __future__ import annotations

import logging

from dsrlb.engines.haproxy.process import Process

TELL_AFTER_S = 5.0

log = logging.getLogger("dsrlb")


class Silence:
    """Whether it was told."""

    def __init__(self) -> None:
        self._is_told = False

    def look(self, process: Process, since_s: float | None, now_s: float) -> None:
        """Tell it, if HAProxy has not answered since then, for long; and when it does again."""
        if since_s is None:
            if self._is_told:
                log.warning("HAProxy answers again")
            self._is_told = False
        elif not self._is_told and now_s - since_s >= TELL_AFTER_S:
            self._is_told = True
            why = process.lost or "it is not killed, and told how servers stand when it answers."
            log.error(
                "HAProxy (process %s) has not answered for %.0f s: %s", process.pid, now_s - since_s, why
            )
