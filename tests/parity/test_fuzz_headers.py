"""Do the program and the specification read the same in headers that are as odd as headers can be?"""

from __future__ import annotations

from collections import Counter
from random import Random

import balancer
import packets as p
import pytest
from parity.hunting import SEED, few_slots
from parity.odd_headers import odd_frame
from parity.twins import Differ, Twins

SEEN = "not_ip", "not_for_us", "not_vip", "truncated", "malformed", "bad_checksum", "martian_source"
SEEN += "protocol_unknown", "arp_reply", "arp_other", "vip_conflict", "nd_reply", "nd_other", "echo_reply"


def test_the_twins_agree(twins: Twins, frames: int) -> None:
    print(f"DSRLB_PARITY_SEED={SEED} --parity-frames={frames}")
    rng, met = Random(SEED), Counter[str]()
    with few_slots():
        twins.begin()
        twins.install(balancer.table())
        for number in range(frames):
            frame = odd_frame(rng)
            try:
                met[twins.step(frame, p.IFINDEX)[1].word] += 1
            except Differ as difference:
                pytest.fail(f"frame {number}: {frame.hex()}\n{difference}", pytrace=False)
        print(met)
        assert not [word for word in SEEN if not met[word]], met
