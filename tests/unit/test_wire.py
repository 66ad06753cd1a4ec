"""Do bytes mean what the RFCs say they mean, and does nothing else pass for it?"""

from __future__ import annotations

import random
from ipaddress import ip_address
from typing import Any

import packets as p
import pytest
from scapy.utils import checksum as scapy_checksum

from dsrlb.model import Reason, wire_address
from dsrlb.wire import arp, ethernet, flowhash, icmp, ipv4, ipv6, l4
from dsrlb.wire.checksum import checksum, is_valid
from dsrlb.wire.destination import destination
from dsrlb.wire.packet import Fragment, Packet

MAC = p.mac_bytes(p.BALANCER_MAC)
CLIENT, VIP = wire_address(ip_address(p.CLIENT)), wire_address(ip_address(p.VIP))
CLIENT6, VIP6 = wire_address(ip_address(p.CLIENT6)), wire_address(ip_address(p.VIP6))


def parsed(frame: object) -> Packet:
    """Return the IP packet in a frame that has one."""
    raw = bytes(frame)  # type: ignore[call-overload]  # a scapy packet
    kind, at = ethernet.skip_tags(raw)
    packet = ipv4.parse(raw, at) if kind == ethernet.ETHERTYPE_IPV4 else ipv6.parse(raw, at)
    assert isinstance(packet, Packet), packet
    return packet


def refused(frame: object) -> Reason:
    """Return why a frame holds no IP packet."""
    raw = bytes(frame)  # type: ignore[call-overload]  # a scapy packet
    kind, at = ethernet.skip_tags(raw)
    reason = ipv4.parse(raw, at) if kind == ethernet.ETHERTYPE_IPV4 else ipv6.parse(raw, at)
    assert isinstance(reason, Reason)
    return reason


# -- checksum ---------------------------------------------------------------------------------


def test_the_checksum_is_what_scapy_computes_for_any_length() -> None:
    rng = random.Random(1)
    for length in (1, 2, 3, 19, 20, 21, 64, 1499, 1500):
        block = rng.randbytes(length)
        assert int.from_bytes(checksum(block), "big") == scapy_checksum(block)


@pytest.mark.parametrize(
    ("block", "expected"),
    [("0000", "ffff"), ("ffff", "0000"), ("00010203fdfb", "0000"), ("0001f203", "0dfb")],
)
def test_the_checksum_of_nothing_is_all_ones_and_of_all_ones_is_nothing(block: str, expected: str) -> None:
    assert checksum(bytes.fromhex(block)).hex() == expected
    assert f"{scapy_checksum(bytes.fromhex(block)):04x}" == expected


def test_a_block_with_its_checksum_is_valid_and_with_any_bit_turned_is_not() -> None:
    body = bytes(range(1, 20))
    block = body + b"\0" + checksum(body)
    assert is_valid(block)
    for bit in range(len(block) * 8):
        turned = bytearray(block)
        turned[bit >> 3] ^= 1 << (bit & 7)
        assert not is_valid(bytes(turned))


def test_a_block_of_zeros_is_not_valid() -> None:
    assert not is_valid(bytes(8))


# -- Ethernet ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("tags", "at"), [((), 14), ((5,), 18), ((5, 6), 22)])
def test_up_to_two_tags_are_skipped(tags: tuple[int, ...], at: int) -> None:
    assert ethernet.skip_tags(bytes(p.tcp(tags=tags))) == (ethernet.ETHERTYPE_IPV4, at)


def test_a_third_tag_is_an_ethertype_of_its_own() -> None:
    kind, _ = ethernet.skip_tags(bytes(p.tcp(tags=(5, 6, 7))))
    assert kind in ethernet.TAG_TYPES


@pytest.mark.parametrize("tags", [(), (5,), (5, 6)])
def test_a_frame_that_ends_inside_its_header_has_no_known_ethertype(tags: tuple[int, ...]) -> None:
    whole = bytes(p.tcp(tags=tags))
    for length in range(14 + 4 * len(tags)):
        kind, _ = ethernet.skip_tags(whole[:length])
        assert kind not in (ethernet.ETHERTYPE_IPV4, ethernet.ETHERTYPE_IPV6, ethernet.ETHERTYPE_ARP)


