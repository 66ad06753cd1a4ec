"""Do the program and the specification agree where flows find no room, in the table or in this second?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from parity.ground import SIZES, interfaces
from parity.hunting import SEED, few_slots, hunt
from parity.twins import Twins

from dsrlb.engines.xdp.layout import FLOWS_A_BUCKET
from dsrlb.engines.xdp.program import loaded
from dsrlb.flows import Flow, FlowTable

DSR = "l2dsr", "l3dsr"
INSERTS_A_SECOND = 3


class RationedTable(FlowTable):
    """A flow table where so many records may be begun in a second as the program's setup says."""

    def __init__(self, clock: list[Twins]) -> None:
        super().__init__()
        self._clock, self._second_s, self._begun = clock, -1, 0

    def has_room(self, key: bytes) -> bool:
        if key in self._flows:  # takes the place of its own one
            return True
        now_s = self._clock[0].now_s
        if now_s != self._second_s:
            self._second_s, self._begun = now_s, 0
        self._begun += 1
        self.refused += self._begun > INSERTS_A_SECOND
        return self._begun <= INSERTS_A_SECOND

    def insert(self, key: bytes, flow: Flow) -> bool:
        begun = self._begun
        self._begun = 0  # it was asked for before
        try:
            return super().insert(key, flow)
        finally:
            self._begun = begun


@contextmanager
def one_cpu() -> Iterator[None]:
    """Stay on one CPU: each has a ration of its own."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_of_them)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


def test_the_table_is_full(frames: int) -> None:
    print(f"DSRLB_PARITY_SEED={SEED} --parity-frames={frames}")
    one_bucket = replace(SIZES, flows=1)
    with interfaces(), loaded(one_bucket, test_clock=True) as program, few_slots():
        twins = Twins(program, lambda: FlowTable(FLOWS_A_BUCKET))
        print(hunt(twins, DSR, frames // 4, swept=1))


def test_so_many_flows_may_begin_in_a_second(frames: int) -> None:
    print(f"DSRLB_PARITY_SEED={SEED} --parity-frames={frames}")
    clock: list[Twins] = []
    with interfaces(), one_cpu(), loaded(SIZES, test_clock=True) as program, few_slots():
        clock.append(Twins(program, lambda: RationedTable(clock), INSERTS_A_SECOND))
        print(hunt(clock[0], (*DSR, "inline"), frames // 4, swept=1))
