"""Is a small file there as a whole, the old one or the new, whatever happens?"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dsrlb.host import files
from dsrlb.host.files import read_whole, replace_whole


def test_a_file_that_is_written_is_read_again_and_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "one.json"
    before = os.umask(0)
    try:
        replace_whole(path, b"one")
        replace_whole(path, b"two")
    finally:
        os.umask(before)
    assert read_whole(path, 3) == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["one.json"]


def test_no_file_is_no_failure_and_what_cannot_be_read_is_one(tmp_path: Path) -> None:
    assert read_whole(tmp_path / "none", 9) is None
    assert read_whole(tmp_path / "no" / "folder", 9) is None
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("pipe", "no regular file"), (".", "no regular file")):
        with pytest.raises(OSError, match=why):
            read_whole(tmp_path / name, 9)
    (tmp_path / "long").write_bytes(bytes(10))
    with pytest.raises(OSError, match="more than 9 bytes"):
        read_whole(tmp_path / "long", 9)


def test_what_fails_half_way_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one.json"
    replace_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_whole(path, b"new")
    assert read_whole(path, 9) == b"old" and [one.name for one in tmp_path.iterdir()] == ["one.json"]


def test_what_a_crash_left_beside_a_file_is_in_nobody_s_way(tmp_path: Path) -> None:
    (tmp_path / ".one.json.new").write_bytes(b"half")
    replace_whole(tmp_path / "one.json", b"whole")
    assert read_whole(tmp_path / "one.json", 9) == b"whole"
