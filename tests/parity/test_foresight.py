"""Is what is told beforehand, from the program's maps, what program and companion then make of a frame?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from parity.ground import SIZES, interfaces
from parity.hunting import SEED, few_slots, hunt
from parity.twins import Differ, Outcome, Twins

from dsrlb.engines.xdp.layout import RECORDS_REFUSED
from dsrlb.engines.xdp.program import loaded
from dsrlb.engines.xdp.recollection import recollected
from dsrlb.foresight.foretold import Foretold, Scene, foretell
from dsrlb.model import Action, Reason

REACHED = {"forwarded", "reply_forwarded", "icmp_steered", "refused", "too_big_answered"}


class Foreseen(Twins):
    """The two side by side, each frame foretold; its story goes on though it is told twice."""

    def _by_pair(self, frame: bytes, ifindex: int) -> tuple[Outcome, bool]:
        told = self.foretell(frame, ifindex)
        found, was_left = super()._by_pair(frame, ifindex)
        moved = {one: change for one, change in found.moved.items() if one != RECORDS_REFUSED}
        if outcome_of(told, frame) != Outcome(found.action, found.out, moved, found.freed):
            raise Differ(f"foretold     {outcome_of(told, frame).person()}\nthe program  {found.person()}")
        return found, was_left

    def foretell(self, frame: bytes, ifindex: int) -> Foretold:
        beside = self._companion.state
        return foretell(
            frame,
            ifindex,
            Scene(self.table, self.now_s, lambda: recollected(self._tables, self.table, beside, self.now_s)),
        )


def outcome_of(told: Foretold, frame: bytes) -> Outcome:
    """Return what was foretold as the twins have it."""
    action, _, _, out = told.verdict
    sent = [(int(action), out) for action, _, _, out in told.released if action >= Action.TX]
    moved = {int(reason): change for reason, change in told.moved.items()}
    return Outcome(action, frame if action == Action.PASS else out, moved, sorted(sent))


@pytest.fixture(scope="module")
def foreseen() -> Iterator[Foreseen]:
    with interfaces(), loaded(SIZES, test_clock=True) as program:
        yield Foreseen(program)


def test_what_the_program_does_was_foretold(foreseen: Foreseen, frames: int) -> None:
    frames //= 8
    print(f"DSRLB_PARITY_SEED={SEED} --parity-frames={frames}")
    with few_slots():
        met = hunt(foreseen, ("l2dsr", "l3dsr", "inline"), frames)
    print(met)
    assert frames < 5000 or met.keys() >= REACHED, met
    assert Reason.FORWARDED.word in met
