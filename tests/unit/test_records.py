"""Does a balancer that starts again know every flow that the one before it knew, and bear damaged records?"""

from __future__ import annotations

import json
import logging
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import balancer
import packets as p
import pytest

from dsrlb.engines import handover
from dsrlb.engines.framed import BrokenRecords
from dsrlb.engines.handover import GOOD_FOR_S, check, leave, take_over
from dsrlb.engines.records import MAGIC, pack, restore, unpack
from dsrlb.flows import FlowTable
from dsrlb.model import ModeOptions, Persist, Reason
from dsrlb.state import State
from dsrlb.table import EMPTY, ForwardingTable
from dsrlb.transition import carry

ONE, TWO, THREE = balancer.ALL_BACKENDS
SERVERS = tuple(f"{one}:8080,mac={mac}" for one, mac in zip(p.SERVERS, p.SERVER_MACS, strict=True))
VIP = f"{p.VIP}:80"
NUMBERS = range(4000, 4060)
SNAT = ModeOptions(snat=True)
HEAD_BYTES = 16


def table(*backends: str, scheduler: str = "maglev", **more: object) -> ForwardingTable:
    return balancer.table([VIP], backends, scheduler, **more)  # type: ignore[arg-type]


def segment(number: int, flags: str) -> bytes:
    return bytes(p.ether() / p.IP(src=p.CLIENT, dst=p.VIP) / p.TCP(sport=number, dport=80, flags=flags))


def goes_to(made: ForwardingTable, state: State, flags: str, now_s: int = 5) -> list[bytes]:
    """Return what becomes of a packet of each flow; all must be forwarded."""
    verdicts = balancer.feed([segment(number, flags) for number in NUMBERS], made, state, now_s)
    assert {verdict[1] for verdict in verdicts} == {Reason.FORWARDED}
    return balancer.sent(verdicts)


def opened(made: ForwardingTable, state: State) -> list[bytes]:
    goes_to(made, state, "S")
    return goes_to(made, state, "A")


def started_again(state: State, was: ForwardingTable, new: ForwardingTable) -> tuple[ForwardingTable, State]:
    fresh = State()
    return carry(restore(unpack(pack(state, was, 5, "here")), fresh, 6), new, 6), fresh


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "lc", "wlc", "hash", "maglev"])
@pytest.mark.parametrize(
    ("mode", "options"),
    [("l2dsr", ModeOptions()), ("inline", ModeOptions()), ("inline", SNAT)],
    ids=["l2dsr", "inline", "snat"],
)
def test_every_flow_goes_on_as_it_was(scheduler: str, mode: str, options: ModeOptions) -> None:
    backends = SERVERS if mode == "inline" else balancer.ALL_BACKENDS

    def made() -> ForwardingTable:
        return table(*backends, scheduler=scheduler, mode=mode, options=options)

    state, first = State(), carry(EMPTY, made(), 0)
    before = opened(first, state)
    again, fresh = started_again(state, first, made())
    assert goes_to(again, fresh, "A", 7) == before
    assert len(fresh.flows) == len(state.flows)
    assert [one.active for one in fresh.backends.values()] == [one.active for one in state.backends.values()]


def test_an_answer_that_comes_first_finds_its_client() -> None:
    made = table(*SERVERS, scheduler="rr", mode="inline", options=SNAT)
    state = State()
    opened(made, state)
    again, fresh = started_again(state, made, made)
    for name, flow in state.flows.replies.items():
        server, own = str(p.SERVERS[0]), int.from_bytes(name[34:36], "big")
        if flow.backend != next(iter(again.services.values())).targets[0].key:
            continue
        answer = p.ether(p.SERVER_MACS[0], p.INNER_MAC) / p.IP(src=server, dst=p.VIP)
        verdict = balancer.one(
            answer / p.TCP(sport=8080, dport=own, flags="A"), again, fresh, 7, p.OTHER_IFINDEX
        )
        assert verdict[1] is Reason.REPLY_FORWARDED


def test_no_port_that_stands_in_for_a_clients_is_given_twice_and_the_head_goes_on() -> None:
    made = table(SERVERS[0], scheduler="rr", mode="inline", options=SNAT)
    state = State()
    opened(made, state)
    again, fresh = started_again(state, made, made)
    held = set(fresh.flows.replies)
    assert held == set(state.flows.replies)
    balancer.one(segment(5000, "S"), again, fresh, 7)
    balancer.one(segment(5000, "S"), made, state, 7)
    assert set(fresh.flows.replies) == set(state.flows.replies) > held


def test_slots_that_were_changing_hands_go_on_changing_hands() -> None:
    state, first = State(), carry(EMPTY, table(ONE, THREE), 0)
    before = opened(first, state)
    second = carry(first, table(ONE, TWO, THREE), 5)
    again, fresh = started_again(state, second, table(ONE, TWO, THREE))
    assert goes_to(again, fresh, "A", 7) == before
    (was,), (now,) = second.services.values(), again.services.values()
    assert was.former == now.former is not None


def test_a_backend_added_while_nobody_was_there_takes_nothing_away() -> None:
    state, first = State(), carry(EMPTY, table(ONE, THREE), 0)
    before = opened(first, state)
    assert len(state.flows) == 0
    again, fresh = started_again(state, first, table(ONE, TWO, THREE))
    assert goes_to(again, fresh, "A", 7) == before


def test_a_backend_that_was_down_still_is_and_its_slots_are_where_they_were() -> None:
    state, first = State(), carry(EMPTY, table(ONE, TWO, down=["198.18.1.11"]), 0)
    before = opened(first, state)
    left = unpack(pack(state, first, 5, "here"))
    (service,) = restore(left, State(), 6).services.values()
    assert [target.up for target in service.targets] == [False, True]
    again, fresh = started_again(state, first, table(ONE, TWO))
    assert goes_to(again, fresh, "A", 7) == before


def test_a_client_stays_with_its_server_and_turns_go_on() -> None:
    made = table(ONE, TWO, THREE, scheduler="rr", persist=Persist(600, 32, 128))
    state = State()
    balancer.feed([segment(4000, "S"), segment(4000, "A")], made, state, 5)
    again, fresh = started_again(state, made, made)
    own = balancer.backend_of(balancer.one(segment(4000, "A"), made, state, 6))
    assert balancer.backend_of(balancer.one(segment(4999, "S"), again, fresh, 6)) == own
    assert fresh.turns == state.turns


def test_what_is_over_or_does_not_fit_is_left_out() -> None:
    made, state = table(ONE, TWO, scheduler="rr"), State()
    opened(made, state)
    packed = pack(state, made, 5, "here")
    late, small = State(), State(flows=FlowTable(10))
    restore(unpack(packed), late, 10_000)
    restore(unpack(packed), small, 6)
    assert (len(late.flows), len(small.flows), small.flows.refused) == (0, 10, 0)


def test_slots_for_which_there_is_no_room_begin_as_at_a_first_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsrlb.engines.records.SLOTS_MOST", 100)
    state, first = State(), table(ONE, THREE)
    opened(first, state)
    assert not restore(unpack(pack(state, first, 5, "here")), State(), 6).services


# --- damage ---------------------------------------------------------------------------------------


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


# --- the file -------------------------------------------------------------------------------------


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
