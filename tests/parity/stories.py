"""What happens to a balancer, step by step, so that it can happen again; the shortest story that differs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from parity.settings import Setting
from parity.twins import Differ, Twins
from scapy.layers.l2 import Ether

from dsrlb.state import Verdict

COMPARED_EVERY = 50  # frames
SHRINK_S = 20


@dataclass(frozen=True)
class Frame:
    """A frame that comes in, microseconds after the last one."""

    raw: bytes
    ifindex: int
    after_us: int = 0

    def person(self) -> str:
        """Return it as a person reads it."""
        summary = "too odd for scapy"
        with suppress(Exception):  # it reads what is valid
            summary = Ether(self.raw).summary()
        return f"from {self.ifindex} after {self.after_us} us: {self.raw.hex()}\n        {summary}"


@dataclass(frozen=True)
class Install:
    """Another table."""

    setting: Setting

    def person(self) -> str:
        """Return it as a person reads it."""
        return "install\n        " + self.setting.person().replace("\n", "\n        ")


@dataclass(frozen=True)
class Wait:
    """Seconds that pass."""

    seconds: int

    def person(self) -> str:
        """Return it as a person reads it."""
        return f"wait {self.seconds} s"


@dataclass(frozen=True)
class Sweep:
    """What is over is forgotten."""

    def person(self) -> str:
        """Return it as a person reads it."""
        return "sweep"


Step = Frame | Install | Wait | Sweep


def take(twins: Twins, step: Step) -> Verdict | None:
    """Let one step happen; return the verdict on a frame.  Raises ``Differ``."""
    if isinstance(step, Frame):
        if step.after_us:
            twins.wait(0, step.after_us)
        return twins.step(step.raw, step.ifindex)
    if isinstance(step, Install):
        twins.install(step.setting.compiled())
    elif isinstance(step, Wait):
        twins.wait(step.seconds)
    else:
        twins.sweep()
    return None


def tell(twins: Twins, steps: Sequence[Step]) -> tuple[int, str] | None:
    """Tell a story from its beginning; return after which step the two differ, and how."""
    twins.begin()
    for number, step in enumerate(steps):
        try:
            take(twins, step)
            twins.compare()
        except Differ as difference:
            return number, str(difference)
    return None


def shortest(twins: Twins, steps: Sequence[Step]) -> tuple[list[Step], str]:
    """Return the shortest story found in some seconds that still ends in a difference, and that."""
    deadline = time.monotonic() + SHRINK_S
    kept, size, found = list(steps), len(steps), tell(twins, steps)
    if found is None:
        return kept, "told again, the story has no difference: something of the past was not forgotten"
    while size and time.monotonic() < deadline:
        at = 0
        while at < len(kept) and time.monotonic() < deadline:
            less = kept[:at] + kept[at + size :]
            again = tell(twins, less)
            if again is None:
                at += size
            else:
                kept, found = less[: again[0] + 1], again
        size //= 2
    for name in {one.name for step in kept if isinstance(step, Install) for one in step.setting.services}:
        less = _without_service(kept, name)
        again = tell(twins, less)
        if again is not None:
            kept, found = less[: again[0] + 1], again
    return kept, found[1]


def _without_service(steps: Sequence[Step], name: str) -> list[Step]:
    return [Install(one.setting.without(name)) if isinstance(one, Install) else one for one in steps]
