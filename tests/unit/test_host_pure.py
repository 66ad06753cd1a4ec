"""The parts of dsrlb/host that need no kernel."""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from dsrlb.errors import DsrlbError
from dsrlb.host import frames, links, neighbours, netlink, notify, ownership, resolver, watch
from dsrlb.host.neighbours import NUD_FAILED, NUD_PERMANENT, NUD_PROBE, NUD_REACHABLE, NUD_STALE, Neighbour
from dsrlb.host.resolver import Ask
from dsrlb.model import V4_MAPPED

MAC, OTHER = bytes.fromhex("0200c6120101"), bytes.fromhex("0200c6120102")
VIP4, VIP6 = IPv4Address("198.18.0.10"), IPv6Address("2001:db8::10")


def neighbour_body(family: int, address: bytes, mac: bytes, state: int, confirmed: int) -> bytes:
    attributes = struct.pack("=HH", 4 + len(address), 1) + address
    attributes += struct.pack("=HH", 10, 2) + mac + b"\0\0"
    attributes += struct.pack("=HH4I", 20, 3, confirmed, 0, 0, 1)
    return struct.pack("=B3xiHBB", family, 7, state, 0, 1) + attributes


def test_a_neighbour_is_read_with_its_age_in_seconds():
    ticks = neighbours.CLOCK_TICKS_PER_S
    body = neighbour_body(socket.AF_INET, VIP4.packed, MAC, NUD_STALE, 3 * ticks)
    assert neighbours.parse_neighbour(body) == {(7, V4_MAPPED + VIP4.packed): Neighbour(MAC, NUD_STALE, 3.0)}


def test_an_ipv6_neighbour_keeps_its_16_bytes():
    body = neighbour_body(socket.AF_INET6, VIP6.packed, MAC, NUD_STALE, 0)
    assert list(neighbours.parse_neighbour(body)) == [(7, VIP6.packed)]


def test_a_bridge_entry_is_no_neighbour():
    assert neighbours.parse_neighbour(neighbour_body(socket.AF_BRIDGE, b"", MAC, NUD_STALE, 0)) == {}


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_cut_netlink_message_ends_the_reading_without_an_error(cut):
    body = neighbour_body(socket.AF_INET, VIP4.packed, MAC, NUD_STALE, 0)
    message = struct.pack("=IHHII", 16 + len(body), 28, 2, 1, 0) + body
    assert list(netlink.messages(message + message[:-cut])) == [(28, 2, body)]


@pytest.mark.parametrize(
    ("mac", "state", "usable"),
    [
        (MAC, NUD_STALE, True),
        (MAC, NUD_PERMANENT, True),
        (MAC, NUD_FAILED, False),
        (MAC, neighbours.NUD_INCOMPLETE, False),
        (None, NUD_REACHABLE, False),
    ],
)
def test_a_neighbour_is_usable_with_a_mac_in_a_state_that_trusts_it(mac, state, usable):
    assert Neighbour(mac, state, 0.0).usable is usable


@pytest.mark.parametrize(
    ("entry", "ask"),
    [
        (None, Ask.RESOLVE),
        (Neighbour(None, NUD_FAILED, 9.0), Ask.RESOLVE),
        (Neighbour(None, neighbours.NUD_INCOMPLETE, 9.0), Ask.NOTHING),
        (Neighbour(MAC, NUD_PERMANENT, 9.0), Ask.NOTHING),
        (Neighbour(MAC, NUD_REACHABLE, 0.3), Ask.UNICAST),
        (Neighbour(MAC, NUD_REACHABLE, 0.5), Ask.MULTICAST),
        (Neighbour(MAC, NUD_STALE, 2.5), Ask.PROBE),
        (Neighbour(MAC, NUD_PROBE, 2.5), Ask.MULTICAST),
    ],
)
def test_the_longer_a_neighbour_is_silent_the_louder_it_is_asked(entry, ask):
    assert resolver.what_to_ask(entry) is ask


def a_link(*addresses: str) -> links.Link:
    own = [ip_interface(address) for address in addresses]
    return links.Link(
        ifindex=7,
        name="e0",
        mac=MAC,
        mtu_bytes=1500,
        up=True,
        ipv4=tuple(a for a in own if a.version == 4),
        ipv6=tuple(a for a in own if a.version == 6),
    )


def test_a_question_is_asked_from_the_own_address_of_the_targets_subnet():
    link = a_link("198.18.9.1/24", "198.18.0.1/24", "fe80::1/64", "2001:db8::1/64")
    arp = Ether(resolver.question(IPv4Address("198.18.0.21"), link).multicast)
    assert (arp[ARP].psrc, arp[ARP].pdst, arp.dst) == ("198.18.0.1", "198.18.0.21", "ff:ff:ff:ff:ff:ff")
    asked = resolver.question(IPv6Address("2001:db8::21"), link)
    assert Ether(asked.multicast)[IPv6].src == "2001:db8::1"
    assert Ether(asked.unicast)[IPv6].dst == "2001:db8::21"


