"""Do the program and the specification agree about balancers of all modes at once, whatever comes?"""

from __future__ import annotations

from parity.hunting import SEED, few_slots, hunt
from parity.twins import Twins

REACHED = {"forwarded", "reply_forwarded", "tunnel_error_told", "icmp_steered", "refused", "too_big_answered"}


def test_the_twins_agree(twins: Twins, frames: int) -> None:
    print(f"DSRLB_PARITY_SEED={SEED} --parity-frames={frames}")
    with few_slots():
        met = hunt(twins, ("l2dsr", "l3dsr", "inline"), frames)
    print(met)
    assert frames < 10_000 or met.keys() >= REACHED, met
