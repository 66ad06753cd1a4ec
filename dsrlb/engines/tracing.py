"""Decisions of a data path, told to who traces it: which ones are asked for, and what waits to be told.

::

    engine's thread, or the kernel ──► what is asked for? ──► as many as there is room for ──► take()
                                                                   else: lost, and counted

Nobody waits for who reads.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from dsrlb.model import PASS_REASONS, Reason
from dsrlb.standing import Names
from dsrlb.wire.glance import Glance, glance

HEADERS_BYTES, FRAME_BYTES = 256, 2048  # what is kept of a frame: for a line; for a capture file
MOST_WAITING = 8192  # decisions
# Of the host's own frames, of which an interface has many: told only where they are asked for.
HOSTS_OWN = PASS_REASONS - {Reason.VIP_CONFLICT, Reason.HANDED_OVER}


class SentFrame(NamedTuple):
    """A frame that came of a decision, or as much of it as is kept."""

    ifindex: int
    frame: bytes
    frame_bytes: int  # of the whole


class Decision(NamedTuple):
    """What became of one frame."""

    at_ns: int  # CLOCK_MONOTONIC
    by: str  # which data path: packet, xdp, companion
    ifindex: int
    action: int  # model.Action
    reason: Reason
    frame: bytes  # as it came, or as much of it as is kept; empty: it came before, and was held
    frame_bytes: int
    sent: tuple[SentFrame, ...] = ()
    service: bytes | None = None  # its key
    backend: bytes | None = None


@dataclass(frozen=True)
class Wanted:
    """Which decisions are asked for; None: any."""

    reasons: frozenset[Reason] | None = None
    client: tuple[int, int] | None = None  # first address of a network and its mask, numbers of 16 bytes
    services: frozenset[bytes] | None = None  # keys
    backends: frozenset[Names] | None = None
    every: int = 1  # one of so many
    most_bytes: int = HEADERS_BYTES  # to keep of a frame

    def includes(self, seen: Glance, decision: Decision) -> bool:
        """Return whether a decision is asked for; ``seen`` is its frame."""
        if self.reasons is not None and decision.reason not in self.reasons:
            return False
        if self.services is not None and decision.service not in self.services:
            return False
        if self.backends is not None and (decision.service, decision.backend) not in self.backends:
            return False
        return self.client is None or self._is_of_client(seen, decision)

    def _is_of_client(self, seen: Glance, decision: Decision) -> bool:
        """Return whether a frame is from the clients asked for, or to them: as it came, or as it is sent."""
        if self.client is None or self._has(seen.src) or self._has(seen.dst):
            return True
        return any(self._has(glance(one.frame).dst) for one in decision.sent)

    def _has(self, address: bytes) -> bool:
        if self.client is None or not address:
            return False
        first, mask = self.client
        return int.from_bytes(address, "big") & mask == first


class Waiting:
    """Decisions that wait to be told: put in by one thread, taken out by another."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._decisions: deque[Decision] = deque()
        self._most = most
        self.lost = 0

    def put(self, decision: Decision) -> None:
        """Let one more wait, or count it where there is no room."""
        if len(self._decisions) >= self._most:
            self.lost += 1
        else:
            self._decisions.append(decision)

    def take(self, most: int) -> list[Decision]:
        """Return the oldest ones."""
        return [self._decisions.popleft() for _ in range(min(most, len(self._decisions)))]


class Tracer(Protocol):
    """Tells the decisions of an engine, once it was made ready."""

    @property
    def lost(self) -> int:
        """How many decisions that were asked for could not be told."""

    def begin(self, wanted: Wanted) -> None:
        """Begin; on the control path's thread, as the others here."""

    def take(self, most: int) -> list[Decision]:
        """Return decisions that were not told yet, so many at most."""

    def close(self) -> None:
        """Tell no more, and be as before; harmless when repeated."""
