"""Does undo leave what was there before setup, what others use by now, and what another VIP needs?"""

from __future__ import annotations

from ipaddress import ip_address

from pretended_machine import World
from pretended_setups import SECOND, VIP, VIP6

from dsrlb.host import steps, steps_state


def test_what_was_chosen_is_on_record(world: World) -> None:
    chosen = {
        "decap": "bpf",
        "device": "e0",
        "outer": (4,),
        "encap": "gue",
        "encap_port": 7000,
        "advmss": "1300",
    }
    world.setup(VIP, mode="l3dsr", networks=("198.18.7.0/24",), **chosen)
    world.setup(SECOND, mode="inline", gateway=ip_address("198.18.0.7"))
    known = {setup.vip: setup for setup in steps_state.setups(world.machine.state)}
    assert known[VIP] == world.wanted(VIP, mode="l3dsr", networks=("198.18.7.0/24",), **chosen)[0]
    assert known[SECOND].options.gateway == ip_address("198.18.0.7")


def test_an_address_that_was_there_before_stays(world: World) -> None:
    world.addresses.add(("lo", "198.18.0.10/32"))
    before = world.holds()
    world.setup(VIP)
    assert world.undo(VIP)[0] == "kept     198.18.0.10/32 on lo: it was there before setup"
    assert world.holds() == before


def test_hooks_that_others_use_by_now_stay(world: World) -> None:
    world.setup(VIP, mode="l3dsr", decap="bpf", device="e0")
    world.decap.others.add("e0")
    assert "kept     clsact on e0: others use it by now" in world.undo(VIP, mode="l3dsr")
    assert world.decap.hooks == {"e0"}


def test_the_sysctls_stay_until_the_last_vip_that_needs_them_is_undone(world: World) -> None:
    world.set("e0", "arp_ignore", 3)
    before = world.holds()
    world.setup(VIP)
    world.setup(SECOND, VIP6)
    assert world.undo(VIP) == ["done     ip address del 198.18.0.10/32 dev lo"]
    assert world.missing(SECOND, VIP6) == []
    assert "done     sysctl -w net.ipv4.conf.all.arp_ignore=0" in world.undo(SECOND)
    assert world.missing(VIP6) == []
    world.undo(VIP6)
    assert world.holds() == before


def test_a_decapsulator_stays_until_its_last_vip_is_undone(world: World) -> None:
    before = world.holds()
    for vip in (VIP, VIP6):
        world.setup(vip, mode="l3dsr", decap="bpf", device="e0")
    world.undo(VIP, mode="l3dsr")
    assert world.decap.accepted == {"e0": {VIP6}}
    assert world.missing(VIP6, mode="l3dsr", decap="bpf", device="e0") == []
    world.undo(VIP6, mode="l3dsr")
    assert world.holds() == before


def test_a_setup_by_the_program_after_one_by_the_kernel_is_undone_together_with_it(world: World) -> None:
    before = world.holds()
    world.setup(VIP, mode="l3dsr")
    world.setup(VIP, mode="l3dsr", decap="bpf", device="e0")
    world.undo(VIP, mode="l3dsr")
    assert world.holds() == before


def test_undo_without_setup_or_for_another_mode_says_so_and_changes_nothing(world: World) -> None:
    before = world.holds()
    assert world.undo(VIP) == []
    (sentence,) = steps.unrecorded(world.machine, "l2dsr", [VIP])
    assert sentence.startswith("nothing  to undo for 198.18.0.10")
    assert world.holds() == before
    world.setup(VIP)
    (sentence,) = steps.unrecorded(world.machine, "inline", [VIP])
    assert sentence == "nothing  to undo for 198.18.0.10: it was set up for mode l2dsr"
    assert world.undo(VIP, mode="inline") == []
    assert world.missing(VIP) == []


def test_a_stale_record_gives_way_when_the_step_is_found_missing_again(world: World) -> None:
    world.addresses.add(("lo", "198.18.0.10/32"))
    world.setup(VIP)  # records: the address was there, arp_ignore was 0
    world.addresses.discard(("lo", "198.18.0.10/32"))
    world.set("all", "arp_ignore", 2)
    before = set(world.addresses)
    world.setup(VIP)
    world.undo(VIP)
    assert world.addresses == before
    assert world.get("all", "arp_ignore") == "2"


def test_what_an_earlier_setup_left_is_not_taken_for_what_was_there_before(world: World) -> None:
    before = world.holds()
    for mss in ("1400", "1300"):
        world.setup(VIP, mode="l3dsr", advmss=mss)
    for gateway in ("198.18.0.7", "198.18.0.8"):
        world.setup(SECOND, mode="inline", gateway=ip_address(gateway))
    world.undo(SECOND, mode="inline")
    world.undo(VIP, mode="l3dsr")
    assert world.holds() == before


def test_a_route_that_was_changed_since_is_left_alone(world: World) -> None:
    world.setup(VIP, mode="inline", gateway=ip_address("198.18.0.7"))
    world.routes["-4"] = ["default via 198.18.0.9 dev e0"]
    assert world.undo(VIP, mode="inline") == ["gone     default via 198.18.0.7: it was not there any more"]
    assert world.routes["-4"] == ["default via 198.18.0.9 dev e0"]
