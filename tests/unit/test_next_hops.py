"""Are next hops told apart that have one address on two interfaces?"""

from __future__ import annotations

from ipaddress import ip_address

from dsrlb.control.backends import targets
from dsrlb.host.links import Link
from dsrlb.preflight import Way

E0, E1 = (Link(number, f"e{number}", bytes(6), 1500, True, (), ()) for number in (2, 3))
ROUTER = ip_address("fe80::1")  # the same on every link that has one
NEAR, FAR = ip_address("2001:db8:a::1"), ip_address("2001:db8:b::1")


def test_routers_with_one_link_local_address_are_asked_for_on_each_interface() -> None:
    ways = {NEAR: Way(E0, ROUTER, 1500, None), FAR: Way(E1, ROUTER, 1500, None)}
    assert targets(ways, {}, {}) == {(2, ROUTER), (3, ROUTER)}


def test_backends_behind_one_router_share_the_question() -> None:
    ways = {NEAR: Way(E0, ROUTER, 1500, None), FAR: Way(E0, ROUTER, 1500, None)}
    assert targets(ways, {}, {}) == {(2, ROUTER)}


def test_a_backend_without_a_way_or_with_a_given_mac_is_not_asked_for() -> None:
    ways = {NEAR: Way(E0, NEAR, 1500, None), FAR: Way(E0, FAR, 1500, None)}
    assert targets(ways, {NEAR: bytes(6)}, {FAR: "no route"}) == frozenset()
