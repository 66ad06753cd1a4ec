"""Are links, routes and owners of a VIP told as they are, and is the VIP announced?"""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from lab_host import LB, LB_MAC, SERVER, SERVER_MAC, SERVER_V4, SERVER_V6, VIPS, ip
from lab_wire import eventually, inside

from dsrlb.errors import ConfigError
from dsrlb.host import links, neighbours, ownership
from dsrlb.model import wire_address


def test_links_and_routes_are_told_as_they_are(lab):
    with inside(LB):
        here = links.link("e0")
        assert (here.mac, here.mtu_bytes, here.up) == (LB_MAC, 1500, True)
        assert [str(address) for address in here.ipv4] == ["198.18.40.1/24"]
        assert "2001:db8:40::1/64" in [str(address) for address in here.ipv6]
        broadcast = ip_address("198.18.40.255")
        own = [ip_address("198.18.40.1"), ip_address("2001:db8:40::1")]
        found = links.own_addresses([*own, SERVER_V4])
        assert {str(one) for one in found} == {"198.18.40.1/24 dev e0", "2001:db8:40::1/64 dev e0"}
        ip("-n", LB, "route", "add", "198.18.50.0/24", "via", "198.18.40.21")
        others = [ip_address(text) for text in ("198.18.50.9", "198.18.40.1", "198.19.0.1", "2001:db8:99::1")]
        routes = neighbours.routes_to([SERVER_V6, *others])
        direct, routed = routes[SERVER_V6], routes[others[0]]
        assert (direct.ifname, direct.gateway) == ("e0", None)
        assert (routed.gateway, routed.source) == (SERVER_V4, ip_address("198.18.40.1"))
        assert routes[others[1]].is_local
        assert neighbours.routes_to([broadcast])[broadcast].is_broadcast
        assert routes[others[2]] is None
        assert routes[others[3]] is None
        with pytest.raises(ConfigError, match="e0, lo"):
            links.link("e7")
        with pytest.raises(ConfigError, match="not an Ethernet interface"):
            links.link("lo")


@VIPS
def test_another_owner_of_the_vip_is_found_by_its_mac(lab, vip):
    with inside(LB):
        here = links.link("e0")
        assert ownership.find_owner(vip, here) is None
        ip("-n", SERVER, "addr", "add", f"{vip}/{vip.max_prefixlen}", "dev", "e0",
           *(["nodad"] if vip.version == 6 else []))  # fmt: skip
        assert ownership.find_owner(vip, here) == SERVER_MAC


@VIPS
def test_an_announcement_makes_neighbours_replace_the_mac_they_know(lab, vip):
    ip("-n", SERVER, "neigh", "add", str(vip), "lladdr", "02:00:00:00:00:07", "dev", "e0", "nud", "stale")
    with inside(SERVER):
        peer = links.link("e0").ifindex

    def known() -> bytes | None:
        with inside(LB):  # again and again: ARP's locktime may eat the first
            ownership.announce([vip], links.link("e0"))
        with inside(SERVER):
            return neighbours.neighbours(peer)[peer, wire_address(vip)].mac

    assert eventually(lambda: known() == LB_MAC, 30)
