"""Are packets of checks told apart, and sent as the mode sends its clients' packets?"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_address
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Raw

from dsrlb.health.by_mode import frames_by, own_address
from dsrlb.host.links import Link
from dsrlb.host.probe_path import key_of
from dsrlb.model import Hop, ModeOptions, wire_address

VIP, VIP6 = "198.18.1.100", "2001:db8:1::100"
OWN, OWN6 = "198.18.1.10", "2001:db8:1::10"
SERVER, SERVER6 = ip_address("198.18.1.11"), ip_address("2001:db8:1::11")
HOP = Hop(
    2, bytes.fromhex("0200c6120110"), bytes.fromhex("0200c6120111"), 1500, wire_address(ip_address(OWN))
)
LINK = Link(2, "e0", HOP.src_mac, 1500, True, (IPv4Interface(f"{OWN}/24"),),
            (IPv6Interface("fe80::1/64"), IPv6Interface(f"{OWN6}/64")))  # fmt: skip


@pytest.mark.parametrize(
    ("packet", "key"),
    [
        (IP(src=OWN, dst=VIP) / TCP(sport=40000), bytes((6,)) + b"\x9c\x40"),
        (IP(src=OWN, dst=VIP) / UDP(sport=40000), bytes((17,)) + b"\x9c\x40"),
        (IP(src=OWN, dst=VIP) / ICMP(id=40000), bytes((1,)) + b"\x9c\x40"),
        (IPv6(src=OWN6, dst=VIP6) / TCP(sport=40000), bytes((6,)) + b"\x9c\x40"),
        (IPv6(src=OWN6, dst=VIP6) / UDP(sport=40000), bytes((17,)) + b"\x9c\x40"),
        (IPv6(src=OWN6, dst=VIP6) / ICMPv6EchoRequest(id=40000), bytes((58,)) + b"\x9c\x40"),
    ],
)
def test_a_packet_is_known_by_protocol_and_port(packet: Any, key: bytes) -> None:
    assert key_of(bytes(packet))[0] == key


def test_pieces_of_a_datagram_are_known_by_the_first() -> None:
    four = fragment(IP(src=OWN, dst=VIP, id=7) / UDP(sport=40000) / Raw(bytes(3000)), 1200)
    whole = IPv6(src=OWN6, dst=VIP6) / IPv6ExtHdrFragment(id=7) / UDP(sport=40000) / Raw(bytes(3000))
    for pieces in (four, fragment6(whole, 1280)):
        keys, names = zip(*(key_of(bytes(one)) for one in pieces), strict=True)
        assert len(pieces) > 2 and set(keys[1:]) == {b""} and keys[0] == bytes((17,)) + b"\x9c\x40"
        assert len(set(names)) == 1 and names[0]


def test_l2dsr_sends_it_to_the_servers_mac_and_changes_nothing() -> None:
    packet = bytes(IP(src=OWN, dst=VIP, ttl=1) / TCP(sport=40000, dport=80))
    (frame,) = frames_by("l2dsr", ModeOptions(), SERVER, HOP)(packet)
    assert frame == HOP.dst_mac + HOP.src_mac + b"\x08\x00" + packet


@pytest.mark.parametrize("encap", ["ipip", "gue", "gue1"])
@pytest.mark.parametrize("inner", [4, 6])
@pytest.mark.parametrize("server", [SERVER, SERVER6], ids=str)
def test_l3dsr_wraps_it_for_the_server_whatever_the_families(encap: Any, inner: int, server: Any) -> None:
    own = ip_address(OWN if server.version == 4 else OWN6)
    hop = Hop(2, HOP.src_mac, HOP.dst_mac, 1500, wire_address(own))
    head = IP(src=OWN, dst=VIP, ttl=1) if inner == 4 else IPv6(src=OWN6, dst=VIP6, hlim=1)
    packet = bytes(head / TCP(sport=40000, dport=80))
    (frame,) = frames_by("l3dsr", ModeOptions(encap=encap), server, hop)(packet)
    assert frame.endswith(packet) and server.packed in frame[: -len(packet)]
    assert own.packed in frame[: -len(packet)]


def test_a_server_answers_to_an_address_of_the_vips_family() -> None:
    assert own_address(ip_address(VIP), HOP, LINK) == OWN
    assert own_address(ip_address(VIP6), HOP, LINK) == OWN6, "never the link-local one"
    bare = Link(2, "e0", HOP.src_mac, 1500, True, (), ())
    assert own_address(ip_address(VIP6), HOP, bare) is None