# -- IPv4 -------------------------------------------------------------------------------------


def test_an_ipv4_packet_says_from_whom_to_whom_and_where_its_transport_lies() -> None:
    frame = p.tcp(load=b"abc")
    assert parsed(frame) == Packet(CLIENT, VIP, 6, 34, 34 + 20 + 3, None)


def test_ethernet_padding_is_no_part_of_an_ipv4_packet() -> None:
    assert parsed(p.tcp() / p.Padding(bytes(6))).end == 54


def test_the_longest_ipv4_header_is_skipped() -> None:
    head = p.IP(src=p.CLIENT, dst=p.VIP, options=[p.IPOption_NOP()] * 40)
    assert parsed(p.ether() / head / p.TCP()).l4_at == 14 + 60


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"version": 6}, Reason.NOT_IP),
        ({"ihl": 4}, Reason.MALFORMED),
        ({"len": 19}, Reason.MALFORMED),
        ({"len": 0}, Reason.MALFORMED),
        ({"len": 41}, Reason.TRUNCATED),
        ({"ihl": 15}, Reason.TRUNCATED),
        ({"chksum": 1}, Reason.BAD_CHECKSUM),
    ],
)
def test_an_ipv4_header_that_contradicts_itself_is_refused(fields: dict[str, Any], reason: Reason) -> None:
    assert refused(p.ether() / p.IP(src=p.CLIENT, dst=p.VIP, **fields) / p.TCP()) is reason


def test_any_turned_bit_in_an_ipv4_header_is_noticed() -> None:
    whole = bytes(p.tcp(load=b"payload" * 10))
    for bit in range(14 * 8, 34 * 8):
        turned = bytearray(whole)
        turned[bit >> 3] ^= 1 << (bit & 7)
        assert isinstance(ipv4.parse(bytes(turned), 14), Reason)


@pytest.mark.parametrize(
    ("flags", "offset", "is_first"), [("MF", 0, True), ("MF", 3, False), (0, 3, False), (0, 0x1FFF, False)]
)
def test_an_ipv4_fragment_is_known_by_addresses_identification_and_protocol(
    flags: str, offset: int, is_first: bool
) -> None:
    frame = (
        p.ether()
        / p.IP(src=p.CLIENT, dst=p.VIP, id=0x1234, proto=17, flags=flags, frag=offset)
        / p.Raw(bytes(8))
    )
    key = CLIENT + VIP + bytes.fromhex("0000123411")
    assert parsed(frame).fragment == Fragment(key, is_first)


@pytest.mark.parametrize("flags", ["DF", 0, "evil", "DF+evil"])
def test_a_whole_ipv4_packet_is_no_fragment_whatever_its_other_flags(flags: str) -> None:
    assert parsed(p.ether() / p.IP(src=p.CLIENT, dst=p.VIP, flags=flags) / p.TCP()).fragment is None


@pytest.mark.parametrize(
    ("address", "is_martian"),
    [
        *((one, True) for one in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "224.0.0.1")),
        *((one, True) for one in ("239.1.1.1", "240.0.0.1", "255.255.255.255")),
        *((one, False) for one in ("1.0.0.1", "126.255.255.255", "128.0.0.1", "169.254.1.1")),
        ("223.255.255.255", False),
    ],
)
def test_martians_of_ipv4(address: str, is_martian: bool) -> None:
    assert ipv4.is_martian(wire_address(ip_address(address))) is is_martian


# -- IPv6 -------------------------------------------------------------------------------------


def test_an_ipv6_packet_says_from_whom_to_whom_and_where_its_transport_lies() -> None:
    assert parsed(p.tcp(dst=p.VIP6, load=b"abc")) == Packet(CLIENT6, VIP6, 6, 54, 54 + 20 + 3, None)


@pytest.mark.parametrize("headers", range(ipv6.MAX_EXTENSIONS + 3))
def test_a_chain_of_extension_headers_is_followed_to_its_bound(headers: int) -> None:
    frame = p.ether() / p.ip(dst=p.VIP6)
    for _ in range(headers):
        frame = frame / p.IPv6ExtHdrDestOpt()
    frame = frame / p.TCP()
    if headers <= ipv6.MAX_EXTENSIONS:
        assert parsed(frame) == Packet(CLIENT6, VIP6, 6, 54 + 8 * headers, 54 + 8 * headers + 20, None)
    else:
        assert refused(frame) is Reason.MALFORMED


