"""What the control loop holds of a trace that somebody has begun (``admin/tracing.py`` makes it)."""

from __future__ import annotations

from typing import Any, Protocol


class Trace(Protocol):
    """One reader of the engine's decisions."""

    number: int

    def more(self) -> dict[str, Any]:
        """Return what has been heard since this was asked last."""

    def end(self) -> None:
        """Hear no more; harmless when repeated."""

    def is_left(self, after_s: float) -> bool:
        """Return whether nobody has asked for so long."""
