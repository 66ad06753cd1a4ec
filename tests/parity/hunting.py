"""Stories without end, improvised: what a balancer of some modes meets, until the twins differ.

``DSRLB_PARITY_SEED`` chooses others, ``--parity-frames`` more of them.  What differs is told as shortly as
it can be, and is told again by the same seed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

import pytest
from parity.settings import changed, draw
from parity.stories import Frame, Install, Step, Sweep, Wait, shortest, take
from parity.traffic import Traffic
from parity.twins import Differ, Twins

from dsrlb import table
from dsrlb.schedulers.shares import consistent_slots

SEED = int(os.environ.get("DSRLB_PARITY_SEED", "1"))
STORY_FRAMES = 400
COMPARED_EVERY = 40  # frames
SECONDS = 1, 1, 2, 3, 4, 7, 13, 31, 61, 91, 121, 301, 901
# Between frames: about the bounds of buckets, and about when a handshake is given up.
MICROSECONDS = 1, 15, 16, 63, 64, 79, 80, 500, 20_000, 300_000, 1_000_000, 2_999_999, 3_000_000, 3_000_001
PAUSES = 0.3
FEW_SLOTS = 1021  # a prime, as the real one


@contextmanager
def few_slots() -> Iterator[None]:
    """Let tables of consistent hashing have fewer slots: the real ones take a twentieth of a second each."""
    real = consistent_slots.__defaults__
    table._slots.cache_clear()
    consistent_slots.__defaults__ = (FEW_SLOTS,)
    try:
        yield
    finally:
        consistent_slots.__defaults__ = real
        table._slots.cache_clear()


def hunt(twins: Twins, modes: Sequence[str], frames: int, swept: float = 0.7) -> Counter[str]:
    """Tell stories of so many frames in all; return what became of them, by Reason.

    ``swept``: how often what is over is forgotten when time passes.
    """
    name, met, number = " ".join(modes), Counter[str](), 0
    while met.total() < frames:
        steps: list[Step] = []
        try:
            improvise(twins, Random(f"{SEED} {name} {number}"), modes, steps, met, swept)
        except Differ as difference:
            kept, why = shortest(twins, steps)
            told = "\n".join(f"{place:4} {step.person()}" for place, step in enumerate(kept))
            line = (
                f"DSRLB_PARITY_SEED={SEED}, story {number} of {name}, after {len(steps)} steps: {difference}"
            )
            pytest.fail(f"{line}\n\nAs short as it gets:\n{told}\n{why}", pytrace=False)
        number += 1
    return met


def improvise(
    twins: Twins, rng: Random, modes: Sequence[str], steps: list[Step], met: Counter[str], swept: float
) -> None:
    """Tell one story as it comes; its steps are noted before they are taken."""
    twins.begin()
    setting = draw(rng, modes)
    traffic = Traffic(rng, setting.services)
    _go(twins, Install(setting), steps)
    for number in range(1, STORY_FRAMES + 1):
        chance = rng.random()
        if chance < 0.01:
            setting = changed(rng, setting, modes)
            traffic.aim(setting.services)
            _go(twins, Install(setting), steps)
        elif chance < 0.03:
            _go(twins, Wait(rng.choice(SECONDS)), steps)
            if rng.random() < swept:
                _go(twins, Sweep(), steps)
        after_us = rng.choice(MICROSECONDS) if rng.random() < PAUSES else 0
        frame = Frame(*traffic.next(), after_us)
        steps.append(frame)
        verdict = take(twins, frame)
        assert verdict is not None
        met[verdict[1].word] += 1
        traffic.saw(verdict)
        if number % COMPARED_EVERY == 0:
            twins.compare()


def _go(twins: Twins, step: Step, steps: list[Step]) -> None:
    steps.append(step)
    take(twins, step)