def test_a_long_extension_header_is_skipped_by_its_length() -> None:
    whole = bytes(p.ether() / p.ip(dst=p.VIP6))[:54]
    body = bytes((6, 3)) + bytes(30) + bytes(p.TCP(dport=80))
    frame = whole[:18] + len(body).to_bytes(2, "big") + b"\0" + whole[21:] + body
    assert parsed(frame).l4_at == 54 + 32


@pytest.mark.parametrize("nh", [0, 43, 44, 60])
def test_an_extension_header_that_does_not_fit_is_malformed(nh: int) -> None:
    assert refused(p.ether() / p.ip(dst=p.VIP6, nh=nh) / p.Raw(b"\x06\0\0\0\0\0\0")) is Reason.MALFORMED
    if nh != 44:  # a fragment header has no length of its own
        assert (
            refused(p.ether() / p.ip(dst=p.VIP6, nh=nh) / p.Raw(b"\x06\x01" + bytes(6))) is Reason.MALFORMED
        )


def test_a_routing_header_with_segments_left_is_malformed() -> None:
    for segleft, is_refused in ((0, False), (1, True)):
        routing = p.IPv6ExtHdrRouting(segleft=segleft, addresses=[p.CLIENT6])
        raw = bytes(p.ether() / p.ip(dst=p.VIP6) / routing / p.TCP())
        assert (ipv6.parse(raw, 14) is Reason.MALFORMED) is is_refused


@pytest.mark.parametrize(
    ("offset", "more", "fragment"),
    [(0, 1, True), (3, 1, False), (3, 0, False), (0x1FFF, 0, False), (0, 0, None)],
)
def test_an_ipv6_fragment_is_known_by_addresses_and_identification(
    offset: int, more: int, fragment: bool | None
) -> None:
    header = p.IPv6ExtHdrFragment(nh=17, offset=offset, m=more, id=0x12345678)
    packet = parsed(p.ether() / p.ip(dst=p.VIP6) / header / p.Raw(bytes(16)))
    key = CLIENT6 + VIP6 + bytes.fromhex("123456782c")
    assert packet.fragment == (None if fragment is None else Fragment(key, fragment))
    assert (packet.protocol, packet.l4_at) == (17, 62)


@pytest.mark.parametrize(
    ("change", "reason"), [({"version": 4}, Reason.NOT_IP), ({"plen": 21}, Reason.TRUNCATED)]
)
def test_an_ipv6_header_that_contradicts_itself_is_refused(change: dict[str, Any], reason: Reason) -> None:
    assert refused(p.ether() / p.ip(dst=p.VIP6, **change) / p.TCP()) is reason


@pytest.mark.parametrize("dst", [p.VIP, p.VIP6])
def test_a_packet_cut_in_its_header_is_for_nobody_and_one_cut_behind_it_is_truncated(dst: str) -> None:
    whole, header_bytes = bytes(p.tcp(dst=dst)), 20 if dst == p.VIP else 40
    for length in range(14, len(whole)):
        is_cut_in_header = length < 14 + header_bytes
        assert refused(whole[:length]) is (Reason.NOT_IP if is_cut_in_header else Reason.TRUNCATED)
        assert bool(destination(whole[:length])) is not is_cut_in_header


@pytest.mark.parametrize(
    ("address", "is_martian"),
    [
        *((one, True) for one in ("::", "::1", "ff02::1", "ffff::1", "::ffff:198.18.0.2")),
        *((one, False) for one in ("2001:db8::1", "fe80::1", "fd00::1", "::2")),
    ],
)
def test_martians_of_ipv6(address: str, is_martian: bool) -> None:
    assert ipv6.is_martian(ip_address(address).packed) is is_martian


# -- TCP and UDP ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataofs", "is_sound"), [(4, False), (5, True), (6, True), (7, False), (15, False), (0, False)]
)
def test_a_tcp_header_must_lie_whole_in_its_packet(dataofs: int, is_sound: bool) -> None:
    frame = p.ether() / p.ip() / p.TCP(dataofs=dataofs) / p.Raw(b"load")
    assert l4.tcp_is_sound(bytes(frame), parsed(frame)) is is_sound


