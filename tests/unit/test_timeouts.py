"""Are a service's own time-outs those of its flows, on the long way and on the short one?"""

from __future__ import annotations

from dataclasses import replace

import balancer
import packets as p
import pytest

from dsrlb.model import Timeouts
from dsrlb.state import State, expire
from dsrlb.table import ForwardingTable, compile_table


def table(timeouts: Timeouts, weights: tuple[int, int, int] = (1, 1, 1)) -> ForwardingTable:
    """Return a table of round robin services with these time-outs."""
    services = [
        replace(one, timeouts=timeouts, backends=tuple(
            replace(backend, weight=weight) for backend, weight in zip(one.backends, weights, strict=True)
        ))
        for one in balancer.services(scheduler="rr")
    ]  # fmt: skip
    return compile_table(services, balancer.hops(services[0].backends), {p.IFINDEX: balancer.BALANCER})


OWN = Timeouts(udp_s=7, syn_s=5, established_s=11, fin_s=3, closed_s=2)
FLOWS = {
    "udp": ([p.udp(), p.udp()], OWN.udp_s),
    "syn": ([p.tcp("S")], OWN.syn_s),
    "established": ([p.tcp("S"), p.tcp("A"), p.tcp("A")], OWN.established_s),
    "fin": ([p.tcp("S"), p.tcp("A"), p.tcp("FA")], OWN.fin_s),
    "closed": ([p.tcp("S"), p.tcp("R")], OWN.closed_s),
}


@pytest.mark.parametrize("state_name", FLOWS)
def test_a_flow_is_forgotten_after_the_silence_that_its_service_allows(state_name: str) -> None:
    frames, timeout_s = FLOWS[state_name]
    state, own = State(), table(OWN)
    balancer.feed(frames, own, state)
    for _ in range(3):
        expire(state, timeout_s)
    assert len(state.flows) == 1
    for _ in range(3):
        expire(state, timeout_s + 1)
    assert len(state.flows) == 0


@pytest.mark.parametrize(("state_name", "again"), [("udp", p.udp()), ("established", p.tcp("A"))])
def test_a_packet_after_a_longer_silence_begins_a_new_flow(state_name: str, again: object) -> None:
    frames, timeout_s = FLOWS[state_name]
    state, own = State(), table(OWN)
    balancer.feed(frames, own, state)
    balancer.one(again, own, state, timeout_s)
    assert sum(count.flows for count in state.backends.values()) == 1
    balancer.one(again, own, state, 2 * timeout_s + 1)
    assert sum(count.flows for count in state.backends.values()) == 2


def test_a_flow_follows_its_service_s_time_outs_from_its_next_packet_on() -> None:
    state = State()
    balancer.feed(FLOWS["established"][0], table(Timeouts()), state)
    balancer.one(p.tcp("A"), table(OWN), state, 1)
    for _ in range(3):
        expire(state, OWN.established_s + 2)
    assert len(state.flows) == 0
