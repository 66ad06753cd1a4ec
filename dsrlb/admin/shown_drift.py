"""In what the operator's word differs from the configuration, and from what holds after a restart.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.control.drains import Drain
from dsrlb.control.kept import Kept
from dsrlb.model import Backend
from dsrlb.standing import Standing

_CLOCKS_DIFFER_S = 2.0  # so much, between the clock on the wall and the one that drains go by, is nothing


def drift(standing: Standing, kept: Kept, backend: Backend, said_by: str) -> Iterator[str]:
    """Yield in what the operator's word differs from the configuration, and which of it is durable."""
    if standing.weight is not None and standing.weight != backend.weight:
        verb = "says" if said_by == "file" else "say"
        said = f"weight {standing.weight}, {said_by} {verb} {backend.weight}"
        yield said + _durably(kept.weight == standing.weight)
    if standing.drained:
        yield f"drained, not by the {said_by}" + _durably(kept.drained)
    if not standing.enabled:
        yield f"disabled, not by the {said_by}" + _durably(not kept.enabled)
    if kept.weight not in (None, standing.weight):
        yield f"weight {kept.weight} again after a restart (durable)"
    if kept.drained and not standing.drained:
        yield "drained again after a restart (durable)"
    if not kept.enabled and standing.enabled:
        yield "disabled again after a restart (durable)"


def _durably(is_so: bool) -> str:
    return " (durable)" if is_so else ""


def drift_of_end(drain: Drain | None, kept: Kept, now_s: float, now: float) -> Iterator[str]:
    """Yield in what the end of a drain that is durable differs from the end that it has now."""
    if drain is None or not kept.drained:
        return
    now_left, then_left = _left_now(drain, now_s), _left_then(kept, now)
    if now_left is None or then_left is None:
        is_alike = now_left is then_left
    else:
        is_alike = abs(now_left - then_left) <= _CLOCKS_DIFFER_S or max(now_left, then_left) <= 0
    if is_alike:
        return
    if then_left is None:
        yield "its drain has no deadline after a restart (durable)"
    elif then_left <= 0:
        yield "its drain is over after a restart (durable)"
    else:
        yield f"its drain ends in {then_left:.0f} s after a restart (durable)"


def _left_now(drain: Drain, now_s: float) -> float | None:
    if drain.is_over:
        return 0.0
    return None if drain.until_s is None else max(0.0, drain.until_s - now_s)


def _left_then(kept: Kept, now: float) -> float | None:
    return None if kept.until is None else max(0.0, kept.until - now)


def durable(kept: Kept) -> Iterator[str]:
    """Yield what holds over restarts."""
    if kept.weight is not None:
        yield f"weight {kept.weight}"
    if kept.drained:
        yield "drained"
    if not kept.enabled:
        yield "disabled"
