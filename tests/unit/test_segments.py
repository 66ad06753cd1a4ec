"""Are frames that a kernel left unfinished made into what a NIC would have put on the wire?

Scapy builds each segment by itself, with lengths and checksums of its own.
"""

from __future__ import annotations

from ipaddress import ip_address

import packets as p
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reassembly import ones_sum
from unfinished import partial, vnet

from dsrlb.frameio.segments import completed, destination, finished
from dsrlb.frameio.vnet import (
    GSO_ECN,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP,
    GSO_UDP_L4,
    NEEDS_CSUM,
    NO_VNET,
    VNET,
    offload_of,
)
from dsrlb.model import wire_address
from dsrlb.wire.offload import Offload

LOAD = bytes(range(256)) * 40
VIPS = (p.VIP, p.VIP6)
OPTIONS = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]


def head(vip: str, tags: tuple[int, ...] = (), **fields: object) -> p.Packet:
    return p.ether(tags=tags) / p.ip(dst=vip, **fields)


@pytest.mark.parametrize("vip", VIPS)
@pytest.mark.parametrize("tags", [(), (5,), (5, 6)])
@pytest.mark.parametrize("load", [b"", b"x", LOAD])
def test_a_checksum_is_finished_as_scapy_counts_it(vip: str, tags: tuple[int, ...], load: bytes) -> None:
    for l4 in (p.TCP(sport=1, dport=80, options=OPTIONS), p.UDP(sport=1, dport=53)):
        frame = head(vip, tags) / l4 / p.Raw(load)
        assert partial(frame) != bytes(frame)
        assert finished(vnet(frame), partial(frame)) == [bytes(frame)]


@pytest.mark.parametrize("vip", VIPS)
@pytest.mark.parametrize("tags", [(), (5,)])
@pytest.mark.parametrize("segment_bytes", [1, 100, 1448, 9000, 20_000])
@pytest.mark.parametrize("flags", ["PA", "FPA", "PAC", "A", "FPAEC"])
def test_tcp_is_cut_into_the_segments_that_scapy_builds(
    vip: str, tags: tuple[int, ...], segment_bytes: int, flags: str
) -> None:
    load = LOAD[: 3000 if segment_bytes > 1 else 20]
    fields = {"id": 65_534, "tos": 2} if vip == p.VIP else {"tc": 2, "fl": 7}
    sequence = 0xFFFF_FFF0

    def segment(part: bytes, number: int, shown: str) -> p.Packet:
        ip = head(vip, tags, **fields)
        if vip == p.VIP:
            ip[p.IP].id = (65_534 + number) % 65_536
        seq = (sequence + number * segment_bytes) % (1 << 32)
        return ip / p.TCP(sport=1, dport=80, seq=seq, ack=9, flags=shown, options=OPTIONS) / p.Raw(part)

    whole = segment(load, 0, flags)
    parts = [load[at : at + segment_bytes] for at in range(0, len(load), segment_bytes)]
    expected = []
    for number, part in enumerate(parts):
        shown = flags if number == len(parts) - 1 else flags.replace("F", "").replace("P", "")
        expected.append(bytes(segment(part, number, shown.replace("C", "") if number else shown)))
    kind = GSO_TCPV4 if vip == p.VIP else GSO_TCPV6
    for gso_type in (kind, kind | GSO_ECN):
        assert finished(vnet(whole, gso_type, segment_bytes), partial(whole)) == expected


