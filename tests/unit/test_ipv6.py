"""Does an IPv6 packet mean what RFC 8200 says, and does nothing else pass for one?"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import packets as p
import pytest
from reading import CLIENT6, VIP6, parsed, refused

from dsrlb.model import Reason
from dsrlb.wire import ipv6
from dsrlb.wire.packet import Fragment, Packet


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


@pytest.mark.parametrize(
    ("address", "is_martian"),
    [
        *((one, True) for one in ("::", "::1", "ff02::1", "ffff::1", "::ffff:198.18.0.2")),
        *((one, False) for one in ("2001:db8::1", "fe80::1", "fd00::1", "::2")),
    ],
)
def test_martians_of_ipv6(address: str, is_martian: bool) -> None:
    assert ipv6.is_martian(ip_address(address).packed) is is_martian
