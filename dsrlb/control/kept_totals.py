"""Totals on the disk, so that the next process goes on from them.

::

    control loop   look ──► a copy of it ──┐                    ┌──► who was told of that look
    its own thread                         └─► file, replaced ──┘

Who is told totals is told them when they are in the file: so nothing was ever told that is more than what a
process goes on from which begins after this one was killed.  A disk that is slow, full or gone keeps nobody
waiting for more than a moment.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dsrlb.control.totals import Kept, Totals, Unfit
from dsrlb.engines.base import Counters, Engine
from dsrlb.errors import DsrlbError
from dsrlb.host.files import locked, read_whole, replace_whole

MOST_BYTES = 64 << 20
WAIT_S = 2.0  # for the disk, before who asked is told nevertheless
CLOSE_WITHIN_S = 2.0
REST_S, REST_TIMES, MOST_REST_S = 0.1, 2.0, 1.0  # between two writes: so many times what the first one took

Do = Callable[[], None]

log = logging.getLogger("dsrlb")


def totals_path(folder: str, instance: str) -> Path:
    """Return where an instance keeps what it has counted."""
    return Path(folder) / f"counters-{instance}.json"


class KeptTotals:
    """The control loop's but for ``_run``, the thread of the file."""

    _engine: Engine  # from ``begin`` on
    _counted: Callable[[], Counters]

    def __init__(self, path: Path) -> None:
        """Take the file's path; nothing is made yet."""
        self.path = path
        self._totals, self._counts_in = Totals(), ""
        self._is_ours = False  # the file; else nothing is kept
        self._lock_fd: int | None = None
        self._turn = threading.Condition()
        self._wanted: Kept | None = None
        self._looks = 0  # how many there have been
        self._asked = 0  # the look of ``_wanted``, or of what is being written
        self._waiting: deque[tuple[int, float, Do]] = deque()  # look, since when, what to do
        self._is_over = False
        self._failure = ""
        self._written: Kept | None = None
        self._thread: threading.Thread | None = None

    def begin(self, engine: Engine, counted: Callable[[], Counters]) -> None:
        """Go on from the file, if there is one, with what an engine counts; what is wrong is logged.

        ``counted`` asks for all that is counted, of which that of the engine is a part.
        """
        self._engine, self._counted, self._counts_in = engine, counted, engine.counts_in
        try:
            self._lock()
        except BlockingIOError:
            log.warning(
                "another dsrlb keeps its counters in %s, so those of this one begin at 0 with each start; "
                "give it a name of its own (--instance), or another folder (--state-dir)",
                self.path,
            )
            return
        except OSError as error:
            self._tell_failure(error)
        self._is_ours = True
        try:
            text = read_whole(self.path, MOST_BYTES)
            if text is not None:
                self._totals.go_on(text, self._counts_in)
        except OSError as error:
            self._tell_failure(error)
        except Unfit as unfit:
            log.warning("the counters kept in %s are lost, and begin at 0: %s", self.path, unfit)

    def look(self) -> Counters:
        """Return the totals, with what the engine says now: to be told ``when_kept``."""
        totals = self._totals.look(self._counted())
        self._looks += 1
        return totals

    def when_kept(self, do: Do) -> None:
        """Do something, on some thread, when the last look is on the disk or has had its time."""
        if not self._is_ours:
            return do()
        with self._turn:
            self._waiting.append((self._looks, time.monotonic(), do))
            if self._asked < self._looks:
                self._asked, self._wanted = self._looks, self._totals.kept(self._counts_in)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="totals", daemon=True)
                self._thread.start()
            self._turn.notify()

    def hurry(self) -> None:
        """Let those go on who have waited long enough for the disk; call it a few times a second."""
        self._let_go_on(0, time.monotonic() - WAIT_S)

    def keep(self) -> None:
        """Have the totals on the disk, whether anybody asks or not."""
        self.look()
        self.when_kept(lambda: None)

    def end(self) -> None:
        """Have on the disk what was counted to the end of the engine, which is stopped."""
        self._engine.stop()
        with suppress(DsrlbError, OSError):  # the last look is from a moment ago
            self.keep()
        self.close()

    def close(self) -> None:
        """Write the last look, and end; harmless when repeated."""
        if not self._is_ours:
            return
        if self._looks:
            self.when_kept(lambda: None)
        with self._turn:
            self._is_over = True
            self._turn.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_WITHIN_S)
        self._is_ours = False
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _lock(self) -> None:
        """Keep others from the file, if that has not come about yet.  BlockingIOError: another has it."""
        if self._lock_fd is None:
            self._lock_fd = locked(self.path.with_suffix(".lock"))

    # ------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._wanted is not None or self._waiting or self._is_over)
                kept, self._wanted, look = self._wanted, None, self._asked
                if kept is None and not self._waiting:
                    return
            began = time.monotonic()
            if kept is not None:
                self._write(kept)
            self._let_go_on(look, 0.0)
            took_s = time.monotonic() - began
            with self._turn:
                self._turn.wait_for(lambda: self._is_over, min(max(REST_S, REST_TIMES * took_s), MOST_REST_S))

    def _write(self, kept: Kept) -> None:
        if kept == self._written:
            return
        try:
            self._lock()
            replace_whole(self.path, kept.as_text())
        except OSError as error:
            self._written = None
            return self._tell_failure(error)
        self._written = kept
        if self._failure:
            log.info("the counters are kept in %s again", self.path)
        self._failure = ""

    def _tell_failure(self, error: OSError) -> None:
        why = error.strerror or str(error)
        if not self._failure:
            log.warning(
                "the counters cannot be kept in %s (%s): they are told all the same, and begin at what was "
                "last kept after a restart; name another folder (--state-dir), or make room there",
                self.path,
                why,
            )
        self._failure = why

    def _let_go_on(self, look: int, since_s: float) -> None:
        """Do what waits for a look up to this one, or began to wait before that time."""
        ready = []
        with self._turn:
            while self._waiting and (self._waiting[0][0] <= look or self._waiting[0][1] < since_s):
                ready.append(self._waiting.popleft()[2])
        for do in ready:
            try:
                do()
            except Exception:  # of one who waits; the others, and the file, have nothing to do with it
                log.warning("who asked for counters could not be told; the others are", exc_info=True)
