"""Is a capture that cannot be replayed refused, without harm to any file?"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from lab_refusals import CONFIG, NOBODY, RS1, RS1_WITH_MAC, USAGE, VIP, Run

ETHERNET = 1


def capture(path: Path, *frames: bytes, linktype: int = ETHERNET) -> Path:
    """Write a pcap file (draft-ietf-opsawg-pcap)."""
    records = b"".join(struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame for frame in frames)
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype) + records)
    return path


def replay(source: object, target: object, backend: str = RS1_WITH_MAC) -> list[str]:
    line = ["replay", "--mode", "l2dsr", "--vip", f"{VIP}:80", "--backend", backend]
    return [*line, str(source), str(target)]


def test_replay_without_its_input_says_so_and_writes_nothing(tmp_path: Path, refused: Run) -> None:
    refused(*replay(tmp_path / "none.pcap", tmp_path / "o.pcap")).because(
        CONFIG, "none.pcap", "cannot be read"
    )
    assert not (tmp_path / "o.pcap").exists()


@pytest.mark.parametrize("content", [b"", b"x", b"hello, world: this is no capture at all", b"\x00" * 24])
def test_replay_of_what_is_no_capture_says_so_and_writes_nothing(
    content: bytes, tmp_path: Path, refused: Run
) -> None:
    (tmp_path / "i.pcap").write_bytes(content)
    refused(*replay(tmp_path / "i.pcap", tmp_path / "o.pcap")).because(CONFIG, "i.pcap", "not a pcap")
    assert not (tmp_path / "o.pcap").exists()


@pytest.mark.parametrize("cut", [1, 59, 61, 75])
def test_replay_of_a_truncated_capture_says_so(cut: int, tmp_path: Path, refused: Run) -> None:
    whole = capture(tmp_path / "i.pcap", bytes(60), bytes(60))
    whole.write_bytes(whole.read_bytes()[:-cut])
    refused(*replay(whole, tmp_path / "o.pcap")).because(CONFIG, "i.pcap", "ends in the middle")


def test_replay_of_another_link_type_says_so(tmp_path: Path, refused: Run) -> None:
    source = capture(tmp_path / "i.pcap", bytes(60), linktype=113)
    refused(*replay(source, tmp_path / "o.pcap")).because(CONFIG, "link type 113", "Ethernet")


@pytest.mark.parametrize("name", ["i.pcap", "./i.pcap", "link.pcap", "hard.pcap"])
def test_replay_onto_its_own_input_is_refused_and_the_input_is_whole(
    name: str, tmp_path: Path, refused: Run
) -> None:
    source = capture(tmp_path / "i.pcap", bytes(60))
    before = source.read_bytes()
    (tmp_path / "link.pcap").symlink_to(source)
    (tmp_path / "hard.pcap").hardlink_to(source)
    refused(*replay(source, f"{tmp_path}/{name}")).because(CONFIG, name.removeprefix("./"))
    assert source.read_bytes() == before


@pytest.mark.parametrize("target", ["", "no/such/folder/o.pcap"])
def test_replay_to_where_nothing_can_be_written_says_so(target: str, tmp_path: Path, refused: Run) -> None:
    source = capture(tmp_path / "i.pcap", bytes(60))
    refused(*replay(source, tmp_path / target)).because(CONFIG, "cannot be written")


def test_replay_to_a_full_disk_says_so(tmp_path: Path, refused: Run) -> None:
    source = capture(tmp_path / "i.pcap", *[bytes(60)] * 10)
    refused(*replay(source, "/dev/full")).because(CONFIG, "/dev/full", "cannot be written")


def test_replay_of_a_folder_says_so(tmp_path: Path, refused: Run) -> None:
    refused(*replay(tmp_path, tmp_path / "o.pcap")).because(CONFIG, "cannot be read")


def test_replay_needs_a_mac_for_each_backend(tmp_path: Path, refused: Run) -> None:
    source = capture(tmp_path / "i.pcap", bytes(60))
    refused(*replay(source, tmp_path / "o.pcap", RS1)).because(CONFIG, RS1, "mac=")
    assert not (tmp_path / "o.pcap").exists()


@pytest.mark.parametrize(
    "wrong", [["--mac", "ff:ff:ff:ff:ff:ff"], ["--mac", "nonsense"], ["--interface", "e0"]]
)
def test_replay_with_a_wrong_option_is_refused(wrong: list[str], tmp_path: Path, refused: Run) -> None:
    source = capture(tmp_path / "i.pcap", bytes(60))
    refused(*replay(source, tmp_path / "o.pcap"), *wrong).because(USAGE, wrong[0])


def test_replay_of_what_may_not_be_read_says_so(tmp_path: Path, refused: Run) -> None:
    source = capture(tmp_path / "i.pcap", bytes(60))  # in a folder of root's own
    refused(*replay(source, "/dev/null"), uid=NOBODY).because(CONFIG, "i.pcap", "cannot be read")


def test_replay_needs_no_root(refused: Run) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        source = capture(Path(folder, "i.pcap"), bytes(60))
        source.chmod(0o644)
        found = refused(*replay(source, "/dev/null"), uid=NOBODY)
    assert (found.code, found.stderr) == (0, "") and "reason" in found.stdout, found
