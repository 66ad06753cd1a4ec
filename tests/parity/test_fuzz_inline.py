"""Do the program and the specification agree about balancers of inline, whatever comes?"""

from __future__ import annotations

from parity.hunting import SEED, few_slots, hunt
from parity.twins import Twins

REACHED = {"reply_forwarded", "reply_unmatched", "icmp_steered", "ttl_exceeded", "ttl_dropped", "refused"}


def test_the_twins_agree(twins: Twins, frames: int) -> None:
    print(f"DSRLB_PARITY_SEED={SEED} --parity-frames={frames}")
    with few_slots():
        met = hunt(twins, ("inline",), frames)
    print(met)
    assert frames < 10_000 or met.keys() >= REACHED, met
