"""Rise and fall: one answer out of turn changes nothing.

::

    up      `fall` failures in a row                     ->  down, for the reason of the last one
    down    `rise` passed checks in a row                ->  up
    down    `fall` failures in a row for another reason  ->  down for that reason
    not asked yet: the first answer decides

Pure: nothing here looks at a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dsrlb.health.base import OK, Outcome


@dataclass(frozen=True)
class Damped:
    """What holds of a server, and what speaks against it of late."""

    holds: Outcome
    is_fresh: bool = False  # not asked yet
    against: str = ""  # a word of outcomes that differ from what holds
    in_a_row: int = 0  # so many of them

    @property
    def is_changing(self) -> bool:
        """Whether it may be up, or down, soon."""
        return self.in_a_row > 0 and (self.holds.ok or self.against == OK)


def heard(before: Damped, outcome: Outcome, rise: int, fall: int) -> Damped:
    """Return what holds after one more outcome."""
    if before.is_fresh:
        return Damped(outcome)
    if outcome.word == before.holds.word:
        return replace(before, against="", in_a_row=0) if before.in_a_row else before
    against = "failed" if before.holds.ok else outcome.word
    in_a_row = before.in_a_row + 1 if against == before.against else 1
    if in_a_row >= (rise if outcome.ok else fall):
        return Damped(outcome)
    return replace(before, against=against, in_a_row=in_a_row)
