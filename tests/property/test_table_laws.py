"""Is a table the same whichever way it came about: in any order, or by differences?"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import balancer
import packets as p
from datapath_laws import LAW, MAC, NAMES, SLOW_LAW, WEIGHTS
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.model import Backend, Hop, Service
from dsrlb.table import ForwardingTable, apply, compile_table, diff


@SLOW_LAW
@given(st.sampled_from(NAMES), st.permutations(range(6)), st.lists(st.integers(0, 5), min_size=6, max_size=6))
def test_compiling_ignores_the_order_of_the_backends(
    scheduler: str, order: list[int], weights: list[int]
) -> None:
    backends = [Backend(ip_address(0xC612010B + n), weight) for n, weight in enumerate(weights)]
    hops = {one.address: Hop(p.IFINDEX, MAC, bytes([2, 0, 0, 0, 0, n])) for n, one in enumerate(backends)}
    straight = Service(ip_address(p.VIP), 80, "tcp", "l2dsr", scheduler, tuple(backends))
    shuffled = Service(ip_address(p.VIP), 80, "tcp", "l2dsr", scheduler, tuple(backends[n] for n in order))
    interfaces = {p.IFINDEX: MAC}
    one, other = compile_table([straight], hops, interfaces), compile_table([shuffled], hops, interfaces)
    assert one == other
    assert not diff(one, other)


@st.composite
def tables(draw: Callable[..., Any]) -> ForwardingTable:
    vips = draw(
        st.lists(st.sampled_from(["198.18.1.100:80", "198.18.1.100:*", "198.18.1.101:53/udp"]), unique=True)
    )
    behind: list[tuple[int, bool]] = draw(WEIGHTS)
    backends = [
        f"{text.split(',')[0]},weight={weight}" + (f",mac={mac}" if is_known else "")
        for text, mac, (weight, is_known) in zip(p.BACKENDS, p.BACKEND_MACS, behind, strict=True)
    ]
    interfaces = draw(st.sampled_from([{}, {7: MAC}, {7: None}, {7: MAC, 8: MAC}]))
    return balancer.table(vips, backends, "rr", interfaces)


@LAW
@given(tables(), tables())
def test_applying_a_difference_gives_the_other_table(old: ForwardingTable, new: ForwardingTable) -> None:
    change = diff(old, new)
    assert apply(change, old) == new
    assert bool(change) == (old != new)
    assert not diff(new, apply(change, old))
