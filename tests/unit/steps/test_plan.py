"""Are the steps of a setup planned as lines to paste, in an order that works, with an MSS that fits?"""

from __future__ import annotations

import pytest
from pretended_machine import World
from pretended_setups import SECOND, VIP, VIP6, lines

from dsrlb.errors import HostError
from dsrlb.host import steps
from dsrlb.modes import BY_NAME


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
