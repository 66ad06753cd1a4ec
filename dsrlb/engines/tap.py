"""The decisions of a data path in this process, heard where its engine asks for them.

Only while somebody traces: then every frame takes some microseconds more, whoever reads or does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from dsrlb.engines.tracing import Decision, SentFrame, Waiting, Wanted
from dsrlb.engines.whose import whose
from dsrlb.model import PASS_REASONS
from dsrlb.state import State, Verdict
from dsrlb.table import ForwardingTable
from dsrlb.wire.glance import Glance, glance
from dsrlb.wire.offload import Offload

Decide = Callable[[bytes, int, ForwardingTable, State, int, Offload | None], Verdict]
Known = Callable[[bytes, int, ForwardingTable, State, int, Offload | None], Verdict | None]


def unknown(*_: object) -> None:
    """Know no flow: what is decided is decided where it is heard."""


class Tap:
    """Hears decisions; ``waiting`` are those that were asked for."""

    def __init__(self, by: str, wanted: Wanted, passes: bool) -> None:
        """``by``: the name of the data path; ``passes``: it is heard of what is left to the host, too."""
        self._by, self._wanted, self._passes = by, wanted, passes
        self._heard = 0
        self.waiting = Waiting()

    def around(self, known: Known, decide: Decide) -> Decide:
        """Return what decides the same, and is heard."""

        def heard(
            frame: bytes,
            ifindex: int,
            table: ForwardingTable,
            state: State,
            now_s: int,
            offload: Offload | None,
        ) -> Verdict:
            released = len(state.released)
            verdict = known(frame, ifindex, table, state, now_s, offload)
            if verdict is None:
                verdict = decide(frame, ifindex, table, state, now_s, offload)
            self._hear(frame, ifindex, verdict, state.released[released:], (table, state, now_s))
            return verdict

        return heard

    def hear_late(self, verdicts: Iterable[Verdict]) -> None:
        """Hear of frames that were held, and are sent now."""
        for verdict in verdicts:
            action, reason, _, _ = verdict
            sent = (self._kept(verdict),)
            decision = Decision(time.monotonic_ns(), self._by, 0, action, reason, b"", 0, sent)
            self._let_wait(glance(verdict[3]), decision)

    def _hear(
        self,
        frame: bytes,
        ifindex: int,
        verdict: Verdict,
        released: list[Verdict],
        by: tuple[ForwardingTable, State, int],
    ) -> None:
        action, reason, _, out = verdict
        wanted = self._wanted
        if wanted.reasons is not None and reason not in wanted.reasons:
            return
        if reason in PASS_REASONS and not self._passes:
            return
        seen = glance(frame)
        sent = tuple(map(self._kept, [verdict, *released] if out else released))
        decision = Decision(
            *(time.monotonic_ns(), self._by, ifindex, action, reason),
            *(frame[: wanted.most_bytes], len(frame), sent),
            *whose(frame, seen, verdict, *by),
        )
        self._let_wait(seen, decision)

    def _let_wait(self, seen: Glance, decision: Decision) -> None:
        if self._wanted.includes(seen, decision):
            if not self._heard % self._wanted.every:
                self.waiting.put(decision)
            self._heard += 1

    def _kept(self, verdict: Verdict) -> SentFrame:
        _, _, ifindex, frame = verdict
        return SentFrame(ifindex, frame[: self._wanted.most_bytes], len(frame))


class HasTap(Protocol):
    """An engine in this process."""

    name: str
    tap: Tap | None


class TapTracer:
    """Traces an engine in this process."""

    def __init__(self, engine: HasTap, *, passes: bool = True) -> None:
        """``passes``: what is left to the host is told as well."""
        self._engine, self._passes = engine, passes
        self._tap: Tap | None = None

    @property
    def lost(self) -> int:
        """How many decisions that were asked for could not be told."""
        return self._tap.waiting.lost if self._tap is not None else 0

    def begin(self, wanted: Wanted) -> None:
        """Begin to hear."""
        self._engine.tap = self._tap = Tap(self._engine.name, wanted, self._passes)

    def take(self, most: int) -> list[Decision]:
        """Return decisions that were not told yet, so many at most."""
        return self._tap.waiting.take(most) if self._tap is not None else []

    def close(self) -> None:
        """Hear no more; harmless when repeated."""
        if self._engine.tap is self._tap:
            self._engine.tap = None
