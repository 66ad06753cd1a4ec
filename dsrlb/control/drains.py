"""Drains: how many flows are left, and when what is left is let go.  Pure.

::

    drained ──────── flows end, one by one ────────► empty      its last flow is over: logged
       │
       └──────────── the deadline comes ───────────► over       what is left is let go: logged
"""

from __future__ import annotations

from dataclasses import dataclass

from dsrlb.flows import BackendCount
from dsrlb.table import CompiledService

SETTLES_S = 1.0  # a handshake that was under way when the drain began is over

_NO_COUNT = BackendCount()


@dataclass(frozen=True)
class Left:
    """Flows that a backend still has."""

    active: int
    inactive: int
    at_least: bool  # those that have been silent since the drain began are not on record, and may live

    @property
    def is_none(self) -> bool:
        """Whether no connection is left; inactive ones were closed by the client, or never came about."""
        return self.active == 0 and not self.at_least

    def __str__(self) -> str:
        """Return it in words."""
        or_more = " or more" if self.at_least else ""
        return f"{self.active} active, {self.inactive} inactive flows{or_more}"


NONE_LEFT = Left(0, 0, at_least=False)


@dataclass(frozen=True)
class Drain:
    """The drain of one backend; times are monotonic."""

    began_s: float
    until_s: float | None = None  # None: it has no deadline
    is_told: bool = False  # that it is empty
    is_over: bool = False  # what was left is let go
    let_go: Left | None = None  # that was so much; None: nothing, or it is not over


def left_of(count: BackendCount | None, compiled: CompiledService | None) -> Left:
    """Return the flows that a backend still has which gets no new ones.

    While slots change hands, those that have been silent since are not on record yet.
    """
    counted = count if count is not None else _NO_COUNT
    is_all = compiled is not None and (compiled.records_all or compiled.former is None)
    return Left(counted.active, counted.inactive, not is_all)


def is_empty(drain: Drain, left: Left, now_s: float) -> bool:
    """Return whether nothing is left of what a backend had when its drain began."""
    return left.is_none and now_s - drain.began_s >= SETTLES_S


def is_due(drain: Drain, now_s: float) -> bool:
    """Return whether the deadline has come."""
    return drain.until_s is not None and now_s >= drain.until_s
