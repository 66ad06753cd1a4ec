"""Reloads, one after the other: asked for, prepared on a thread of their own, done or refused, and told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from dsrlb.control.reload import Prepared, Reload
from dsrlb.errors import DsrlbError
from dsrlb.host.notify import READY, RELOADING, notify

Heard = Callable[[Sequence[str]], None]  # what speaks against a reload; nothing: it is done

log = logging.getLogger("dsrlb")


class Reloads:
    """The reload that is under way, and those who ask for the next.  The main thread's."""

    def __init__(self, prepare: Callable[[], Reload], change_to: Callable[[Prepared], None]) -> None:
        """Take what begins to prepare one, and what goes over to one that is prepared, or raises."""
        self._prepare, self._change_to = prepare, change_to
        self._now: Reload | None = None
        self._is_wanted_again = False
        self._told_of_this: list[Heard] = []
        self._told_of_next: list[Heard] = []
        self._others: list[Callable[[], None]] = []
        self._is_lent = False  # to one of these

    def beside(self, begin: Callable[[], None]) -> None:
        """Begin what must not run beside a reload, now or after it; ``free`` says that it is over."""
        self._others.append(begin)
        self._next()

    def free(self) -> None:
        """Let what waits begin."""
        self._is_lent = False
        self._next()

    def _next(self) -> None:
        if self._now is not None or self._is_lent:
            return
        if self._is_wanted_again:
            self._is_wanted_again = False
            self.begin()
        elif self._others:
            self._is_lent = True
            self._others.pop(0)()

    def begin(self, *tell: Heard) -> None:
        """Begin to prepare what the file says now, and ``tell`` what came of it.

        One that is under way is followed by another.
        """
        self._told_of_next += tell
        if self._now is not None or self._is_lent:
            self._is_wanted_again = True
            return
        self._told_of_this, self._told_of_next = self._told_of_next, []
        notify(f"{RELOADING}\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        self._now = self._prepare()

    def end(self) -> None:
        """Go over to what was prepared, or say why not and stay."""
        outcome = self._now.outcome if self._now is not None else None
        self._now, problems = None, ["the reload failed; see the log of dsrlb"]
        try:
            if isinstance(outcome, DsrlbError):
                raise outcome
            if outcome is not None:
                self._change_to(outcome)
            problems = []
        except (DsrlbError, OSError) as error:  # OSError: the kernel, out of memory or descriptors
            problems = str(error).splitlines()
            for problem in problems:
                log.error("%s", problem)
            log.error("reload refused: the running configuration stays as it was")
            notify(f"{READY}\nSTATUS=reload refused: {problems[0]}")
        finally:
            for tell in self._told_of_this:
                tell(problems)
            self._next()
