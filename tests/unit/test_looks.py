"""Are the packets of looks what they are meant to be, and is a server's answer read as it is?"""

from __future__ import annotations

from ipaddress import IPv4Interface, ip_address

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.packet import Raw

from dsrlb.health.asking import Way
from dsrlb.health.base import Subject
from dsrlb.health.echo import HEADERS_BYTES, TOKEN_BYTES, is_reply, request
from dsrlb.health.looking import fits_bytes, is_wrapped, overhead_bytes
from dsrlb.health.path import straight
from dsrlb.host.links import Link
from dsrlb.model import Check, Hop
from dsrlb.wire.mss import announced

OWN, SERVER, VIP = (ip_address(one) for one in ("198.18.1.10", "198.18.1.11", "198.18.1.100"))
OWN6, SERVER6 = ip_address("2001:db8:1::10"), ip_address("2001:db8:1::11")
TOKEN = bytes(range(TOKEN_BYTES))
HOP = Hop(2, bytes.fromhex("0200c6120110"), bytes.fromhex("0200c6120111"), 1500)
LINK = Link(2, "e0", HOP.src_mac, 1500, True, (IPv4Interface(f"{OWN}/24"),), ())


@pytest.mark.parametrize("size_bytes", [HEADERS_BYTES[6], 577, 1500])
def test_a_request_is_as_long_as_was_asked_and_right_to_the_last_bit(size_bytes: int) -> None:
    four = IP(request(OWN, SERVER, size_bytes, TOKEN, 1))
    six = IPv6(request(OWN6, SERVER6, size_bytes, TOKEN, 1))
    for packet, ttl in ((four, four.ttl), (six, six.hlim)):
        assert (len(packet), ttl) == (size_bytes, 1)
        assert bytes(packet.copy()) == bytes(_with_sums_of_scapy(packet))
    assert (four.src, four.dst, str(four.flags), four[ICMP].type) == (str(OWN), str(SERVER), "DF", 8)
    assert (six.src, six.dst, six[ICMPv6EchoRequest].type) == (str(OWN6), str(SERVER6), 128)


def _with_sums_of_scapy(packet: object) -> object:
    again = packet.copy()  # type: ignore[attr-defined]  # a packet of scapy
    if IP in again:
        del again[IP].chksum, again[ICMP].chksum
    else:
        del again[ICMPv6EchoRequest].cksum
    return again


def test_only_the_answer_with_its_token_is_its_answer() -> None:
    reply = bytes(ICMP(type=0, id=0x0001, seq=0x0203) / Raw(TOKEN[4:]))
    assert is_reply(reply, 4, TOKEN)
    assert not is_reply(reply, 4, TOKEN[::-1]) and not is_reply(reply, 6, TOKEN)
    assert not is_reply(bytes(ICMP(type=8, id=0x0001, seq=0x0203) / Raw(TOKEN[4:])), 4, TOKEN)
    assert not is_reply(b"", 4, TOKEN)


def test_the_mss_of_a_segment_is_read_and_one_that_is_cut_or_silent_has_none() -> None:
    whole = bytes(TCP(flags="SA", options=[("NOP", None), ("MSS", 1440), ("WScale", 7)]))
    assert announced(whole, 0) == 1440
    assert announced(bytes(TCP(flags="SA")), 0) is None
    assert all(announced(whole[:size], 0) is None for size in range(len(whole)))


def test_what_fits_is_what_the_way_carries_less_what_is_put_before_packets() -> None:
    way = straight(Subject(SERVER, 80, VIP, Check("tcp")), HOP, LINK)
    assert way is not None and (overhead_bytes(way), fits_bytes(way)) == (0, 1500)
    far = Subject(ip_address("198.18.21.2"), 80, VIP, Check("tcp"), mode="l3dsr")
    tunnel = Way(far, far, HOP, LINK, str(OWN), way.lead)
    assert (overhead_bytes(tunnel), fits_bytes(tunnel)) == (20, 1480)
    assert is_wrapped(tunnel) and not is_wrapped(way)
    beside = Subject(SERVER, 80, VIP, Check("tcp"), mode="l3dsr")
    assert not is_wrapped(Way(beside, beside, HOP, LINK, str(OWN), way.lead)), "its MSS is for this segment"


def test_a_packet_beside_the_tunnel_is_not_changed() -> None:
    way = straight(Subject(SERVER, 80, VIP, Check("tcp")), HOP, LINK)
    assert way is not None
    packet = request(OWN, SERVER, 64, TOKEN, 64)
    assert way.lead.frames(packet) == [HOP.dst_mac + HOP.src_mac + b"\x08\0" + packet]
