"""A HAProxy that has ended by itself is started again: at once, and each time in a row a little later."""

from __future__ import annotations

import logging
from collections.abc import Callable

from dsrlb.engines.haproxy.process import START_WITHIN_S, Process

AGAIN_AFTER_S = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # from a start to the next; the last one goes on
CALM_S = 10.0  # the end of one that has served for so long counts as the first one

log = logging.getLogger("dsrlb")


class Revival:
    """How often HAProxy ended lately, and whether it is being started just now.  Never waits."""

    def __init__(self) -> None:
        self.count = 0  # how often it was started again
        self._row = 0  # starts since it last served for long
        self._last_s = 0.0  # the last of them
        self._serves_s: float | None = None  # since when
        self._ended_s: float | None = None  # since when nothing serves
        self._launched_s: float | None = None
        self._told = ""

    def look(self, process: Process, prepare: Callable[[], None], now_s: float) -> bool:
        """Return whether HAProxy is back just now; ``prepare`` is done before each start."""
        if self._launched_s is not None:
            if process.is_running and process.is_ready:
                return self._is_back(now_s)
            if process.is_running and now_s - self._launched_s < START_WITHIN_S:
                return False
            self._launched_s = None
            self._tell("HAProxy does not start again%s; it is tried on", process.why_ended())
        elif process.is_running:
            process.note()
            return False
        elif self._ended_s is None:
            self._ended_s = now_s
            if self._serves_s is None or now_s - self._serves_s >= CALM_S:
                self._row = 0
            self._tell(
                "HAProxy has ended by itself%s, with the connections of mode proxy; it is started again",
                process.why_ended(),
            )
        wait_s = AGAIN_AFTER_S[min(self._row, len(AGAIN_AFTER_S) - 1)]
        if self._row == 0 or now_s >= self._last_s + wait_s:
            self._row, self._last_s = self._row + 1, now_s
            self.count += 1
            prepare()
            process.launch()
            self._launched_s = now_s
        return False

    @property
    def is_at_work(self) -> bool:
        """Whether HAProxy does not serve just now."""
        return self._ended_s is not None

    def forget(self) -> None:
        """Take it that HAProxy was started or stopped on purpose."""
        self._ended_s = self._launched_s = None
        self._told = ""

    def _is_back(self, now_s: float) -> bool:
        since_s = now_s if self._ended_s is None else self._ended_s
        log.warning("HAProxy serves again, %.1f s after its end was seen", now_s - since_s)
        self.forget()
        self._serves_s = now_s
        return True

    def _tell(self, sentence: str, why: str) -> None:
        if self._told != sentence + why:
            log.error(sentence, why)
        self._told = sentence + why
