"""Is whoever asks for the VIP answered with a frame that scapy would have built?"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import balancer
import packets as p
from datapath_laws import LAW, MAC, TABLES
from hypothesis import assume, given
from hypothesis import strategies as st

from dsrlb.model import Action, Reason

V4 = st.ip_addresses(v=4).filter(lambda a: not a.is_multicast and not a.is_loopback and 0 < a.packed[0] < 240)
V6 = st.ip_addresses(v=6).filter(
    lambda a: (
        not (a.is_multicast or a.is_loopback or a.is_unspecified or a.packed[:12] == bytes(10) + b"\xff\xff")
    )
)
UNICAST_MAC = (
    st.binary(min_size=6, max_size=6).map(lambda mac: bytes([mac[0] & 0xFE | 2]) + mac[1:]).filter(MAC.__ne__)
)
TAGS = st.sampled_from([(), (5,), (5, 6)])


@LAW
@given(st.one_of(V4, V6), UNICAST_MAC, st.binary(max_size=64), st.integers(0, 65535), TAGS)
def test_an_echo_is_answered_to_whoever_asked_with_checksums_as_scapy_counts_them(
    client: IPv4Address | IPv6Address, mac: bytes, load: bytes, ident: int, tags: tuple[int, ...]
) -> None:
    vip = p.VIP if client.version == 4 else p.VIP6
    assume(str(client) != vip)
    ask = (
        p.ICMP(type=8, id=ident) / p.Raw(load)
        if client.version == 4
        else p.ICMPv6EchoRequest(id=ident, data=load)
    )
    frame = p.ether(src=mac.hex(":"), tags=tags) / p.ip(str(client), vip) / ask
    action, reason, ifindex, out = balancer.one(frame, TABLES["rr"])
    assert (action, reason, ifindex) == (Action.TX, Reason.ECHO_REPLY, p.IFINDEX)
    assert out[:12] == mac + MAC
    assert p.rebuilt(p.Ether(out)) == out
    assert out.endswith(load)


@LAW
@given(V6, UNICAST_MAC, TAGS)
def test_a_neighbour_is_told_our_mac_with_a_checksum_as_scapy_counts_it(
    asker: IPv6Address, mac: bytes, tags: tuple[int, ...]
) -> None:
    assume(str(asker) != p.VIP6)
    out = balancer.one(p.solicits(src=str(asker), mac=mac.hex(":"), tags=tags), TABLES["rr"])[3]
    reply = p.Ether(out)
    assert out[:12] == mac + MAC
    assert p.rebuilt(reply) == out
    assert (reply[p.IPv6].dst, reply[p.ICMPv6ND_NA].tgt) == (str(asker), p.VIP6)


@LAW
@given(V4, UNICAST_MAC)
def test_whoever_asks_by_arp_is_told_our_mac(asker: IPv4Address, mac: bytes) -> None:
    assume(str(asker) != p.VIP)
    out = balancer.one(p.who_has(src=str(asker), mac=mac.hex(":")), TABLES["rr"])[3]
    reply = p.Ether(out)
    assert (out[:12], reply[p.ARP].hwsrc, reply[p.ARP].psrc) == (mac + MAC, p.BALANCER_MAC, p.VIP)
    assert (reply[p.ARP].hwdst, reply[p.ARP].pdst) == (mac.hex(":"), str(asker))


def test_no_one_is_answered_at_an_address_that_no_one_can_have() -> None:
    for src in ("ff02::1", "::1", "::ffff:198.18.0.2", p.VIP6):
        action, _, _, _ = balancer.one(p.solicits(src=src), TABLES["rr"])
        assert action is not Action.TX, src


def test_a_capture_of_the_balancer_s_own_announcements_is_no_conflict() -> None:
    """Replay without a MAC cannot tell whose announcement it is, and says nothing, for ARP as for ND."""
    table = balancer.table(interfaces={p.IFINDEX: None})
    for frame in (p.claims(mac=p.BALANCER_MAC), p.advertises(mac=p.BALANCER_MAC)):
        assert balancer.one(frame, table)[1] in (Reason.ARP_OTHER, Reason.ND_OTHER)
