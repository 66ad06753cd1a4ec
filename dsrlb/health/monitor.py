"""Asks all servers, each in its own time, on one thread; tells what holds of each.

One task a server.  Checks begin an interval after the last one began, a little earlier by chance, so that
servers are not asked all at once; while the last answers disagree with what holds, or with each other in how
long they took where that matters, after the fast interval.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from dsrlb.health import BY_NAME, filtering
from dsrlb.health.base import OK, PASSED, Open, Outcome, Subject, Unasked, directly, probe
from dsrlb.health.dampening import Damped, heard
from dsrlb.health.looking import Looking
from dsrlb.health.path import ByPath
from dsrlb.health.record import Asked, Record, Records, with_check
from dsrlb.health.remarks import Remarks
from dsrlb.health.stopwatch import Stopwatch
from dsrlb.standing import AS_CONFIGURED, Health, Names, Standing

AT_ONCE = 400  # each takes a descriptor, of which a process has 1024 by default
FIRST_A_SECOND = 400  # servers asked for the first time
TOGETHER_S = 0.01  # checks begin at multiples of it
CLOSE_WITHIN_S = 3.0
COMPLAIN_EVERY_S, COMPLAINTS_MAX = 60.0, 100

log = logging.getLogger("dsrlb")


class Monitor:
    """The checks that are under way.  The thread is there from the first server to check on."""

    def __init__(
        self,
        tell: Callable[[Names, Health], None],
        open_to: Open = directly,
        by_path: ByPath | None = None,
        remarks: Remarks | None = None,
    ) -> None:
        """Take whom to tell, on the thread of the checks, and how to get to a server, and to its VIP.

        With ``remarks``, servers that pass are looked at more closely.
        """
        self._tell, self._open_to, self._by_path, self._remarks = tell, open_to, by_path, remarks
        self._looking: Looking | None = None
        self._at_host: asyncio.Task[None] | None = None  # a look at this host
        self._records = Records()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: dict[Names, tuple[Subject, asyncio.Task[None]]] = {}  # the thread's, as all below
        self._slots: asyncio.Semaphore
        self._complained: dict[str, float] = {}

    def change_to(self, subjects: Mapping[Names, Subject], standings: Mapping[Names, Standing]) -> None:
        """Ask these servers from now on, of which that is known; those that are asked alike go on."""
        if self._loop is None:
            if not subjects:
                return
            self._loop = asyncio.new_event_loop()
            self._loop.set_exception_handler(_note)
            self._thread = threading.Thread(target=self._run, args=(self._loop,), name="checks", daemon=True)
            self._thread.start()
        known = {names: standings.get(names, AS_CONFIGURED) for names in subjects}
        said = {names: Health(one.up, one.why) for names, one in known.items()}
        self._loop.call_soon_threadsafe(self._take, dict(subjects), said)

    def records(self) -> dict[Names, Record]:
        """Return what the checks have found of each server that is checked, on any thread."""
        return self._records.all()

    def close(self) -> None:
        """Stop asking; what is under way is broken off."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = self._thread = None

    # ------------------------------------------------------------------------- the thread

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        self._slots = asyncio.Semaphore(AT_ONCE)
        if self._by_path is not None and self._remarks is not None:
            self._looking = Looking(self._by_path, self._remarks)
            self._at_host = loop.create_task(filtering.look_for_ever(self._remarks))
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(self._break_off())
            if self._looking is not None:
                self._looking.close()
            loop.close()

    async def _break_off(self) -> None:
        """End all checks, and wait until what they hold is given back; what they ask by ends with them."""
        for task in [task for _, task in self._tasks.values()] + [one for one in (self._at_host,) if one]:
            task.cancel()
        now = asyncio.get_running_loop().time
        until = now() + CLOSE_WITHIN_S
        while (left := asyncio.all_tasks() - {asyncio.current_task()}) and now() < until:
            await asyncio.wait(left, timeout=until - now())

    def _take(self, subjects: Mapping[Names, Subject], said: Mapping[Names, Health]) -> None:
        before, self._tasks = self._tasks, {}
        self._records.keep(subjects.keys())
        fresh = {names: number for number, names in enumerate(subjects.keys() - before.keys())}
        for names, subject in subjects.items():
            old, task = before.pop(names, (None, None))
            if task is None or old != subject:
                if task is not None:
                    task.cancel()
                after_s = fresh.get(names, 0) / FIRST_A_SECOND
                watching = self._attend(names, subject, said[names], names in fresh, after_s)
                task = asyncio.get_running_loop().create_task(watching)
            self._tasks[names] = subject, task
        for _, task in before.values():
            task.cancel()

    async def _attend(
        self, names: Names, subject: Subject, said: Health, is_fresh: bool, after_s: float
    ) -> None:
        """Check a server for ever; look more closely where its path is this host's to take."""
        with ExitStack() as looking:
            if self._looking is not None and (subject.mode or subject.answers_by_us):
                look = self._looking.forever(subject, lambda: self._records.passes(names))
                looking.callback(asyncio.get_running_loop().create_task(look).cancel)
            await self._watch(names, subject, said, is_fresh, after_s)

    async def _watch(
        self, names: Names, subject: Subject, said: Health, is_fresh: bool, after_s: float
    ) -> None:
        """Ask a server for ever, and tell what changes."""
        loop, check = asyncio.get_running_loop(), subject.check
        state = Damped(PASSED if said.up else Outcome(said.why), is_fresh)
        due = loop.time() + after_s
        record = Record(subject, said.up, loop.time(), due)
        while True:
            self._records.put(names, record._replace(due_s=due))
            await asyncio.sleep(begins_s(subject, due) - loop.time())
            asked = await self._ask(subject, due)
            if asked is not None:
                state = heard(state, asked.outcome, check.rise, check.fall)
                record = with_check(record, asked, up=state.holds.ok)
                if _health(state.holds) != said:
                    said = _health(state.holds)
                    self._tell(names, said)
            is_changing = state.is_changing or (subject.is_weighed and record.varies)
            pace_s = check.fast_interval_s if is_changing else check.interval_s
            early = check.jitter * random.random()  # noqa: S311  (no secret)
            due = max(due + pace_s * (1 - early), loop.time())

    async def _ask(self, subject: Subject, due: float) -> Asked | None:
        """Ask a server once; None if it could not be asked."""
        now = asyncio.get_running_loop().time
        async with self._slots:
            began = now()
            if began - due > subject.check.interval_s:
                self._complain("checks are late: there are more than this host can do; make intervals longer")
            try:
                watch = Stopwatch(BY_NAME[subject.check.kind], now)
                if (subject.mode or subject.answers_by_us) and self._by_path is not None:
                    outcome = await self._by_path.probe(watch.ask, subject)
                else:
                    outcome = await probe(watch.ask, subject, self._open_to)
                return Asked(outcome, now(), watch.took_s, watch.connected_s)
            except Unasked as error:
                self._complain(f"a check was left out, since this host could not make it: {error}")
            except Exception as error:
                self._complain(f"a check failed in itself ({type(error).__name__}: {error})")
                log.debug("traceback", exc_info=True)
        return None

    def _complain(self, sentence: str) -> None:
        """Log it, unless that was done lately."""
        now = asyncio.get_running_loop().time()
        if now >= self._complained.get(sentence, now):
            if len(self._complained) >= COMPLAINTS_MAX:
                self._complained.clear()
            self._complained[sentence] = now + COMPLAIN_EVERY_S
            log.warning("%s", sentence)


def begins_s(subject: Subject, due_s: float) -> float:
    """Return when a check that is due begins: with others, since each time that the thread wakes up costs.

    One whose time counts begins on its own, lest it be told from behind the others.
    """
    return due_s if subject.is_weighed else math.ceil(due_s / TOGETHER_S) * TOGETHER_S


def _health(outcome: Outcome) -> Health:
    """Return an outcome that holds as a standing tells it."""
    if outcome.word == OK:
        return Health(True)
    return Health(False, f"{outcome.word}: {outcome.detail}" if outcome.detail else outcome.word)


def _note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Keep what asyncio finds odd (a hostile server can cause much of it) out of the log."""
    log.debug("checks: %s", context.get("message"), exc_info=context.get("exception"))