@pytest.mark.parametrize("vip", VIPS)
def test_udp_is_cut_into_datagrams(vip: str) -> None:
    fields = {"id": 7} if vip == p.VIP else {}

    def datagram(part: bytes, number: int) -> p.Packet:
        ip = head(vip, **fields)
        if vip == p.VIP:
            ip[p.IP].id = 7 + number
        return ip / p.UDP(sport=1, dport=53) / p.Raw(part)

    whole = datagram(LOAD[:2500], 0)
    expected = [bytes(datagram(LOAD[at : min(at + 1000, 2500)], at // 1000)) for at in (0, 1000, 2000)]
    assert finished(vnet(whole, GSO_UDP_L4, 1000), partial(whole)) == expected


def test_udp_without_a_checksum_stays_without() -> None:
    whole = head(p.VIP) / p.UDP(sport=1, dport=53, chksum=0) / p.Raw(LOAD[:250])
    cut = finished(vnet(whole, GSO_UDP_L4, 100, flags=0), bytes(whole))
    assert [p.Ether(each)[p.UDP].chksum for each in cut] == [0, 0, 0]
    assert [p.Ether(each)[p.UDP].len for each in cut] == [108, 108, 58]


def test_udp_whose_sum_is_0_says_ffff() -> None:
    raw = bytes(head(p.VIP) / p.UDP(sport=1, dport=53, chksum=0) / p.Raw(bytes(2)))
    rest = 0xFFFF - ones_sum(raw[26:34] + b"\0\x11" + (len(raw) - 34).to_bytes(2, "big") + raw[34:])
    frame = head(p.VIP) / p.UDP(sport=1, dport=53) / p.Raw(rest.to_bytes(2, "big"))
    (out,) = finished(vnet(frame), partial(frame))
    assert out[40:42] == b"\xff\xff"


@pytest.mark.parametrize("vip", VIPS)
def test_a_datagram_to_be_cut_in_pieces_is_finished_and_left_whole(vip: str) -> None:
    whole = head(vip) / p.UDP(sport=1, dport=53) / p.Raw(LOAD[:3000])
    assert finished(vnet(whole, GSO_UDP, 1480), partial(whole)) == [bytes(whole)]


def test_ethernet_padding_is_no_part_of_a_segment() -> None:
    whole = head(p.VIP) / p.TCP(dport=80, flags="A") / p.Raw(b"abc")
    cut = finished(vnet(whole, GSO_TCPV4, 2), partial(whole) + b"pad")
    assert [bytes(p.Ether(each)[p.TCP].payload) for each in cut] == [b"ab", b"c"]
    assert finished(vnet(whole), partial(whole) + b"pad") == [bytes(whole) + b"pad"]


def test_ipv6_extension_headers_are_copied_into_every_segment() -> None:
    whole = head(p.VIP6) / p.IPv6ExtHdrDestOpt() / p.TCP(dport=80, flags="A") / p.Raw(LOAD[:300])
    cut = finished(vnet(whole, GSO_TCPV6, 100), partial(whole))
    assert [p.rebuilt(p.Ether(each)) for each in cut] == cut
    assert b"".join(bytes(p.Ether(each)[p.TCP].payload) for each in cut) == LOAD[:300]


def test_only_frames_to_the_vips_named_are_finished() -> None:
    ours, other = (p.tcp("A", dst=vip, load=b"abc") for vip in (p.VIP, p.OTHER_VIP))
    vips = frozenset((wire_address(ip_address(p.VIP)),))
    arrived = [(vnet(one), partial(one)) for one in (ours, other)] + [(NO_VNET, bytes(ours))]
    assert list(completed(arrived, vips)) == [(NO_VNET, bytes(ours)), arrived[1], arrived[2]]


def test_the_destination_is_found_behind_tags_and_in_no_short_frame() -> None:
    for vip in VIPS:
        for tags in ((), (5,), (5, 6)):
            raw = bytes(p.tcp(dst=vip, tags=tags))
            assert destination(raw) == wire_address(ip_address(vip))
            assert destination(raw[:30]) != wire_address(ip_address(vip))
    assert destination(bytes(p.who_has())) == b""


@given(
    st.sampled_from([bytes(p.tcp("PA", dst=vip, load=LOAD[:200])) for vip in VIPS]),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=4),
    st.integers(0, 300),
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.just(0), *[st.integers(0, 300)] * 3),
)
def test_nothing_that_a_frame_or_vnet_header_says_raises(
    frame: bytes, changes: list[tuple[int, int]], size: int, fields: tuple[int, ...]
) -> None:
    raw = bytearray(frame)
    for at, value in changes:
        raw[at] = value
    out = finished(VNET.pack(*fields), bytes(raw[:size]))
    assert 1 <= len(out) <= 300


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((0, 0, 0, 0, 0, 0), None),
        ((NEEDS_CSUM, 0, 0, 0, 34, 16), Offload(True, 0)),
        ((NEEDS_CSUM, GSO_TCPV4, 66, 1448, 34, 16), Offload(True, 1448)),
        ((0, GSO_UDP_L4, 42, 1000, 0, 0), Offload(False, 1000)),
        ((NEEDS_CSUM, 0, 0, 99, 34, 16), Offload(True, 0)),
    ],
)
def test_the_data_path_is_told_what_is_left_to_do(fields: tuple[int, ...], expected: Offload | None) -> None:
    assert offload_of(VNET.pack(*fields)) == expected
