"""What of a host's interfaces and addresses keeps a balancer from serving?"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from dsrlb.config import Config
from dsrlb.host.guard import Answers
from dsrlb.host.links import Link
from dsrlb.host.neighbours import Route
from dsrlb.model import Backend, ModeOptions, Service
from dsrlb.modes import BY_NAME
from dsrlb.preflight import (
    Way,
    _broadcast_vips,
    _doubled,
    _own_macs,
    _sourceless,
    _way_to,
    guarded_by,
    links_of_answers,
    owned_by,
)

L2DSR, INLINE = BY_NAME["l2dsr"], BY_NAME["inline"]
VIP, SERVER = ip_address("198.18.1.100"), ip_address("198.18.2.11")


def link(ifindex: int, name: str, *ipv4: str, vlan_of: int | None = None) -> Link:
    return Link(ifindex, name, bytes(6), 1500, True, tuple(map(ip_interface, ipv4)), (), vlan_of)


def test_an_interface_and_a_vlan_of_it_are_not_served_together() -> None:
    trunk, vlan, other = link(2, "eth0"), link(3, "eth0.100", vlan_of=2), link(4, "eth1.100", vlan_of=9)
    ((subject, sentence, _),) = _doubled([trunk, vlan, other])
    assert subject == "eth0.100" and "eth0.100 is a VLAN of eth0" in sentence
    assert not list(_doubled([vlan, other]))


def test_broadcast_and_network_addresses_are_no_vips() -> None:
    links = [link(2, "eth0", "198.18.1.10/24"), link(3, "eth1", "198.18.3.0/31")]
    wrong = [ip_address(text) for text in ("198.18.1.255", "198.18.1.0")]
    right = [ip_address(text) for text in ("198.18.1.100", "198.18.2.255", "198.18.3.1", "2001:db8::ff")]
    refused = [finding.subject for finding in _broadcast_vips(wrong + right, links)]
    assert refused == wrong


def test_a_broadcast_address_is_no_backend_whatever_its_mac() -> None:
    route = Route(2, "eth0", None, None, is_local=False, is_broadcast=True)
    for mac in (None, bytes.fromhex("0200c6120111")):
        told = _way_to(Backend(ip_address("198.18.1.255"), 1, mac), route, [link(2, "eth0")], L2DSR, False)
        assert "broadcast address of eth0's network" in str(told)


def test_a_backend_with_the_mac_of_the_interface_it_is_reached_by_is_refused() -> None:
    own, other = bytes(6), bytes.fromhex("0200c6120111")
    backends = tuple(
        Backend(ip_address(f"198.18.1.{n}"), 1, mac) for n, mac in ((11, other), (12, own), (13, None))
    )
    services = (Service(ip_address("198.18.1.100"), 80, "tcp", "l2dsr", "rr", backends),)
    ((_, told, _),) = _own_macs(Config(services), [link(2, "eth0")])
    assert told.startswith("Backend 198.18.1.12") and "eth0" in told


def test_wrapping_needs_an_address_to_send_from() -> None:
    far, own = ip_address("198.18.21.2"), ip_address("198.18.1.10")
    for mode, options, source, lacks in (
        ("l3dsr", ModeOptions(), None, True),
        ("l3dsr", ModeOptions(), own, False),
        ("l3dsr", ModeOptions(source=own), None, False),
        ("l2dsr", ModeOptions(), None, False),
    ):
        service = Service(ip_address("198.18.1.100"), 80, "tcp", mode, "rr", (Backend(far),), options)
        ways = {far: Way(link(2, "eth0"), ip_address("198.18.1.1"), 1500, source)}
        assert _sourceless(Config((service,)), ways) == ({far} if lacks else set())


def inline(options: ModeOptions = ModeOptions(), port: int = 80) -> Config:  # noqa: B008  it is frozen
    backends = (Backend(SERVER, port=8080), Backend(ip_address("198.18.2.12")))
    return Config((Service(VIP, port, "tcp", "inline", "rr", backends, options),))


def test_a_server_behind_a_router_has_no_way_back_unless_its_answers_are_addressed_to_the_balancer() -> None:
    route = Route(2, "eth0", ip_address("198.18.1.1"), ip_address("198.18.1.10"), is_local=False)
    links = [link(2, "eth0")]
    told = _way_to(Backend(SERVER), route, links, INLINE, False)
    assert isinstance(told, str) and "--snat" in told and str(SERVER) in told
    way = _way_to(Backend(SERVER), route, links, INLINE, True)
    assert isinstance(way, Way) and way.next_hop == ip_address("198.18.1.1")
    assert isinstance(_way_to(Backend(SERVER), route, links, BY_NAME["l3dsr"], False), Way)


def test_the_host_is_kept_off_answers_to_clients_but_not_off_those_to_our_own_source() -> None:
    answers = Answers(SERVER, 8080, "tcp"), Answers(ip_address("198.18.2.12"), 80, "tcp")
    assert guarded_by(inline()) == (VIP, *answers)
    assert guarded_by(inline(ModeOptions(snat=True))) == (VIP,)
    source = ip_address("198.18.1.99")
    assert guarded_by(inline(ModeOptions(snat=True, source=source))) == (VIP, source)
    assert owned_by(inline(ModeOptions(source=source))) == (VIP,)  # not without snat


def test_frames_are_taken_where_answers_come_in() -> None:
    front, back = link(2, "eth0"), link(3, "eth1")
    ways = {SERVER: Way(back, SERVER, 1500, None)}
    assert links_of_answers(inline(), ways, [front]) == (back,)
    assert links_of_answers(inline(), ways, [front, back]) == ()
    l2dsr = Config((Service(VIP, 80, "tcp", "l2dsr", "rr", (Backend(SERVER),)),))
    assert links_of_answers(l2dsr, ways, [front]) == ()
