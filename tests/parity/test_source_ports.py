"""Do the twins take the same source ports, when the last one is taken, and when ports come back?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import balancer
import packets as p
import pytest
from parity import frames as f
from parity.ground import SIZES, interfaces
from parity.twins import Twins

from dsrlb.engines.xdp.program import loaded
from dsrlb.engines.xdp.sizes import power_of_two
from dsrlb.model import ModeOptions, Reason
from dsrlb.ports import COUNT

SYN, ACK = 2, 16
SNAT = balancer.table(
    [f"{p.VIP}:80"],
    [f"{p.SERVERS[0]},mac={p.SERVER_MACS[0]}"],
    "rr",
    mode="inline",
    options=ModeOptions(snat=True),
)
LATER = 3000  # flows


@pytest.fixture(scope="module")
def roomy() -> Iterator[Twins]:
    with interfaces(), loaded(replace(SIZES, flows=power_of_two(COUNT // 2)), test_clock=True) as program:
        yield Twins(program)


def packet(flow: int, flags: int) -> bytes:
    """Return a packet of one of very many flows."""
    head = f.Ip(f.packed(f"198.18.{flow >> 14}.2"), f.packed(p.VIP), f.TCP)
    return f.link(f.Link(), 4) + f.packet(head, f.segment(head, 10_000 + (flow & 0x3FFF), 80, flags, b""))


def test_a_ring_goes_round(roomy: Twins) -> None:
    roomy.begin()
    roomy.install(SNAT)

    def reasons(flows: range, flags: int) -> set[Reason]:
        return {roomy.step(packet(flow, flags), p.IFINDEX)[1] for flow in flows}

    assert reasons(range(COUNT), SYN) == {Reason.FORWARDED}
    assert reasons(range(COUNT, COUNT + 3), SYN) == {Reason.SNAT_EXHAUSTED}
    assert reasons(range(0, COUNT, 7), ACK) == {Reason.FORWARDED}  # these live on
    roomy.compare()
    roomy.wait(61)
    roomy.sweep()
    roomy.compare()
    assert reasons(range(COUNT, COUNT + LATER), SYN) == {Reason.FORWARDED}
    roomy.compare()
