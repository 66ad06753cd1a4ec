"""The operator's word: what it changes now, when a drain is over, and what of it holds over restarts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf

from dsrlb.control.drains import NONE_LEFT, Drain, Left, is_due, is_empty, left_of
from dsrlb.control.durable import Durable, Told
from dsrlb.control.kept import NOTHING, Kept, after
from dsrlb.control.standings import Standings
from dsrlb.engines.base import Counters
from dsrlb.errors import DsrlbError
from dsrlb.standing import Names, Wish
from dsrlb.table import ForwardingTable

TIDY_AGAIN_S = 5.0

log = logging.getLogger("dsrlb")


class Wishes:
    """What the operator wants of the backends of a configuration.  The main thread's."""

    def __init__(self, standings: Standings, durable: Durable) -> None:
        """Begin without any."""
        self.drains: dict[Names, Drain] = {}
        self.durable = durable
        self._standings = standings
        self._obsolete: set[Names] = set()  # what a reload took away, though the file may have it yet
        self._tidy_from_s = inf  # until a reload
        self._is_tidying = self._is_untidy = False  # it is under way; it failed the last time

    def begin(self, now_s: float) -> None:
        """Take over what an earlier process was told to keep."""
        self.durable.load(self._standings.people())
        now = time.time()
        for names, kept in self.durable.of.items():
            wish = kept.wish(now)
            self.hear({names: wish}, now_s, None if kept.until is None or wish.gone else kept.until - now)
            if wish.gone:
                log.info("%s: its drain was over before this start", self._standings.words(names))

    def hear(self, wishes: Mapping[Names, Wish], now_s: float, within_s: float | None = None) -> None:
        """Take over wishes for some backends; ``within_s``: their drains are over after so long."""
        for names, wish in wishes.items():
            self._standings.hear(names, wish, now_s)
            standing, drain = self._standings.of.get(names), self.drains.get(names)
            if standing is None or not standing.drained:
                self.drains.pop(names, None)
                continue
            if drain is None or (drain.is_over and not standing.gone):
                drain = Drain(now_s)
            until_s = drain.until_s if within_s is None else now_s + within_s
            self.drains[names] = replace(drain, until_s=until_s, is_over=standing.gone)

    def keep(self, wishes: Mapping[Names, Wish], told: Told, now_s: float) -> None:
        """Have wishes that were heard hold over restarts, and tell (from another thread) what came of it."""
        until = {names: self._until(names, now_s) for names in wishes}
        anew = self._obsolete & wishes.keys()
        self._obsolete -= anew

        def change(of: Mapping[Names, Kept]) -> dict[Names, Kept]:
            also = {
                names: after(NOTHING if names in anew else of.get(names, NOTHING), wish, until[names])
                for names, wish in wishes.items()
            }
            return {**of, **also}

        self.durable.change(change, self._standings.people(), told)

    def _until(self, names: Names, now_s: float) -> float | None:
        """Return when the drain that holds now ends, or has ended, in seconds since 1970."""
        drain = self.drains.get(names)
        if drain is None:
            return None
        until_s = now_s if drain.is_over else drain.until_s
        return None if until_s is None else time.time() + until_s - now_s

    def change_to(self, now_s: float) -> None:
        """Forget backends that are not configured any more, after the standings have."""
        there = set(self._standings.of)
        self.drains = {names: drain for names, drain in self.drains.items() if names in there}
        self._obsolete |= self.durable.of.keys() - there
        self._tidy_from_s = now_s
        self._tidy(now_s)

    def _tidy(self, now_s: float) -> None:
        """Take out of the file what reloads made obsolete; what fails is tried again a while later."""
        if self._is_tidying or now_s < self._tidy_from_s:
            return
        obsolete, people = frozenset(self._obsolete), self._standings.people()
        if self.durable.of.keys().isdisjoint(obsolete) and self.durable.others.keys().isdisjoint(people):
            self._obsolete, self._tidy_from_s = set(), inf
            return
        self._is_tidying, self._tidy_from_s = True, now_s + TIDY_AGAIN_S
        self.durable.change(
            lambda of: {names: kept for names, kept in of.items() if names not in obsolete},
            people,
            self._tidied,
        )

    def _tidied(self, error: DsrlbError | None) -> None:
        """Log, once, that the file still has what is obsolete.  On the thread of the file."""
        if error is not None and not self._is_untidy:
            log.warning("what was durable of backends that are gone could not be taken out: %s", error)
        self._is_untidy = error is not None
        self._is_tidying = False

    def look(self, counters: Callable[[], Counters], table: ForwardingTable, now_s: float) -> bool:
        """Tell of drains that are empty, and end those that are over; return whether there was one."""
        self._tidy(now_s)
        looked_at = {
            names: one
            for names, one in self.drains.items()
            if not one.is_over and (one.until_s is not None or not one.is_told)
        }
        counted = counters().backends if looked_at else {}
        is_one_over = False
        for names, drain in looked_at.items():
            left = left_of(counted.get(names), table.services.get(names[0]))
            if is_due(drain, now_s):
                self._end(names, drain, left, now_s)
                is_one_over = True
            elif is_empty(drain, left, now_s) and not drain.is_told:
                after_s = int(now_s - drain.began_s)
                words = self._standings.words(names)
                log.info("%s is empty: no connection is left, %d s after it was drained", words, after_s)
                self.drains[names] = replace(drain, is_told=True)
        return is_one_over

    def _end(self, names: Names, drain: Drain, left: Left, now_s: float) -> None:
        """Let go of what a drained backend still has."""
        let_go = None if left == NONE_LEFT or is_empty(drain, left, now_s) else left
        self.drains[names] = replace(drain, until_s=None, is_over=True, let_go=let_go)
        what = "no connection was left" if let_go is None else f"{left} are let go"
        log.warning("%s: its drain is over: %s", self._standings.words(names), what)
        self._standings.hear(names, Wish(gone=True), now_s)
