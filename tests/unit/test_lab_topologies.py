"""Is every lab's network one that can work, before anybody builds it?"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from ipaddress import ip_address, ip_network

import pytest

from dsrlb.errors import UsageError
from dsrlb.lab.balancer import serve_flags
from dsrlb.lab.counters import _counted, checksum_errors
from dsrlb.lab.picture import picture
from dsrlb.lab.topologies import TOPOLOGIES
from dsrlb.lab.topologies.base import End, Interface
from dsrlb.lab.topology import BALANCERS_MAX, SERVERS_MAX, Lab, mac

LABS = [
    *(Lab(mode=one.mode, ipv6=True) for one in TOPOLOGIES),
    Lab(mode="inline", one_armed=True, ipv6=True),
    Lab(mode="inline", one_armed=True, snat=True, ipv6=True),
    Lab(mode="inline", lb_forwards=True, ipv6=True),
    Lab(mode="l3dsr", balancers=2, ipv6=True),
    Lab(mode="l3dsr", balancers=BALANCERS_MAX, servers=SERVERS_MAX, ipv6=True),
    *(Lab(mode=one.mode, servers=SERVERS_MAX, ipv6=True) for one in TOPOLOGIES),
]
each_lab = pytest.mark.parametrize(
    "lab", LABS, ids=lambda lab: f"{lab.mode}-{lab.servers}-{lab.one_armed}-{lab.balancers}"
)
TEST_NETWORKS = ip_network("198.18.0.0/15"), ip_network("2001:db8::/32")


def ends(lab: Lab) -> list[End]:
    return [end for role in lab.roles for end in lab.network.ends(role)]


def addresses(lab: Lab) -> list[tuple[End, Interface]]:
    return [(end, address) for end in ends(lab) for address in end.addresses]


@each_lab
def test_every_address_and_mac_is_there_once_and_of_the_test_networks(lab: Lab) -> None:
    every = Counter(address.ip for _, address in addresses(lab))
    every.update(end.mac for end in ends(lab) if end.mac)
    every.update((end.role, end.device) for end in ends(lab))
    every.update(lab.vips)
    assert [one for one, times in every.items() if times > 1] == []
    assert all(any(address.ip in network for network in TEST_NETWORKS) for _, address in addresses(lab))


@each_lab
def test_every_cable_ends_at_nodes_of_the_lab_and_its_network_is_the_same_at_both(lab: Lab) -> None:
    for cable in lab.network.cables:
        assert {cable.one.role, cable.other.role} <= set(lab.roles)
        networks = [{one.network for one in end.addresses} for end in (cable.one, cable.other)]
        assert networks[0] == networks[1] or set() in networks


@each_lab
@pytest.mark.parametrize("version", [4, 6])
def test_every_node_but_switches_reaches_the_client_and_every_gateway_is_a_neighbour(
    lab: Lab, version: int
) -> None:
    own = {role: [(end, one) for end, one in addresses(lab) if end.role == role] for role in lab.roles}
    at = {address.ip: end.role for end, address in addresses(lab)}
    for route in lab.network.routes:
        for gateway in (route.gateway, *route.beside):
            assert any(gateway in address.network for _, address in own[route.role]), route
        assert route.source is None or route.source in [address.ip for _, address in own[route.role]]
    target = lab.address("client", version)
    unaware = lab.server_names if lab.proxy_names else ()  # they answer proxies, on their own segment
    for role in set(lab.roles) - {*lab.network.switches, *unaware}:
        here, passed = role, [role]
        while not any(target in address.network for _, address in own[here]):
            via = [
                one.gateway for one in lab.network.routes if one.role == here and reaches(one.network, target)
            ]
            here = at[via[0]]
            assert here not in passed, passed
            passed.append(here)


def reaches(network: str, target: object) -> bool:
    return ip_network(network).version == target.version and target in ip_network(network)


@each_lab
def test_the_router_knows_a_way_to_the_vip_and_only_the_balancers_are_at_its_end(lab: Lab) -> None:
    for vip in lab.vips:
        ways = [one for one in lab.network.routes if one.role == "router" and reaches(one.network, vip)]
        routes = [gateway for one in ways for gateway in (one.gateway, *one.beside)]
        on_link = [
            address for end, address in addresses(lab) if end.role == "router" and vip in address.network
        ]
        balancers = [lab.address(role, vip.version) for role in lab.balancer_names]
        assert routes == ([] if on_link else balancers)
        assert len(on_link) <= 1
        assert vip not in [address.ip for _, address in addresses(lab)]


def test_the_lab_of_l2dsr_is_as_it_always_was() -> None:
    lab = Lab(ipv6=True)
    assert lab.roles == ("client", "router", "switch", "lb", "rs1", "rs2", "rs3")
    assert lab.vips == (ip_address("198.18.1.100"), ip_address("2001:db8:1::100"))
    assert [str(lab.address(role)) for role in ("client", "router", "lb", "rs3")] == [
        "198.18.0.2", "198.18.1.1", "198.18.1.10", "198.18.1.13",
    ]  # fmt: skip
    assert str(lab.address("rs2", 6)) == "2001:db8:1::12"
    for role in ("router", "lb", "rs1", "rs3"):
        assert lab.mac(role) == mac(role)
    assert mac("rs1") == "02:00:c6:12:01:11"


def test_each_server_of_l3dsr_is_in_a_routed_network_of_its_own() -> None:
    lab = Lab(mode="l3dsr", ipv6=True)
    assert list(map(str, lab.server_addresses())) == ["198.18.21.2", "198.18.22.2", "198.18.23.2"]
    assert list(map(str, lab.server_addresses(6))) == ["2001:db8:21::2", "2001:db8:22::2", "2001:db8:23::2"]
    assert lab.mac("rs2") == "02:00:c6:12:22:02"
    assert lab.mac("router", "s2") == "02:00:c6:12:22:01"


@pytest.mark.parametrize(
    ("shape", "gateway"),
    [
        ({}, "198.18.2.1"),
        ({"one_armed": True}, "198.18.1.10"),
        ({"one_armed": True, "snat": True}, "198.18.1.1"),
    ],
)
def test_the_gateway_of_inline_servers_is_the_balancer_unless_it_replaces_the_source(
    shape: dict[str, bool], gateway: str
) -> None:
    lab = Lab(mode="inline", **shape)
    routes = [one for one in lab.network.routes if one.role == "rs2"]
    assert [str(one.gateway) for one in routes if one.gateway.version == 4] == [gateway]


def test_a_narrow_link_is_one_links_matter() -> None:
    for one in TOPOLOGIES:
        lab = Lab(mode=one.mode, narrow_links=(("rs2", 1400),))
        narrow = [cable for cable in lab.network.cables if cable.mtu_bytes != 1500]
        assert [(cable.one.role, cable.mtu_bytes) for cable in narrow] == [("rs2", 1400)]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"mode": "proxy"}, "no lab for mode 'proxy'"),
        ({"mode": "l3dsr", "one_armed": True}, "layouts of mode inline"),
        ({"snat": True}, "layouts of mode inline"),
        ({"mode": "inline", "snat": True}, "one-armed layout"),
        ({"narrow_links": (("rs4", 1400),)}, "narrow link of 'rs4'"),
        ({"servers": SERVERS_MAX + 1}, "1 to 79 servers"),
        ({"balancers": 2}, "several balancers are a layout of mode l3dsr, not of l2dsr"),
        ({"mode": "l3dsr", "balancers": 10}, "1 to 9 balancers"),
    ],
)
def test_a_lab_that_makes_no_sense_is_refused(shape: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Lab(**shape)


def test_the_flags_of_a_balancer_follow_the_lab() -> None:
    two_armed = serve_flags(Lab(mode="inline", servers=1, ipv6=True), "--scheduler", "rr", version=6)
    assert " ".join(two_armed) == (
        "--mode inline --interface e0 --vip [2001:db8:1::100]:80 --backend 2001:db8:2::11 --scheduler rr"
    )
    one_armed = Lab(mode="inline", one_armed=True, snat=True, servers=1)
    assert " ".join(serve_flags(one_armed, ports=("80", "5353/udp"))) == (
        "--mode inline --interface e0 --vip 198.18.1.100:80 --vip 198.18.1.100:5353/udp"
        " --backend 198.18.1.11 --snat"
    )


def test_the_picture_shows_every_node_once_and_the_servers_behind_the_balancer() -> None:
    for lab in LABS:
        names = [re.sub(r"^[ │├└─]*(\S+).*", r"\1", line) for line in picture(lab)]
        assert sorted(names) == sorted(
            role if role in lab.network.switches else lab.namespace(role) for role in lab.roles
        )
    indents = {role: line.index("dsrlb-") for line in picture(Lab(mode="inline")) for role in ("lb", "rs1")
               if f"dsrlb-{role}" in line}  # fmt: skip
    assert indents["lb"] < indents["rs1"]


SNMP = """\
Ip: Forwarding DefaultTTL InReceives InHdrErrors
Ip: 1 64 5 0
Udp: InDatagrams InErrors InCsumErrors
Udp: 12 3 2
TcpExt: SyncookiesSent
TcpExt: 0
IpExt: InNoRoutes InCsumErrors
IpExt: 0 1
Ip6InReceives                   	7
Tcp6InCsumErrors                	0
"""


def test_counters_have_the_names_that_nstat_gives_them() -> None:
    counted = Counter(dict(_counted(SNMP)))
    assert (counted["IpInReceives"], counted["Ip6InReceives"], counted["UdpInDatagrams"]) == (5, 7, 12)
    assert checksum_errors(counted) == {"UdpInCsumErrors": 2, "IpExtInCsumErrors": 1}


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_layout_that_the_mode_does_not_have_is_one_sentence_and_exit_code_2(command: str) -> None:
    line = [sys.executable, "-m", "dsrlb", "lab", command, "--one-armed"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "one-armed and snat are layouts of mode inline" in done.stderr


def test_what_to_watch_at_the_balancer_is_on_an_interface_that_it_has() -> None:
    for one in TOPOLOGIES:
        device, _, words = one.watch.format(vip=one.vips[0]).partition(" ")
        assert device in ("any", *(end.device for end in Lab(mode=one.mode).network.ends("lb")))
        assert words
