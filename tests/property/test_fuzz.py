"""Of 100,000 random and mutated frames, does any raise, go uncounted, or leave that should not?"""

from __future__ import annotations

import random
from ipaddress import ip_address

import balancer
import packets as p
import pytest
from fuzzing import EPOCH_FRAMES, FRAMES, LEAP_S, SEED, mutate, offload, seeds
from spec.l2dsr import Pieces, Services, leaves

from dsrlb.datapath import process
from dsrlb.model import Action, Reason
from dsrlb.state import State, expire

MAC = p.mac_bytes(p.BALANCER_MAC)
SERVICES: Services = {
    (ip_address(vip).packed, port, protocol)
    for vip in (p.VIP, p.VIP6)
    for port, protocol in ((80, 6), (53, 17))
}
ANSWERS = {Reason.ARP_REPLY, Reason.ND_REPLY, Reason.ECHO_REPLY}


@pytest.mark.parametrize("scheduler", ["rr", "maglev"])
def test_any_frame_is_counted_once_and_leaves_only_if_the_statement_says_so(scheduler: str) -> None:
    print(f"DSRLB_FUZZ_SEED={SEED} DSRLB_FUZZ_FRAMES={FRAMES}")
    rng, valid = random.Random(f"{SEED} {scheduler}"), seeds()
    unfinished = random.Random(f"{SEED} {scheduler} offloads")
    table, state, pieces, now_s = balancer.table(scheduler=scheduler), State(), Pieces(), 0
    backends = {p.mac_bytes(mac) for mac in p.BACKEND_MACS}
    for count in range(1, FRAMES // 2 + 1):
        frame = mutate(rng, valid)
        action, reason, _, out = process(frame, p.IFINDEX, table, state, now_s, offload(unfinished))
        sent = [freed for _, _, _, freed in state.released]
        state.released.clear()
        if action >= Action.TX and reason not in ANSWERS:
            sent.append(out)
        expected = leaves(frame, MAC, SERVICES, pieces)
        assert [one[12:] for one in sent] == [one[12:] for one in expected], (reason, frame.hex())
        assert not sent or ({one[6:12] for one in sent} == {MAC} and {one[:6] for one in sent} <= backends)
        assert sum(state.reasons) == count, frame.hex()
        if count % EPOCH_FRAMES == 0:
            now_s += LEAP_S
            expire(state, now_s)
            pieces.clear()
    expire(state, now_s + LEAP_S)
    told = balancer.counted(state)
    assert sum(told.values()) == FRAMES // 2
    assert FRAMES < 10_000 or len(told) >= 20, told  # the frames reach nearly every way out
