"""Are records believed only where they are whole, of this boot, fresh and their owner's alone?"""

from __future__ import annotations

import json
import logging
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flowing import NUMBERS, ONE, SERVERS, SNAT, TWO, opened, table

from dsrlb.engines import handover
from dsrlb.engines.framed import BrokenRecords
from dsrlb.engines.handover import GOOD_FOR_S, check, leave, take_over
from dsrlb.engines.records import MAGIC, pack, restore, unpack
from dsrlb.state import State
from dsrlb.table import EMPTY, ForwardingTable

HEAD_BYTES = 16


@pytest.fixture(scope="module")
def whole() -> bytes:
    state, made = State(), table(*SERVERS, mode="inline", options=SNAT)
    opened(made, state)
    return pack(state, made, 5, "here")


def test_whatever_is_cut_off_or_turned_over_is_noticed(whole: bytes) -> None:
    for size in (0, 7, HEAD_BYTES - 1, HEAD_BYTES, 100, len(whole) // 2, len(whole) - 1):
        with pytest.raises(BrokenRecords):
            unpack(whole[:size])
    for at in (0, 6, 9, 13, 20, len(whole) - 1):
        with pytest.raises(BrokenRecords):
            unpack(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])


def test_another_layout_is_called_so(whole: bytes) -> None:
    with pytest.raises(BrokenRecords, match="another version"):
        unpack(MAGIC[:7] + b"\2" + whole[8:])


def changed_headers(whole: bytes) -> Iterator[bytes]:
    """Yield records whose checksum is right and whose header is not."""
    size = int.from_bytes(whole[8:12], "little")
    header = json.loads(whole[HEAD_BYTES : HEAD_BYTES + size])
    service = header["services"][0]
    for wrong in (
        [],
        {**header, "counts": {}},
        {**header, "counts": {**header["counts"], "flows": 1 << 40}},
        {**header, "services": [{}]},
        {**header, "services": [{**service, "key": "no"}]},
        {**header, "services": [{**service, "cursor": "none"}]},
        {**header, "services": [{**service, "timeouts_s": [1]}]},
        {**header, "services": [{**service, "slots": [1 << 30, 5]}]},
        {**header, "services": [{**service, "former": [None, [0, 1], "soon"]}]},
        {**header, "services": 5},
    ):
        head = json.dumps(wrong).encode()
        body = head + whole[HEAD_BYTES + size :]
        yield MAGIC + len(head).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little") + body


def test_a_header_that_does_not_fit_is_refused_with_a_word(whole: bytes) -> None:
    for packed in changed_headers(whole):
        with pytest.raises(BrokenRecords, match="does not fit together"):
            restore(unpack(packed), State(), 6)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "dsrlb")
    return caplog


def taken(at: Path, now_s: int) -> tuple[State, ForwardingTable]:
    """What a start makes of a file, as the packet engine does it."""

    def use(packed: bytes) -> tuple[State, ForwardingTable]:
        left, state = unpack(packed), State()
        check(left.framed, now_s)
        return state, restore(left, state, now_s)

    return take_over(at, use) or (State(), EMPTY)


def left_in(at: Path) -> None:
    """What a stop of a busy balancer leaves, at second 5."""
    state, made = busy()
    leave(at, lambda: pack(state, made, 5, handover.here()))


def busy() -> tuple[State, ForwardingTable]:
    state, made = State(), table(ONE, TWO, scheduler="rr")
    opened(made, state)
    return state, made


def test_the_file_is_for_its_owner_alone_and_holds_the_flows(
    tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    at = tmp_path / "run" / "one.flows"
    left_in(at)
    assert stat.S_IMODE(at.stat().st_mode) == 0o600
    assert [one.name for one in at.parent.iterdir()] == ["one.flows"]
    state, made = taken(at, 6)
    assert len(state.flows) == len(NUMBERS) and made.services
    assert not told.records


@pytest.mark.parametrize("now_s", [4, 5 + GOOD_FOR_S + 1], ids=["the clock went back", "too old"])
def test_what_is_of_another_time_is_left_alone(
    now_s: int, tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    at = tmp_path / "one.flows"
    left_in(at)
    state, made = taken(at, now_s)
    assert not len(state.flows) and made is EMPTY
    assert "s old" in told.text


def test_what_is_of_another_boot_is_left_alone(
    tmp_path: Path, told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = tmp_path / "one.flows"
    left_in(at)
    monkeypatch.setattr(handover, "here", lambda: "elsewhere")
    assert taken(at, 6)[1] is EMPTY
    assert "another boot" in told.text


def test_a_broken_file_is_one_sentence_and_a_fresh_start(
    tmp_path: Path, told: pytest.LogCaptureFixture, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "here", lambda: "here")
    at = tmp_path / "one.flows"
    for packed in (b"", whole[:-1], b"x" * 5000, *changed_headers(whole)):
        told.clear()
        at.write_bytes(packed)
        at.chmod(0o600)
        state, made = taken(at, 6)
        assert not len(state.flows) and not state.flows.replies and made is EMPTY
        assert len(told.records) == 1, told.text


def test_a_file_that_others_may_write_is_not_believed(tmp_path: Path, told: pytest.LogCaptureFixture) -> None:
    at = tmp_path / "one.flows"
    left_in(at)
    at.chmod(0o666)
    assert taken(at, 6)[1] is EMPTY
    os.mkfifo(other := tmp_path / "pipe.flows")
    (link := tmp_path / "link.flows").symlink_to(at)
    assert taken(other, 6)[1] is taken(link, 6)[1] is EMPTY
    assert [one.levelname for one in told.records] == ["WARNING"] * 3


def test_where_nothing_can_be_written_it_is_said_and_nothing_stays(
    tmp_path: Path, told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    left_in(tmp_path / "one.flows")
    (tmp_path / "file").write_text("")
    left_in(tmp_path / "file" / "one.flows")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    assert "No space left on device" in told.text
    assert [one.levelname for one in told.records] == ["WARNING"] * 2


def test_without_a_file_nothing_is_said(tmp_path: Path, told: pytest.LogCaptureFixture) -> None:
    assert taken(tmp_path / "none.flows", 6)[1] is EMPTY
    assert not told.records


def test_a_table_that_differs_in_nothing_is_still_another(whole: bytes) -> None:
    """The control path must install what it compiles over what was left, whatever that says."""
    left = restore(unpack(whole), State(), 6)
    assert replace(left, services={}) == replace(EMPTY, services={})
    assert left != table(*SERVERS, mode="inline", options=SNAT)
