"""Do the program and the specification agree about balancers of l3dsr, whatever comes?"""

from __future__ import annotations

from parity.hunting import SEED, few_slots, hunt
from parity.open_cases import MayFail
from parity.twins import Twins


def test_the_twins_agree(twins: Twins, frames: int, may_fail: MayFail) -> None:
    print(f"DSRLB_PARITY_SEED={SEED} --parity-frames={frames}")
    with few_slots(), may_fail("fuzz_l3dsr"):
        print(hunt(twins, ("l3dsr",), frames))
