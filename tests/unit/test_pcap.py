"""Does a capture file come out as it went in, and a bad one end in a clear sentence?"""

import gzip
import struct

import pytest

from dsrlb.errors import ConfigError
from dsrlb.frameio.pcap import read_pcap, write_pcap

FRAMES = [
    (1700000000.25, bytes(range(60))),
    (1700000001.999999, b"\x02" * 1514),
    (1700000002.0, b"\x03" * 70000),
]


def pcap_bytes(order="<", magic=0xA1B2C3D4, fraction=250_000, linktype=1):
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, linktype)
    return head + struct.pack(order + "IIII", 1700000000, fraction, 60, 60) + FRAMES[0][1]


def pcapng_bytes(linktype=1):
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    interface = struct.pack("<IIHHII", 1, 20, linktype, 0, 65535, 20)
    ticks = 1700000000250000
    packet = struct.pack("<7I", 6, 92, 0, ticks >> 32, ticks & 0xFFFFFFFF, 60, 60) + FRAMES[0][1]
    statistics = struct.pack("<IIIIII", 5, 24, 0, 0, 0, 24)
    return section + interface + packet + struct.pack("<I", 92) + statistics


def file_of(tmp_path, content):
    path = tmp_path / "a.pcap"
    path.write_bytes(content)
    return path


def test_frames_come_out_as_they_went_in(tmp_path):
    path = tmp_path / "a.pcap"
    assert write_pcap(path, iter(FRAMES)) == 3
    assert list(read_pcap(path)) == FRAMES


def test_a_file_without_frames_is_a_capture(tmp_path):
    path = tmp_path / "a.pcap"
    assert write_pcap(path, []) == 0
    assert list(read_pcap(str(path))) == []


def test_a_rounded_up_second_is_carried(tmp_path):
    write_pcap(tmp_path / "a", [(1.9999999, b"x" * 14)])
    assert list(read_pcap(tmp_path / "a")) == [(2.0, b"x" * 14)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "fraction"), [(0xA1B2C3D4, 250_000), (0xA1B23C4D, 250_000_000)])
def test_both_byte_orders_and_both_resolutions_are_read(tmp_path, order, magic, fraction):
    assert list(read_pcap(file_of(tmp_path, pcap_bytes(order, magic, fraction)))) == FRAMES[:1]


def test_pcapng_is_read(tmp_path):
    assert list(read_pcap(file_of(tmp_path, pcapng_bytes()))) == FRAMES[:1]


def test_a_gzipped_capture_is_read(tmp_path):
    assert list(read_pcap(file_of(tmp_path, gzip.compress(pcap_bytes())))) == FRAMES[:1]


def test_a_frame_cut_at_capture_comes_short(tmp_path):
    record = struct.pack("<IIII", 1, 0, 20, 1500) + bytes(20)
    assert list(read_pcap(file_of(tmp_path, pcap_bytes()[:24] + record))) == [(1.0, bytes(20))]


@pytest.mark.parametrize("cut", [1, 15, 16, 40, 75])
def test_a_truncated_file_gives_the_frames_before_and_then_says_so(tmp_path, cut):
    frames = read_pcap(file_of(tmp_path, pcap_bytes() + pcap_bytes()[24:][:cut]))
    assert next(frames) == FRAMES[0]
    with pytest.raises(ConfigError, match="ends in the middle of a frame"):
        next(frames)


@pytest.mark.parametrize("cut", [1, 4, 6, 8, 30, 91])
def test_a_truncated_pcapng_gives_the_frames_before_and_then_says_so(tmp_path, cut):
    frames = read_pcap(file_of(tmp_path, pcapng_bytes() + pcapng_bytes()[48:140][:cut]))
    assert next(frames) == FRAMES[0]
    with pytest.raises(ConfigError, match="ends in the middle of a frame"):
        next(frames)


@pytest.mark.parametrize("content", [pcap_bytes(linktype=113), pcapng_bytes(linktype=113)])
def test_another_link_type_is_refused_by_number(tmp_path, content):
    with pytest.raises(ConfigError, match="link type 113, not Ethernet"):
        list(read_pcap(file_of(tmp_path, content)))


@pytest.mark.parametrize(
    "content", [b"", b"\xd4", b"#!/bin/sh\n" * 9, pcap_bytes()[:20], pcapng_bytes()[:20]]
)
def test_a_file_that_is_no_capture_is_refused(tmp_path, content):
    with pytest.raises(ConfigError, match="is not a pcap"):
        list(read_pcap(file_of(tmp_path, content)))


def test_a_missing_file_and_an_unwritable_place_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read: No such file"):
        next(read_pcap(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"cannot be written: No such file"):
        write_pcap(tmp_path / "none" / "a", [])
