"""Does the L3 DSR mode wrap packets as the RFCs say, and tell what does not fit?"""

from __future__ import annotations

from ipaddress import ip_address

import packets as p
import pytest
from reassembly import ones_sum, reassembled_ipv4
from wrapping import ENCAPS, OVERHEADS, OWN, V4, V6, job, sent

from dsrlb.model import ModeOptions, Reason
from dsrlb.modes.base import TooBig
from dsrlb.modes.l3dsr import L3DSR, forward, plain


@pytest.mark.parametrize(("encap", "to"), ENCAPS)
@pytest.mark.parametrize("vip", [p.VIP, p.VIP6])
def test_the_overhead_is_what_the_mode_says_and_the_packet_inside_is_the_same(
    encap: str, to: bytes, vip: str
) -> None:
    frame = p.tcp("A", dst=vip, load=b"GET / HTTP/1.1")
    (out,) = sent(forward(job(frame, to, encap)))
    overhead = OVERHEADS[encap, to]
    assert L3DSR.overhead_bytes(ModeOptions(encap=encap), 4 if to is V4 else 6) == overhead
    assert out[14 + overhead :] == bytes(frame)[14:]
    assert p.rebuilt(p.Ether(out)) == out or encap != "ipip"  # scapy counts the lengths and sums itself
    assert out[:14] == bytes(p.ether(p.BALANCER_MAC, p.ROUTER_MAC) / (p.IP() if to is V4 else p.IPv6()))[:14]


@pytest.mark.parametrize("vip", [p.VIP, p.VIP6])
def test_udp_around_has_a_checksum_over_ipv6_only_and_the_right_lengths(vip: str) -> None:
    for encap in ("gue", "gue1"):
        over4, over6 = (sent(forward(job(p.udp(dst=vip), to, encap)))[0] for to in (V4, V6))
        assert over4[40:42] == b"\0\0"
        assert int.from_bytes(over4[38:40], "big") == len(over4) - 34
        assert int.from_bytes(over6[58:60], "big") == len(over6) - 54
        pseudo = over6[22:54] + over6[58:60] + b"\0\x11"
        assert ones_sum(pseudo + over6[54:]) == 0xFFFF


def test_a_flow_has_one_source_port_and_label_and_flows_have_many() -> None:
    for to, begin, end in ((V4, 34, 36), (V6, 54, 56), (V6, 15, 18)):
        marks = set()
        for sport in range(1000, 1100):
            outs = [sent(forward(job(p.tcp(flags, sport), to, "gue")))[0] for flags in ("S", "A")]
            assert outs[0][begin:end] == outs[1][begin:end]
            assert begin == 15 or int.from_bytes(outs[0][begin:end], "big") >= 49_152
            marks.add(outs[0][begin:end])
        assert len(marks) > 90


def test_all_pieces_of_a_datagram_have_one_source_port() -> None:
    cut = p.pieces(p.udp(load=bytes(100)), 48)
    assert len({sent(forward(job(piece, V4, "gue")))[0][34:36] for piece in cut}) == 1


@pytest.mark.parametrize(("encap", "to"), ENCAPS)
def test_what_fits_to_the_byte_is_sent_and_one_more_is_told_the_size(encap: str, to: bytes) -> None:
    room = 1500 - OVERHEADS[encap, to]
    for vip, header in ((p.VIP, 20), (p.VIP6, 40)):
        for extra in (0, 1):
            load = bytes(room - header - 20 + extra)
            whole = (
                p.ether() / (p.IP(dst=vip, flags="DF") if header == 20 else p.IPv6(dst=vip)) / p.TCP() / load
            )
            outcome = forward(job(whole, to, encap))
            if extra:
                assert outcome == TooBig(room)
            else:
                assert [len(out) for out in sent(outcome)] == [1514]


def test_a_packet_that_may_be_cut_is_cut_inside_and_every_piece_wrapped() -> None:
    whole = p.ether() / p.IP(src=p.CLIENT, dst=p.VIP, id=9, tos=0x28) / p.UDP(dport=53) / p.Raw(bytes(3000))
    out = sent(forward(job(whole)))
    assert [len(piece) - 14 for piece in out] == [20 + 20 + 1456, 20 + 20 + 1456, 20 + 20 + 96]
    assert {piece[:16] for piece in out} == {out[0][:16]}
    assert {piece[18:22] for piece in out} == {b"\0\0\x40\0"}  # each outer header: identification 0, DF
    assert reassembled_ipv4([piece[34:] for piece in out]) == bytes(whole)[14:]


def test_no_packet_is_longer_than_a_length_field_can_say() -> None:
    for flags in ("DF", ""):
        longest = p.ether() / p.IP(dst=p.VIP, flags=flags) / p.UDP() / p.Raw(bytes(65_535 - 28))
        outcome = forward(job(longest, mtu_bytes=0))
        if flags:
            assert outcome == TooBig(65_535 - 20)
        else:
            assert [len(out) <= 14 + 65_535 for out in sent(outcome)] == [True, True]


def test_without_an_address_to_send_from_there_is_no_way() -> None:
    assert forward(job(p.tcp(), source=None)) is Reason.BACKEND_UNRESOLVED
    assert plain(ModeOptions(), job(p.tcp(), source=None).hop, V4, b"") is None


@pytest.mark.parametrize("to", [V4, V6])
def test_a_chosen_source_goes_for_servers_of_its_family(to: bytes) -> None:
    chosen = ip_address("198.18.9.9")
    made = job(p.tcp(), to)._replace(options=ModeOptions(source=chosen))
    out = sent(forward(made))[0]
    assert (out[26:30] if to is V4 else out[22:38]) == (chosen.packed if to is V4 else OWN[V6])


def test_plain_packets_are_wrapped_in_the_same_way() -> None:
    for encap, to in OVERHEADS:
        made = job(p.tcp("A", load=b"x"), to, encap)
        short = plain(made.options, made.hop, to, b"")
        assert short is not None
        assert short.rewrite is not None
        assert [short.rewrite(made.frame, made.hop)] == forward(made)
        assert short.most_bytes == 1500 - OVERHEADS[encap, to]
