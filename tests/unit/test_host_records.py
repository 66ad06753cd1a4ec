"""Is what the host has for dsrlb's sake read again as it was written, and is any other file none?"""

from __future__ import annotations

from pathlib import Path

import pytest

from dsrlb.host.records import read_record, write_record


def row(name: str, port: int) -> tuple[str, int]:
    return name, int(port)


def test_a_record_is_read_as_it_was_written_and_goes_with_its_last_row(tmp_path: Path) -> None:
    record, rows = tmp_path / "one.json", {("b", 2), ("a", 1)}
    write_record(record, {("before", 0)})
    write_record(record, rows)
    assert read_record(record, row) == rows
    assert list(tmp_path.iterdir()) == [record]
    for _ in range(2):
        write_record(record, ())
        assert read_record(record, row) == set() and not record.exists()


@pytest.mark.parametrize(
    "text", ["", "{", "7", '["a"]', '[["a"]]', '[["a", "b"]]', '[["a", 1], ["b", 2, 3]]']
)
def test_what_is_no_record_has_no_rows(tmp_path: Path, text: str) -> None:
    record = tmp_path / "one.json"
    record.write_text(text)
    assert read_record(record, row) == set()
