"""Does an IPv4 packet mean what RFC 791 says, and does nothing else pass for one?"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import packets as p
import pytest
from reading import CLIENT, VIP, parsed, refused

from dsrlb.model import Reason, wire_address
from dsrlb.wire import ipv4
from dsrlb.wire.packet import Fragment, Packet


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
