"""Does each scheduler pick as it says, when frames ask it?"""

from __future__ import annotations

import balancer
import packets as p
import pytest
from datapath_laws import NAMES, TABLES, table_of

from dsrlb.state import State


@pytest.mark.parametrize("scheduler", ["hash", "maglev"])
def test_a_connection_under_way_finds_its_backend_again_after_a_restart(scheduler: str) -> None:
    for sport in range(40_000, 40_050):
        before = balancer.one(p.tcp("S", sport), TABLES[scheduler])[3]
        after = balancer.one(p.tcp("A", sport), balancer.table(scheduler=scheduler))[3]
        assert before[:12] == after[:12]


def test_the_hash_scheduler_looks_at_the_client_alone() -> None:
    table = TABLES["hash"]
    for host in range(2, 60):
        sent = [
            p.tcp("S", 40_000 + host, src=f"198.18.0.{host}"),
            p.udp(src=f"198.18.0.{host}"),
            p.tcp("A", 1, src=f"198.18.0.{host}"),
        ]
        assert len({balancer.one(frame, table)[3][:6] for frame in sent}) == 1


@pytest.mark.parametrize("scheduler", NAMES)
def test_turns_are_even_and_weights_are_kept(scheduler: str) -> None:
    table = table_of([(1, True), (2, True), (0, True)], scheduler)
    state = State()
    frames = [p.tcp("S", 1000 + n, src=f"198.18.0.{2 + n % 250}") for n in range(300)]
    macs = [out[:6] for out in balancer.sent(balancer.feed(frames, table, state))]
    first, second, none = (macs.count(p.mac_bytes(mac)) for mac in p.BACKEND_MACS)
    assert none == 0
    if scheduler in ("rr", "lc"):
        assert (first, second) == (150, 150)
    elif scheduler == "wlc":
        assert first in (99, 100, 101)
    elif scheduler == "wrr":
        assert (first, second) == (100, 200)
    else:
        assert 60 <= first <= 140
