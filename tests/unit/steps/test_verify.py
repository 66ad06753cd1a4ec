"""Is a missing step named with the line that mends it, and what is wrong all the same?"""

from __future__ import annotations

import pytest
from pretended_machine import World
from pretended_setups import SETUPS, VIP, own

from dsrlb.host.step_checks import problems


def test_a_missing_step_is_named_with_its_present_value_and_the_line_that_mends_it(world: World) -> None:
    assert world.missing(VIP) == [
        "missing  net.ipv4.conf.all.arp_ignore=1 (now 0): sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "missing  net.ipv4.conf.all.arp_announce=2 (now 0): sysctl -w net.ipv4.conf.all.arp_announce=2",
        "missing  198.18.0.10/32 on lo: ip address add 198.18.0.10/32 dev lo",
    ]


def test_a_missing_decapsulator_is_named(world: World) -> None:
    chosen = {"mode": "l3dsr", "decap": "bpf", "device": "e0", "advmss": "off"}
    world.setup(VIP, **chosen)
    world.decap.detach("e0")
    filter_line, entry_line = world.missing(VIP, **chosen)
    assert filter_line.startswith("missing  dsrlb_decap on e0: tc filter add dev e0 ingress")
    assert entry_line.startswith("missing  198.18.0.10 in dsrlb_decap on e0: bpftool map update")


def test_a_server_in_order_has_no_problems(world: World) -> None:
    for chosen in SETUPS.values():
        world.setup(VIP, **chosen)
        assert problems(world.machine, world.wanted(VIP, **chosen), "e0") == []
        world.undo(VIP, **own(chosen))


def test_a_vip_on_a_device_that_answers_arp_is_a_problem_in_every_mode(world: World) -> None:
    world.addresses.add(("e0", "198.18.0.10/24"))
    for chosen in SETUPS.values():
        (line,) = problems(world.machine, world.wanted(VIP, **chosen))
        assert line.startswith("198.18.0.10/24 is on e0 as well, which answers ARP for it")


def test_a_vip_with_the_prefix_length_of_its_network_is_a_problem(world: World) -> None:
    world.setup(VIP, mode="l3dsr")
    world.addresses.add(("tunl0", "198.18.0.10/24"))
    (line,) = problems(world.machine, world.wanted(VIP, mode="l3dsr"))
    assert line.startswith("198.18.0.10/24 on tunl0 has the wrong prefix length")


@pytest.mark.parametrize(
    ("everywhere", "own", "drops"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (2, 1, 0), (1, 2, 0)]
)
def test_a_strict_check_drops_only_where_the_way_back_is_another(
    world: World, everywhere: int, own: int, drops: int
) -> None:
    world.set("all", "rp_filter", everywhere)
    world.set("e0", "rp_filter", own)
    wanted = world.wanted(VIP, mode="l3dsr", decap="bpf", device="e0")
    assert problems(world.machine, wanted) == []
    world.routes["-4"] = ["default via 198.18.9.1 dev e1"]
    assert len(problems(world.machine, wanted)) == drops