def test_without_an_own_address_ipv4_is_asked_as_a_probe_and_ipv6_not_at_all():
    assert Ether(resolver.question(VIP4, a_link()).multicast)[ARP].psrc == "0.0.0.0"
    assert resolver.question(VIP6, a_link()) is None


def test_a_solicitation_goes_to_the_solicited_node_group_and_its_mac():
    ns = Ether(frames.neighbour_solicitation(MAC, IPv6Address("fe80::1"), VIP6))
    assert (ns.dst, ns[IPv6].dst, ns[IPv6].hlim) == ("33:33:ff:00:00:10", "ff02::1:ff00:10", 255)
    assert ns[ICMPv6NDOptSrcLLAddr].lladdr == "02:00:c6:12:01:01"


def test_a_solicitation_from_nowhere_names_no_link_layer_address():
    ns = Ether(frames.neighbour_solicitation(MAC, frames.UNSPECIFIED, VIP6))
    assert ICMPv6NDOptSrcLLAddr not in ns
    assert ns[ICMPv6ND_NS].tgt == "2001:db8::10"


def test_the_announcement_of_an_ipv4_vip_comes_in_both_forms():
    request, reply = (Ether(frame)[ARP] for frame in frames.gratuitous_arp(MAC, VIP4))
    assert (request.op, request.psrc, request.pdst) == (1, "198.18.0.10", "198.18.0.10")
    assert (reply.op, reply.psrc, reply.hwdst) == (2, "198.18.0.10", "02:00:c6:12:01:01")


def test_the_announcement_of_an_ipv6_vip_overrides_what_is_known():
    na = Ether(frames.unsolicited_advertisement(MAC, VIP6))
    assert (na.dst, na[ICMPv6ND_NA].O, na[ICMPv6ND_NA].S) == ("33:33:00:00:00:01", 1, 0)


def tagged(frame: bytes, tags: str) -> bytes:
    return frame[:12] + bytes.fromhex(tags) + frame[12:]


@pytest.mark.parametrize(
    ("frame", "vip", "mac"),
    [
        (frames.gratuitous_arp(OTHER, VIP4)[0], VIP4, OTHER),
        (frames.gratuitous_arp(OTHER, VIP4)[1], VIP4, OTHER),
        (frames.arp_request(OTHER, IPv4Address(0), VIP4), VIP4, None),
        (frames.gratuitous_arp(OTHER, IPv4Address("198.18.0.11"))[0], VIP4, None),
        (frames.unsolicited_advertisement(OTHER, VIP6), VIP6, OTHER),
        (frames.unsolicited_advertisement(OTHER, IPv6Address("2001:db8::11")), VIP6, None),
        (frames.neighbour_solicitation(OTHER, frames.UNSPECIFIED, VIP6), VIP6, None),
        (tagged(frames.gratuitous_arp(OTHER, VIP4)[0], "81000005"), VIP4, OTHER),
        (tagged(frames.unsolicited_advertisement(OTHER, VIP6), "88a8000981000005"), VIP6, OTHER),
        (tagged(frames.arp_request(OTHER, IPv4Address(0), VIP4), "81000005"), VIP4, None),
        (b"", VIP4, None),
        (frames.unsolicited_advertisement(OTHER, VIP6)[:60], VIP6, None),
    ],
)
def test_a_vip_is_claimed_by_those_who_say_they_have_it_and_not_by_those_who_ask(frame, vip, mac):
    assert ownership.claimant(frame, vip) == mac


@pytest.mark.parametrize(
    ("kind", "events"),
    [
        (28, [("neighbour",)]),
        (21, [("route",)]),
        (32, [("rule",)]),
        (16, [("link",)]),
        (17, [("link",)]),  # deleted
        (3, []),
    ],
)
def test_a_netlink_message_becomes_a_small_event(kind, events):
    assert list(watch.events_of(kind)) == events


def test_the_default_interface_is_that_of_ipv4_before_that_of_ipv6(monkeypatch):
    routes = {socket.AF_INET: ("198.18.0.1", "e0"), socket.AF_INET6: ("2001:db8::1", "e1")}
    monkeypatch.setattr(links.netifaces, "gateways", lambda: {"default": routes})
    assert links.default_interface() == "e0"
    del routes[socket.AF_INET]
    assert links.default_interface() == "e1"


def test_a_host_without_a_default_route_is_told_to_name_the_interface(monkeypatch):
    monkeypatch.setattr(links.netifaces, "gateways", lambda: {"default": {}})
    with pytest.raises(DsrlbError, match="--interface"):
        links.default_interface()


@pytest.mark.parametrize("abstract", [True, False])
def test_the_service_manager_is_told_on_a_path_or_an_abstract_name(monkeypatch, tmp_path, abstract):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + path if abstract else path)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + path if abstract else path)
        assert notify.notify(notify.READY)
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("microseconds", "pid", "every_s"),
    [
        ("30000000", None, 15),
        ("3000000", "mine", 1.5),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_told_twice_in_its_time(monkeypatch, microseconds, pid, every_s):
    own = {"mine": str(os.getpid())}
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", own.get(pid, pid))):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_every_s() == every_s


def test_nobody_is_told_when_nobody_asked(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.notify(notify.READY)
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    assert not notify.notify(notify.READY)
