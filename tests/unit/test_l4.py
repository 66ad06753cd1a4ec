"""Is a TCP or UDP header known to be sound, and is its flow named as documented?"""

from __future__ import annotations

import packets as p
import pytest
from reading import CLIENT, VIP, parsed

from dsrlb.wire import l4


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
