"""What HAProxy counts, over its reloads and restarts: nothing of it ever gets less.

::

    worker 813 (from before a reload)  ──► what it has now, less what it had at the last look ─┐
    worker 840                         ──► what it has now, less what it had at the last look ─┴─► totals

Each worker counts for itself, from 0; one that is old still has connections.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

from dsrlb.engines.haproxy import runtime
from dsrlb.engines.haproxy.places import Places
from dsrlb.engines.haproxy.runtime import Row
from dsrlb.errors import HostError

# HAProxy 2.6 management guide, section 9.1.
GROWING = (
    "stot", "bin", "bout", "dreq", "dresp", "dcon", "ereq", "econ", "eresp", "wretr", "wredis",
    "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other", "req_tot", "conn_tot",
)  # fmt: skip
OF_NOW = ("scur", "qcur")
MEANS = ("rtime",)  # milliseconds from when a request had a connection until its answer began
FRESH_S = 0.02  # several who ask at once cost one look
SILENT_S = 2.0  # after which one that did not answer is asked again
HANGS_S = 30.0  # after which an old worker is, that did not

Key = tuple[str, str]  # names of a proxy and of a server in it, or FRONTEND, or BACKEND
Counts = Mapping[str, int]

log = logging.getLogger("dsrlb")


class Totals:
    """Totals of each count, fed by worker.  Pure."""

    def __init__(self) -> None:
        self.of: dict[Key, dict[str, int]] = {}
        self._last: dict[int, dict[Key, Counts]] = {}  # by worker

    def adopt(self, rows: Mapping[int, Iterable[Row]]) -> None:
        """Take what workers have counted so far for counted before."""
        self._last = {
            worker: {(one.proxy, one.server): one.counts for one in of} for worker, of in rows.items()
        }

    def take(self, rows: Mapping[int, Iterable[Row]], silent: Iterable[int] = ()) -> None:
        """Add what each worker has counted since the last look; one that is not named has ended.

        ``silent``: those that live and did not tell.
        """
        for known in self.of.values():
            known.update(dict.fromkeys(OF_NOW, 0))
        last = self._last
        self._last = {worker: last[worker] for worker in silent if worker in last}
        for worker, of in rows.items():
            before = last.get(worker, {})
            self._last[worker] = {(one.proxy, one.server): one.counts for one in of}
            for key, counts in self._last[worker].items():
                self._add(key, counts, before.get(key, {}))

    def _add(self, key: Key, counts: Counts, before: Counts) -> None:
        total = self.of.setdefault(key, {})
        for name, value in counts.items():
            if name in MEANS:  # those of several workers make no sum
                continue
            grown = value if name in OF_NOW else value - before.get(name, 0)
            total[name] = total.get(name, 0) + max(0, grown)


class Counting:
    """The totals of one HAProxy, looked at when asked for.  The main thread's."""

    def __init__(self, places: Places) -> None:
        self._places, self._totals = places, Totals()
        self._due_s = 0.0
        self.silent_since_s: float | None = None
        self.by_worker: tuple[int, Mapping[Key, Counts]] = (0, {})  # what the one of now told last
        self._asked_again_s: dict[int, float] = {}  # old workers that were silent, and when each is asked

    def adopt(self) -> None:
        """Begin with a HAProxy that was at work before; what it counted until now was told by another."""
        try:
            self._totals.adopt(self._rows()[0])
        except HostError:
            self._totals.adopt({})

    @property
    def of(self) -> Mapping[Key, Counts]:
        """The totals as they were at the last look."""
        return self._totals.of

    def forget(self, some: Iterable[Key]) -> None:
        """Begin anew with these: who is called so from now on is another one."""
        for key in some:
            self._totals.of.pop(key, None)

    def wake(self) -> None:
        """Ask again at the next look, as HAProxy serves again."""
        self._due_s, self.silent_since_s = 0.0, None

    @property
    def is_silent(self) -> bool:
        """Whether HAProxy did not answer when it was asked last."""
        return self.silent_since_s is not None

    def look(self, *, is_now: bool = False) -> Mapping[Key, Counts]:
        """Return the totals; while HAProxy is silent, those of before.  ``is_now``: not those of just now."""
        now_s = time.monotonic()
        if now_s >= self._due_s or (is_now and not self.is_silent):
            self._due_s = now_s + FRESH_S
            try:
                self._totals.take(*self._rows())
                self.silent_since_s = None
            except HostError as error:
                self._due_s = now_s + SILENT_S
                if self.silent_since_s is None:
                    log.debug("HAProxy was not asked what it counts: %s", error)
                    self.silent_since_s = now_s
        return self._totals.of

    def _rows(self) -> tuple[dict[int, list[Row]], list[int]]:
        """Return what each worker has counted, and those that have not told.

        All old workers together have the time of one: the control loop waits.
        """
        columns, of = (*GROWING, *OF_NOW, *MEANS), runtime.workers(self._places.master)
        rows = dict[int, list[Row]]()
        if of.now is not None:
            rows[of.now] = runtime.statistics(self._places.runtime, columns)
            self.by_worker = of.now, {(one.proxy, one.server): one.counts for one in rows[of.now]}
        began_s, silent = time.monotonic(), list[int]()
        self._asked_again_s = {one: at_s for one, at_s in self._asked_again_s.items() if one in of.old}
        for worker in of.old:
            now_s = time.monotonic()
            left_s = began_s + runtime.ANSWER_WITHIN_S - now_s
            if left_s <= 0 or now_s < self._asked_again_s.get(worker, 0.0):
                silent.append(worker)
                continue
            try:
                rows[worker] = runtime.statistics(self._places.master, columns, worker, left_s)
            except HostError:  # it hangs, or it has ended just now
                self._asked_again_s[worker] = now_s + HANGS_S
                silent.append(worker)
        return rows, silent
