"""Do connections live through a flood of SYNs beside them, with and without records?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lab_reload import all_answer, holding
from lab_running import Serve, reasons
from lab_wire import TO_BALANCER, socket_in
from lab_xdp import xdp
from scapy.layers.inet import IP, TCP

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import VIP, Lab

CONNECTIONS, SYNS, ROUNDS = 100, 120_000, 4
GROWTH_MAX_KB = 4096


def flood(count: int, seed: int) -> Iterator[memoryview]:
    """Yield SYNs of random sources.

    The sum of the IPv4 header is right.  That of TCP is not: servers throw them away at once, and what is
    tried is the balancer, which looks at addresses and ports.
    """
    rng, head = np.random.default_rng(seed), IP(src="0.0.0.0", dst=str(VIP), flags="DF", chksum=0)
    one = np.frombuffer(bytes(TO_BALANCER / head / TCP(dport=80, flags="S")), "u1")
    frames = np.tile(one, (count, 1))
    frames[:, 26:28] = 198, 19
    frames[:, 28:30] = rng.integers(0, 256, (count, 2))
    frames[:, 34:36] = rng.integers(0, 256, (count, 2))
    total = frames[:, 14:34].copy().view(">u2").sum(axis=1, dtype="u4")
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    frames[:, 24:26] = (0xFFFF - total).astype(">u2").reshape(count, 1).view("u1")
    return map(memoryview, frames)


def resident_kb(running: Balancer) -> int:
    """Return the memory of the process, without the maps that it shares with the kernel."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0])


@pytest.mark.parametrize("scheduler", ["maglev", "lc"])
def test_connections_keep_their_servers_in_a_flood_and_memory_stays(
    scheduler: str, lab: Lab, serve: Serve
) -> None:
    running = serve("--scheduler", scheduler, *xdp(lab, "--max-flows", "10000"))
    with holding(lab, CONNECTIONS) as held, socket_in(lab, "router") as wire:
        wire.bind(("e0", 0))
        before_kb = resident_kb(running)
        for number in range(ROUNDS):
            for frame in flood(SYNS // ROUNDS, number):
                wire.send(frame)
            all_answer(held)
        assert resident_kb(running) - before_kb < GROWTH_MAX_KB
    assert running.stop() == 0
    assert reasons(running.stdout)["forwarded"] >= SYNS
    refused = sum(map(int, re.findall(r"\(flow table full\) +(\d+)", running.stdout)))
    assert refused == 0 if scheduler == "maglev" else refused > SYNS // 2