def test_ethernet_padding_does_not_make_a_tcp_header_whole() -> None:
    raw = bytes(p.ether() / p.ip(proto=6, len=39) / p.Raw(bytes(p.TCP())))
    assert not l4.tcp_is_sound(raw, parsed(raw))


@pytest.mark.parametrize(("length", "is_sound"), [(7, False), (8, True), (12, True), (13, False), (0, False)])
def test_a_udp_length_must_be_possible(length: int, is_sound: bool) -> None:
    frame = p.ether() / p.ip() / p.UDP(len=length) / p.Raw(b"load")
    assert l4.udp_is_sound(bytes(frame), parsed(frame)) is is_sound


def test_the_udp_length_of_a_first_piece_counts_the_later_pieces_too() -> None:
    first = p.pieces(p.udp(load=bytes(200)))[0]
    assert l4.udp_is_sound(bytes(first), parsed(first))


def test_a_flow_key_is_laid_out_as_documented() -> None:
    key = l4.flow_key(CLIENT, VIP, bytes.fromhex("9c400050"), 6)
    assert key == CLIENT + VIP + bytes.fromhex("9c40 0050 06 000000")


# -- flow hash --------------------------------------------------------------------------------


def ten_word_hash(key: bytes) -> int:
    """Return the flow hash by its definition, without the short way for IPv4."""
    words = [int.from_bytes(key[at : at + 4], "big") for at in range(0, 40, 4)]
    k = flowhash.CONSTANTS
    total = (k[0] + sum(a * b for a, b in zip(words, k[1:11], strict=True))) % 2**64
    return ((total ^ (total >> 32)) * k[11] % 2**64) >> 32


def test_the_constants_are_those_of_splitmix64_made_odd() -> None:
    published = (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC)
    assert flowhash.CONSTANTS[:4] == tuple(constant | 1 for constant in published)


def test_the_short_way_for_ipv4_is_the_long_way_for_ipv4() -> None:
    rng = random.Random(2)
    for _ in range(200):
        key = l4.flow_key(CLIENT[:12] + rng.randbytes(4), VIP[:12] + rng.randbytes(4), rng.randbytes(4), 6)
        assert flowhash.flow_hash(key) == ten_word_hash(key)
        key = l4.flow_key(b"\x20" + rng.randbytes(15), b"\x20" + rng.randbytes(15), rng.randbytes(4), 17)
        assert flowhash.flow_hash(key) == ten_word_hash(key)


def test_a_clients_hash_is_the_flow_hash_with_all_else_zero() -> None:
    for client in (CLIENT, CLIENT6):
        assert flowhash.client_hash(client) == ten_word_hash(client + bytes(24))


def test_the_hash_is_the_same_for_ever() -> None:
    """A change would move every flow of everyone who upgrades one balancer of two."""
    key = l4.flow_key(CLIENT, VIP, bytes.fromhex("9c400050"), 6)
    key6 = l4.flow_key(CLIENT6, VIP6, bytes.fromhex("9c400050"), 6)
    assert (flowhash.client_hash(CLIENT), flowhash.client_hash(CLIENT6)) == (1236708543, 4152180705)
    assert (flowhash.flow_hash(key), flowhash.flow_hash(key6)) == (3811286071, 2613337299)


def chi_square(counts: list[int]) -> float:
    """Return how far counts are from even; about len(counts) - 1 for a fair source."""
    even = sum(counts) / len(counts)
    return sum((count - even) ** 2 for count in counts) / even


@pytest.mark.parametrize("bins", [3, 16, 251])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("varies", ["port", "client", "both", "even ports"])
def test_neighbouring_flows_are_spread_evenly(family: int, varies: str, bins: int) -> None:
    counts = [0] * bins
    base, vip = (CLIENT, VIP) if family == 4 else (CLIENT6, VIP6)
    for i in range(20_000):
        client = base if "port" in varies else base[:14] + (i & 0xFFFF).to_bytes(2, "big")
        port = {"port": 10_000 + i, "client": 40_000, "both": 65535 - i, "even ports": 2 * i}[varies]
        hashed = flowhash.flow_hash(l4.flow_key(client, vip, port.to_bytes(2, "big") + b"\0\x50", 6))
        counts[hashed * bins >> 32] += 1
    assert chi_square(counts) < bins - 1 + 6 * (2 * bins) ** 0.5  # six standard deviations: never by chance


