"""Is a capture with comments one that others read?"""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.utils import RawPcapNgReader

from dsrlb.errors import ConfigError
from dsrlb.frameio.pcap import read_pcap
from dsrlb.frameio.pcapng import Capture, capture

AT_NS = 1_700_000_000_250_000_001
FRAMES = [bytes(range(60)), bytes(range(61)), b"\x02" * 1514]


def written(path: Path) -> None:
    with Capture(path) as file:
        for number, frame in enumerate(FRAMES):
            whole = len(frame) + number
            file.frame(f"e{number % 2}", AT_NS, frame, whole, f"frame {number}: so", is_sent=number > 0)


def test_frames_come_out_with_comment_interface_and_whole_length(tmp_path: Path) -> None:
    written(tmp_path / "a")
    with RawPcapNgReader(str(tmp_path / "a")) as reader:
        read = list(reader)
    assert [frame for frame, _ in read] == FRAMES
    assert [about.comments for _, about in read] == [[f"frame {n}: so".encode()] for n in range(3)]
    assert [about.wirelen for _, about in read] == [60, 62, 1516]
    assert [about.ifname for _, about in read] == [b"e0", b"e1", b"e0"]
    assert [about.direction for _, about in read] == [1, 2, 2]
    at_s, first = next(read_pcap(tmp_path / "a"))
    assert (round(at_s, 3), first) == (1_700_000_000.25, FRAMES[0])


def test_a_file_is_whole_after_each_flush(tmp_path: Path) -> None:
    with capture(str(tmp_path / "a")) as file:
        assert file is not None
        assert list(read_pcap(tmp_path / "a")) == []
        file.frame("e0", AT_NS, FRAMES[0], 60, "", is_sent=False)
        file.flush()
        assert [frame for _, frame in read_pcap(tmp_path / "a")] == FRAMES[:1]


def test_where_no_file_can_be_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory; check the path"):
        Capture(tmp_path / "no" / "a")
    with pytest.raises(ConfigError, match=r"full.* No space left on device"), Capture("/dev/full"):
        pass
