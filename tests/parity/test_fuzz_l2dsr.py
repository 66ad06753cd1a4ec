"""Do the program and the specification agree about balancers of l2dsr, whatever comes?"""

from __future__ import annotations

from parity.hunting import SEED, few_slots, hunt
from parity.twins import Twins

REACHED = {
    "forwarded",
    "icmp_steered",
    "fragment_forwarded",
    "fragment_held",
    "backend_unresolved",
    "no_backend",
}


def test_the_twins_agree(twins: Twins, frames: int) -> None:
    print(f"DSRLB_PARITY_SEED={SEED} --parity-frames={frames}")
    with few_slots():
        met = hunt(twins, ("l2dsr",), frames)
    print(met)
    assert frames < 10_000 or met.keys() >= REACHED, met