# -- ICMP -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dst", [p.VIP, p.VIP6])
@pytest.mark.parametrize("make", [p.tcp, p.udp])
def test_an_error_names_the_flow_as_the_client_sends_it(make: Any, dst: str) -> None:
    asked = make(dst=dst)
    error = p.error_about(asked)
    client, vip, protocol = parsed(asked)[:3]
    ports = bytes(asked)[parsed(asked).l4_at :][:4]
    assert icmp.quoted_flow(bytes(error), parsed(error)) == (client, ports, protocol)
    assert parsed(error).dst == vip


def test_eight_bytes_of_the_quoted_transport_are_enough_and_three_are_not() -> None:
    for quote_bytes, is_enough in ((28, True), (24, True), (23, False), (20, False), (19, False), (1, False)):
        error = p.error_about(p.tcp(), quote_bytes=quote_bytes)
        assert (icmp.quoted_flow(bytes(error), parsed(error)) is not None) is is_enough
    for quote_bytes, is_enough in ((44, True), (43, False), (39, False)):
        error = p.error_about(p.tcp(dst=p.VIP6), quote_bytes=quote_bytes)
        assert (icmp.quoted_flow(bytes(error), parsed(error)) is not None) is is_enough


def test_the_quoted_ports_are_found_behind_options_and_extension_headers() -> None:
    inner = p.IP(src=p.VIP, dst=p.CLIENT, options=[p.IPOption_NOP()] * 8) / p.TCP(sport=80, dport=40000)
    error = p.ether() / p.ip(p.ROUTER) / p.ICMP(type=11) / p.Raw(bytes(inner)[:36])
    assert icmp.quoted_flow(bytes(error), parsed(error)) == (CLIENT, bytes.fromhex("9c400050"), 6)
    inner6 = p.IPv6(src=p.VIP6, dst=p.CLIENT6) / p.IPv6ExtHdrDestOpt() / p.TCP(sport=80, dport=40000)
    error = p.ether() / p.ip(p.ROUTER6, p.VIP6) / p.ICMPv6PacketTooBig() / p.Raw(bytes(inner6))
    assert icmp.quoted_flow(bytes(error), parsed(error)) == (CLIENT6, bytes.fromhex("9c400050"), 6)


@pytest.mark.parametrize(
    "inner",
    [
        p.IP(src=p.CLIENT, dst=p.VIP) / p.TCP(),  # not from the VIP
        p.IP(src=p.OTHER_VIP, dst=p.CLIENT) / p.TCP(),  # from another VIP
        p.IP(src=p.VIP, dst=p.CLIENT, proto=47) / p.Raw(bytes(8)),
        p.IP(src=p.VIP, dst=p.CLIENT, proto=6, frag=10) / p.Raw(bytes(8)),
        p.IP(src=p.VIP, dst=p.CLIENT, ihl=4) / p.TCP(),
        p.IPv6(src=p.VIP6, dst=p.CLIENT6) / p.TCP(),
        p.Raw(bytes(64)),
    ],
)
def test_an_error_about_anything_else_names_no_flow(inner: p.Packet) -> None:
    error = p.ether() / p.ip(p.ROUTER) / p.ICMP(type=3, code=1) / p.Raw(bytes(inner))
    assert icmp.quoted_flow(bytes(error), parsed(error)) is None


def test_a_quoted_later_fragment_of_ipv6_names_no_flow() -> None:
    header = p.IPv6ExtHdrFragment(nh=6, offset=10, id=1)
    inner = p.IPv6(src=p.VIP6, dst=p.CLIENT6) / header / p.Raw(bytes(40))
    error = p.ether() / p.ip(p.ROUTER6, p.VIP6) / p.ICMPv6TimeExceeded() / p.Raw(bytes(inner))
    assert icmp.quoted_flow(bytes(error), parsed(error)) is None


