"""Do the program and the specification agree about balancers of l3dsr, whatever comes?"""

from __future__ import annotations

from parity.hunting import SEED, few_slots, hunt
from parity.twins import Twins

REACHED = {"forwarded", "too_big_answered", "tunnel_error", "tunnel_error_told", "no_decapsulation"}


def test_the_twins_agree(twins: Twins, frames: int) -> None:
    print(f"DSRLB_PARITY_SEED={SEED} --parity-frames={frames}")
    with few_slots():
        met = hunt(twins, ("l3dsr",), frames)
    print(met)
    assert frames < 10_000 or met.keys() >= REACHED, met
