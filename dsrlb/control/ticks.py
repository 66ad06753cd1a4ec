"""What the control loop does by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable


class Tick:
    """Something to do every so often, or once."""

    def __init__(self, every_s: float, do: Callable[[], object], *, once: bool = False) -> None:
        self.every_s = every_s if not once else float("inf")
        self.do, self.due = do, time.monotonic() + every_s

    @property
    def is_over(self) -> bool:
        """Whether it will never be done again."""
        return self.due == float("inf")

    def run_if_due(self) -> None:
        """Do it if its time has come."""
        if time.monotonic() >= self.due:
            self.due = time.monotonic() + self.every_s
            self.do()