@pytest.mark.parametrize("dst", [p.VIP, p.VIP6])
@pytest.mark.parametrize("length", [0, 1, 2, 55, 56, 1400, 1536])
def test_an_echo_reply_is_one_that_scapy_would_have_made(dst: str, length: int) -> None:
    asked = p.echo(dst, bytes(range(256)) * 6 if length == 1536 else bytes(length))
    reply = p.Ether(icmp.echo_reply(bytes(asked), 14, parsed(asked)))
    assert (reply.src, reply.dst) == (asked.dst, asked.src)
    ip = p.IPv6 if ":" in dst else p.IP
    assert (reply[ip].src, reply[ip].dst) == (asked[ip].dst, asked[ip].src)
    assert p.rebuilt(reply) == bytes(reply)


@pytest.mark.parametrize("change", [{"hlim": 254}, {"hlim": 0}])
def test_neighbour_discovery_from_beyond_a_router_is_not_sound(change: dict[str, Any]) -> None:
    frame = p.ether(dst=p.SOLICITED_MAC) / p.IPv6(src=p.ROUTER6, dst=p.SOLICITED, **change)
    frame = frame / p.ICMPv6ND_NS(tgt=p.VIP6)
    assert not icmp.nd_is_sound(bytes(frame), 14, parsed(frame))


@pytest.mark.parametrize(
    ("message", "target"),
    [
        (p.ICMPv6ND_NS(tgt=p.VIP6, code=1), VIP6),
        (p.ICMPv6ND_NS(tgt=p.VIP6, cksum=0x1234), VIP6),
        (p.Raw(bytes(p.ICMPv6ND_NS(tgt=p.VIP6))[:23]), b""),
        (p.ICMPv6ND_NS(tgt="::ffff:" + p.VIP), b""),
    ],
)
def test_neighbour_discovery_that_breaks_the_rules_is_not_sound_or_has_no_target(
    message: p.Packet, target: bytes
) -> None:
    frame = p.ether(dst=p.SOLICITED_MAC) / p.IPv6(src=p.ROUTER6, dst=p.SOLICITED, hlim=255, nh=58) / message
    assert icmp.nd_target(bytes(frame), parsed(frame)) == target
    assert not target or not icmp.nd_is_sound(bytes(frame), 14, parsed(frame))


def test_neighbour_discovery_names_its_target() -> None:
    for frame in (p.solicits(), p.solicits(src="::"), p.advertises()):
        assert icmp.nd_target(bytes(frame), parsed(frame)) == VIP6
        assert icmp.nd_is_sound(bytes(frame), 14, parsed(frame))


@pytest.mark.parametrize("tags", [(), (5,)])
def test_an_advertisement_is_one_that_scapy_would_have_made(tags: tuple[int, ...]) -> None:
    asked = p.solicits(tags=tags)
    at = 14 + 4 * len(tags)
    reply = p.Ether(icmp.advertisement(bytes(asked), at, parsed(asked), MAC))
    assert p.rebuilt(reply) == bytes(reply)
    assert (reply[p.ICMPv6ND_NA].tgt, reply[p.ICMPv6NDOptDstLLAddr].lladdr) == (p.VIP6, p.BALANCER_MAC)
    assert (reply[p.IPv6].hlim, reply.dst) == (255, p.ROUTER_MAC)


# -- ARP --------------------------------------------------------------------------------------


def test_an_arp_packet_is_read_and_answered() -> None:
    raw = bytes(p.who_has())
    asked = arp.parse(raw, 14)
    assert asked is not None
    reply = p.Ether(arp.reply(raw, 14, asked, MAC))[p.ARP]
    assert (reply.op, reply.hwsrc, reply.psrc) == (2, p.BALANCER_MAC, p.VIP)
    assert (reply.hwdst, reply.pdst) == (p.ROUTER_MAC, p.ROUTER)


def test_an_arp_packet_cut_anywhere_or_of_another_kind_is_none() -> None:
    raw = bytes(p.who_has())
    assert all(arp.parse(raw[:length], 14) is None for length in range(14, 42))
    others: list[dict[str, Any]] = [{"hwtype": 6}, {"ptype": 0x86DD}, {"hwlen": 8}, {"plen": 16}]
    for field in others:
        assert arp.parse(bytes(p.Ether() / p.ARP(hwsrc=p.ROUTER_MAC, psrc=p.ROUTER, **field)), 14) is None
