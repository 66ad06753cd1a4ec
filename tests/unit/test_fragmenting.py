"""Are packets cut as RFC 791 and RFC 8200 say, so that a receiver puts the very packet together again?"""

from __future__ import annotations

import packets as p
import pytest
from reassembly import reassembled_ipv4, reassembled_ipv6

from dsrlb.wire import ipv4, ipv6
from dsrlb.wire.checksum import is_valid

COPIED, NOT_COPIED = p.IPOption_LSRR(routers=["198.18.0.9"]), p.IPOption_RR(routers=["198.18.0.9"])


def whole(size: int, **fields: object) -> bytes:
    """Return an IPv4 packet with this much behind its header."""
    load = (bytes(range(256)) * 300)[:size]
    return bytes(p.IP(src=p.CLIENT, dst=p.VIP, id=7, proto=17, **fields) / p.Raw(load))


@pytest.mark.parametrize("mtu_bytes", [68, 69, 576, 1400, 1480, 1499])
@pytest.mark.parametrize("size", [1, 8, 48, 49, 1460, 1480, 4000, 65515])
def test_the_pieces_fit_and_make_the_packet(mtu_bytes: int, size: int) -> None:
    cut = whole(size)
    pieces = ipv4.fragment(cut, mtu_bytes)
    assert all(len(piece) <= mtu_bytes and is_valid(piece[:20]) for piece in pieces)
    assert all((len(piece) - 20) % 8 == 0 for piece in pieces[:-1])
    assert reassembled_ipv4(pieces) == cut


def test_no_more_pieces_than_needed() -> None:
    assert [len(piece) for piece in ipv4.fragment(whole(2 * 1480), 1500)] == [1500, 1500]
    assert [len(piece) for piece in ipv4.fragment(whole(2 * 1480 + 1), 1500)] == [1500, 1500, 21]


def test_what_fits_stays_one_packet() -> None:
    assert ipv4.fragment(whole(80), 100) == [whole(80)]


def test_a_piece_can_be_cut_again() -> None:
    """An inner piece keeps "more fragments" to its end, a last one does not."""
    for more in (0, 1):
        pieces = ipv4.fragment(whole(800, frag=100, flags=more), 300)
        assert reassembled_ipv4(pieces) == whole(800, frag=100, flags=more)
        cut = [p.IP(piece) for piece in pieces]
        assert [int(piece.flags) & 1 for piece in cut] == [1, 1, more]
        assert [piece.frag for piece in cut] == [100, 135, 170]


def test_options_marked_so_go_into_every_piece_and_the_others_into_the_first() -> None:
    for options in ([COPIED, NOT_COPIED], [p.IPOption_NOP(), NOT_COPIED, COPIED]):
        pieces = ipv4.fragment(whole(800, options=options), 300)
        assert reassembled_ipv4(pieces) == whole(800, options=options)
        first, *later = map(p.IP, pieces)
        assert [type(one) for one in first.options[: len(options)]] == [type(one) for one in options]
        for piece in later:
            assert [bytes(one) for one in piece.options if one.option] == [bytes(COPIED)]
            assert is_valid(bytes(piece)[: piece.ihl * 4])


@pytest.mark.parametrize("option", [b"\x83\x00", b"\x83\x01", b"\x83\xff", b"\x83"])
def test_an_option_whose_length_cannot_be_ends_the_list(option: bytes) -> None:
    header = b"\x46" + whole(800)[1:20] + option.rjust(4, b"\x01")
    later = ipv4.fragment(header + bytes(800), 300)[1:]
    assert later
    assert all(piece[0] == 0x45 for piece in later)


def test_a_packet_that_ends_beyond_its_datagram_is_not_cut() -> None:
    assert ipv4.fragment(whole(100, frag=8191), 68) == []
    assert ipv4.fragment(whole(7, frag=8191), 68)


@pytest.mark.parametrize("size", [8, 1232, 1233, 1280, 4000])
def test_ipv6_pieces_fit_and_make_the_packet(size: int) -> None:
    cut = bytes(
        p.IPv6(src=p.CLIENT6, dst=p.VIP6, tc=3, fl=9, hlim=7, nh=17) / p.Raw((bytes(range(256)) * 16)[:size])
    )
    pieces = ipv6.fragment(cut, 1280, b"\x01\x02\x03\x04")
    parsed = [p.IPv6(piece) for piece in pieces]
    assert all(len(piece) <= 1280 for piece in pieces)
    assert {(one[p.IPv6ExtHdrFragment].id, one.tc, one.fl, one.hlim) for one in parsed} == {
        (0x01020304, 3, 9, 7)
    }
    assert [one[p.IPv6ExtHdrFragment].m for one in parsed] == [1] * (len(pieces) - 1) + [0]
    assert reassembled_ipv6(pieces) == cut
