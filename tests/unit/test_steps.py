"""Do the steps of a real server get planned, done, verified and undone, whatever was there before?"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pretended_machine import World

from dsrlb.errors import HostError
from dsrlb.host import steps, steps_state
from dsrlb.host.step_checks import problems
from dsrlb.modes import BY_NAME

VIP = ip_address("198.18.0.10")
SECOND = ip_address("198.18.0.11")
VIP6 = ip_address("2001:db8::10")
SETUPS: dict[str, dict[str, Any]] = {
    "l2dsr": {"mode": "l2dsr"},
    "l3dsr by the kernel": {"mode": "l3dsr"},
    "l3dsr by the kernel, IPv4 outside": {"mode": "l3dsr", "outer": (4,)},
    "l3dsr by a program": {"mode": "l3dsr", "decap": "bpf", "device": "e0"},
    "l3dsr, for some clients": {
        "mode": "l3dsr",
        "decap": "bpf",
        "device": "e0",
        "networks": ("198.18.7.0/24",),
    },
    "inline": {"mode": "inline", "gateway": ip_address("198.18.0.7")},
}
every_setup = pytest.mark.parametrize("chosen", SETUPS.values(), ids=SETUPS)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.routes["-4"] += [
        "default via 198.18.0.3 dev e0 proto dhcp metric 100",
        "198.18.7.0/24 via 198.18.0.4 dev e0",
    ]
    return made


def vips_of(chosen: dict[str, Any]) -> tuple[steps.Address, ...]:
    return (VIP, SECOND) if chosen["mode"] == "inline" else (VIP, VIP6)  # a gateway has one IP version


def own(chosen: dict[str, Any]) -> dict[str, str]:
    return {"mode": chosen["mode"]}


def lines(world: World, *vips: steps.Address, **chosen: Any) -> list[str]:
    return [steps.command(step) for step in steps.plan(world.wanted(*vips, **chosen))]


# --- plans ----------------------------------------------------------------------------------------


def test_the_plan_is_lines_to_paste_with_each_sysctl_once(world: World) -> None:
    assert lines(world, VIP, SECOND, VIP6) == [
        "sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "sysctl -w net.ipv4.conf.all.arp_announce=2",
        "ip address add 198.18.0.10/32 dev lo",
        "ip address add 198.18.0.11/32 dev lo",
        "ip address add 2001:db8::10/128 dev lo preferred_lft 0",
    ]


def test_the_kernels_tunnels_are_brought_up_once_the_vip_is_on_them(world: World) -> None:
    assert lines(world, VIP, VIP6, mode="l3dsr") == [
        "sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "sysctl -w net.ipv4.conf.all.arp_announce=2",
        "modprobe ipip",
        "sysctl -w net.ipv4.conf.tunl0.rp_filter=2",
        "ip address add 198.18.0.10/32 dev tunl0",
        "ip link set dev tunl0 up",
        "modprobe ip6_tunnel",
        "ip -6 tunnel change ip6tnl0 mode any",
        "sysctl -w net.ipv4.conf.ip6tnl0.rp_filter=2",
        "ip address add 198.18.0.10/32 dev ip6tnl0",
        "ip link set dev ip6tnl0 up",
        "ip -4 route replace default via 198.18.0.1 dev e0 advmss 1420",
        "ip -4 route replace default via 198.18.0.3 dev e0 proto dhcp metric 100 advmss 1420",
        "ip address add 2001:db8::10/128 dev lo preferred_lft 0",
        "modprobe sit",
        "ip link set dev sit0 up",
        "ip -6 route replace default via 2001:db8::1 dev e0 metric 1024 advmss 1400",
    ]


def test_the_program_is_attached_once_the_vip_is_there(world: World) -> None:
    planned = lines(world, VIP, mode="l3dsr", decap="bpf", device="e0", outer=(4,))
    assert planned[2] == "ip address add 198.18.0.10/32 dev lo"
    assert planned[3] == "tc qdisc add dev e0 clsact"
    assert planned[4].startswith("tc filter add dev e0 ingress pref 49 handle 1 bpf da obj /")
    assert planned[4].endswith("/dsrlb/bpf/decap.bpf.o sec tc")
    key = "00 00 00 00 00 00 00 00 00 00 ff ff c6 12 00 0a"
    assert planned[5] == f"bpftool map update name vips key hex {key} value hex 01 00 00 00"


@pytest.mark.parametrize(
    ("vip", "outer", "encap", "mss"),
    [
        (VIP, (4,), "ipip", 1440),
        (VIP, (6,), "ipip", 1420),
        (VIP6, (4,), "ipip", 1420),
        (VIP6, (4, 6), "ipip", 1400),
        (VIP, (4,), "gue", 1428),
        (VIP, (4,), "gue1", 1432),
    ],
)
def test_clients_are_asked_for_segments_that_fit_into_the_widest_header(
    world: World, vip: steps.Address, outer: tuple[int, ...], encap: str, mss: int
) -> None:
    planned = lines(world, vip, mode="l3dsr", decap="bpf", device="e0", outer=outer, encap=encap)
    assert {line.split()[-1] for line in planned if "advmss" in line} == {str(mss)}


def test_an_mss_counts_from_the_mtu_of_the_route_where_that_is_lower(world: World) -> None:
    world.routes["-4"] = ["default via 198.18.0.1 dev e0 mtu 1400"]
    planned = lines(world, VIP, mode="l3dsr", outer=(4,))
    assert planned[-1] == "ip -4 route replace default via 198.18.0.1 dev e0 mtu 1400 advmss 1340"
    world.routes["-4"] = ["default via 198.18.0.1 dev e0 mtu 500"]
    with pytest.raises(HostError, match="an MTU of 500 leaves an MSS of 440"):
        lines(world, VIP, mode="l3dsr", outer=(4,))


def test_routes_whose_mss_cannot_be_set_are_named_and_left_alone(world: World) -> None:
    world.routes["-4"] = [
        "default proto static nexthop via 198.18.0.1 dev e0 weight 1 nexthop via 198.18.0.3 dev e0"
    ]
    world.routes["-6"] = ["default via fe80::1 dev e0 proto ra metric 1024"]
    assert not any("advmss" in line for line in lines(world, VIP, VIP6, mode="l3dsr"))
    wanted = world.wanted(VIP, VIP6, mode="l3dsr", networks=("198.18.9.0/24", "2001:db8:9::/48"))
    assert steps.notes(world.machine, wanted, steps_of("l3dsr")) == [
        "there is no route to 198.18.9.0/24 (inet), so no MSS is set",
        "there is no route to 2001:db8:9::/48 (inet6), so no MSS is set",
    ]
    several, advertised = steps.notes(world.machine, world.wanted(VIP, VIP6, mode="l3dsr"), steps_of("l3dsr"))
    assert several.endswith("is left alone: it has several next hops")
    assert advertised.endswith("is left alone: it comes from router advertisements")


def steps_of(mode: str) -> steps.StepsOf:
    return BY_NAME[mode].host_steps


# --- setup, verify, undo ----------------------------------------------------------------------------


@every_setup
def test_after_setup_nothing_is_missing_and_undo_restores_what_was_there(
    world: World, chosen: dict[str, Any]
) -> None:
    world.set("all", "arp_announce", 1)
    world.set("all", "rp_filter", 1)
    before = world.holds()
    assert world.missing(*vips_of(chosen), **chosen)
    world.setup(*vips_of(chosen), **chosen)
    assert world.missing(*vips_of(chosen), **chosen) == []
    assert world.holds() != before
    world.undo(*vips_of(chosen), **own(chosen))
    assert world.holds() == before
    assert not world.machine.state.exists()


@every_setup
def test_setup_twice_keeps_the_first_former_values(world: World, chosen: dict[str, Any]) -> None:
    before = world.holds()
    world.setup(VIP, **chosen)
    again = world.setup(VIP, **chosen)
    assert all(line.startswith("already ") for line in again)
    world.undo(VIP, **own(chosen))
    assert world.holds() == before


@every_setup
def test_the_plan_is_what_setup_does_and_the_plan_of_undo_is_what_undo_does(
    world: World, chosen: dict[str, Any]
) -> None:
    planned = lines(world, *vips_of(chosen), **chosen)
    done = world.setup(*vips_of(chosen), **chosen)
    assert [line[9:] for line in done] == planned
    changed = [line for line in world.ran if "show" not in line and "modprobe -n" not in line]
    words = ("ip ", "modprobe ")
    assert changed == [line[9:] for line in done if line.startswith("done") and line[9:].startswith(words)]
    taken_back = steps.reversals(world.machine, chosen["mode"], vips_of(chosen))
    planned_back = [steps.undo_command(world.machine, reversal) for reversal in taken_back]
    undone = [line[9:] for line in world.undo(*vips_of(chosen), **own(chosen)) if line.startswith("done")]
    assert undone == [line for line in planned_back if line is not None]


@every_setup
def test_a_setup_interrupted_after_any_step_can_be_undone(world: World, chosen: dict[str, Any]) -> None:
    before = world.holds()
    wanted = world.wanted(*vips_of(chosen), **chosen)
    for done in range(len(steps.plan(wanted)) + 1):
        running = steps.apply(world.machine, wanted)
        for _ in range(done):
            next(running)
        world.undo(*vips_of(chosen), **own(chosen))
        assert world.holds() == before
        assert not world.machine.state.exists()


@every_setup
def test_an_undo_interrupted_after_any_step_can_be_repeated(world: World, chosen: dict[str, Any]) -> None:
    before = world.holds()
    world.setup(VIP, **chosen)
    taken_back = steps.reversals(world.machine, chosen["mode"], [VIP])
    for done in range(1, len(taken_back)):
        world.setup(VIP, **chosen)
        running = steps.undo(world.machine, chosen["mode"], [VIP], taken_back)
        for _ in range(done):
            next(running)
        assert any(line.startswith(("gone ", "kept ")) for line in world.undo(VIP, **own(chosen)))
        assert world.holds() == before
        world.setup(VIP, **chosen)


@pytest.mark.parametrize("interrupted_at", range(4))
def test_a_setup_interrupted_while_it_writes_the_record_can_be_undone(
    world: World, interrupted_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, written = world.holds(), []

    def write(path: Path, text: str) -> None:
        if len(written) == interrupted_at:
            raise OSError(28, "No space left on device")
        written.append(path)
        real_write(path, text)

    real_write = steps_state._write
    monkeypatch.setattr(steps_state, "_write", write)
    with pytest.raises(HostError, match="No space left"):
        world.setup(VIP)
    assert world.holds() == before
    world.undo(VIP)
    assert world.holds() == before
    assert steps_state.setups(world.machine.state) == []


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


@pytest.mark.parametrize(("device", "key"), [("e0", "e0"), ("e0.100", "e0/100"), ("default", "default")])
def test_a_device_that_overrules_conf_all_is_found_mended_and_restored(
    world: World, device: str, key: str
) -> None:
    world.set(device, "arp_ignore", 3)
    before = world.holds()
    name = f"net.ipv4.conf.{key}.arp_ignore"
    assert f"missing  {name}=1 (now 3): sysctl -w {name}=1" in world.missing(VIP)
    world.setup(VIP)
    assert world.missing(VIP) == []
    assert world.get(device, "arp_ignore") == "1"
    world.undo(VIP)
    assert world.holds() == before


@pytest.mark.parametrize(
    ("everywhere", "own", "after"),
    [(0, 0, "0"), (0, 1, "2"), (1, 0, "2"), (1, 1, "2"), (2, 1, "1"), (1, 2, "2")],
)
def test_a_tunnel_device_is_loosened_only_where_the_kernel_would_check_strictly(
    world: World, everywhere: int, own: int, after: str
) -> None:
    world.links["tunl0"] = "NOARP"
    world.set("all", "rp_filter", everywhere)
    world.set("tunl0", "rp_filter", own)
    world.setup(VIP, mode="l3dsr", outer=(4,))
    assert world.get("tunl0", "rp_filter") == after
    world.undo(VIP, mode="l3dsr")
    assert world.get("tunl0", "rp_filter") == str(own)


def test_a_device_that_is_gone_does_not_stop_undo(world: World) -> None:
    world.set("e0", "arp_ignore", 3)
    world.setup(VIP)
    (world.sysctls / "net/ipv4/conf/e0/arp_ignore").unlink()
    assert "gone     net.ipv4.conf.e0.arp_ignore=1: it was not there any more" in world.undo(VIP)
    assert not world.machine.state.exists()


def test_a_kernel_without_a_sysctl_is_named_in_one_sentence(world: World) -> None:
    (world.sysctls / "net/ipv4/conf/all/arp_ignore").unlink()
    with pytest.raises(HostError, match=r"no sysctl net\.ipv4\.conf\.all\.arp_ignore"):
        world.setup(VIP)


def test_a_module_that_brings_its_device_to_other_namespaces_only_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.holds()
    monkeypatch.setattr(world, "_bring", lambda device: None)
    with pytest.raises(
        HostError, match="module ipip is loaded, but brings no tunl0 to this network namespace"
    ):
        world.setup(VIP, mode="l3dsr")
    world.undo(VIP, mode="l3dsr")
    assert world.holds() == before


# --- what can be wrong all the same -----------------------------------------------------------------


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
