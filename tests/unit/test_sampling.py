"""Are handshakes counted as what became of them, and told in times that one can compare?"""

from __future__ import annotations

from itertools import cycle
from threading import Event, Thread

import pytest
from packets import CLIENT, VIP

from dsrlb.sampling import (
    BUCKETS,
    CELLS,
    SILENT_US,
    HandshakeTable,
    bounds,
    bucket_of,
    cell_of,
    median_us,
    percentile_us,
    tag_of,
)
from dsrlb.wire import l4

SYN, ACK, RST, FIN = l4.SYN, l4.ACK, l4.RST, l4.FIN
A, B = (b"service", b"a"), (b"service", b"b")
LONG_AGO_US = 500_000_000


def key(sport: int) -> bytes:
    mapped = bytes(10) + b"\xff\xff"
    addresses = [mapped + bytes(map(int, one.split("."))) for one in (CLIENT, VIP)]
    return l4.flow_key(*addresses, sport.to_bytes(2, "big") + b"\0\x50", l4.TCP)


def same_cell() -> tuple[bytes, bytes]:
    """Return two flows that want the same cell."""
    cells: dict[int, bytes] = {}
    for sport in range(1024, 65_536):
        other = cells.setdefault(cell_of(tag_of(key(sport))), key(sport))
        if other != key(sport):
            return other, key(sport)
    raise AssertionError("64,000 flows in as many cells")


def counts(table: HandshakeTable, now_us: int, names: tuple[bytes, bytes] = A) -> dict[str, object]:
    """Return what is not zero, with the times by bucket."""
    told = table.seen(now_us)[names]._asdict()
    told["times"] = {at: count for at, count in enumerate(told["times"]) if count}
    return {name: value for name, value in told.items() if value}


@pytest.fixture
def table() -> HandshakeTable:
    """Return a table with one handshake that began at 500 s."""
    made = HandshakeTable()
    assert made.request(key(1), A, SYN, LONG_AGO_US)
    return made


def test_an_answer_is_counted_with_its_time(table: HandshakeTable) -> None:
    assert not table.request(key(1), A, ACK, LONG_AGO_US + 1000)
    assert counts(table, LONG_AGO_US + 1000) == {"opened": 1, "answered": 1, "times": {bucket_of(1000): 1}}
    assert not table.cells


def test_only_the_first_ack_is_an_answer(table: HandshakeTable) -> None:
    for later_us in (1000, 2000, 3000):
        table.request(key(1), A, ACK, LONG_AGO_US + later_us)
    assert counts(table, LONG_AGO_US + 3000)["answered"] == 1


def test_an_open_handshake_is_told_with_how_long_it_waits(table: HandshakeTable) -> None:
    assert counts(table, LONG_AGO_US + 700) == {"opened": 1, "waiting_us": [700]}


def test_a_handshake_that_nobody_waits_for_is_told_no_more(table: HandshakeTable) -> None:
    assert counts(table, LONG_AGO_US + SILENT_US) == {"opened": 1, "waiting_us": [SILENT_US]}
    assert counts(table, LONG_AGO_US + SILENT_US + 1) == {"opened": 1}


def test_a_syn_that_comes_again_is_counted_once_and_its_time_not_at_all(table: HandshakeTable) -> None:
    for later_us in (1_000_000, 3_000_000):
        assert table.request(key(1), A, SYN, LONG_AGO_US + later_us)
    assert counts(table, LONG_AGO_US + 3_000_000) == {"opened": 1, "again": 1}
    table.request(key(1), A, ACK, LONG_AGO_US + 3_000_100)
    assert counts(table, LONG_AGO_US + 3_000_100) == {"opened": 1, "again": 1, "answered": 1}


@pytest.mark.parametrize("flags", [RST, RST | ACK])
def test_the_clients_reset_ends_a_handshake(table: HandshakeTable, flags: int) -> None:
    assert not table.request(key(1), A, flags, LONG_AGO_US + 10)
    assert counts(table, LONG_AGO_US + 10) == {"opened": 1, "reset": 1}


def test_the_servers_reset_ends_a_handshake_and_nobody_elses(table: HandshakeTable) -> None:
    table.reply_reset(key(2))
    assert counts(table, LONG_AGO_US) == {"opened": 1, "waiting_us": [0]}
    table.reply_reset(key(1))
    assert counts(table, LONG_AGO_US) == {"opened": 1, "reset": 1}


def test_what_was_sent_again_is_not_counted_as_reset_too(table: HandshakeTable) -> None:
    table.request(key(1), A, SYN, LONG_AGO_US + 10)
    table.reply_reset(key(1))
    assert counts(table, LONG_AGO_US + 10) == {"opened": 1, "again": 1}
    assert not table.cells


@pytest.mark.parametrize("flags", [0, l4.FIN, SYN | FIN])
def test_a_packet_that_says_nothing_of_the_handshake_leaves_it(table: HandshakeTable, flags: int) -> None:
    assert table.request(key(1), A, flags, LONG_AGO_US + 10)
    assert counts(table, LONG_AGO_US + 10) == {"opened": 1, "waiting_us": [10]}


def test_packets_of_flows_that_are_not_looked_at_are_counted_nowhere() -> None:
    table = HandshakeTable()
    for flags in (ACK, RST, FIN, SYN | ACK):
        assert not table.request(key(1), A, flags, LONG_AGO_US)
    assert table.seen(LONG_AGO_US) == {}


def test_a_cell_is_its_first_flows_until_that_is_given_up() -> None:
    table, (first, second) = HandshakeTable(), same_cell()
    table.request(first, A, SYN, LONG_AGO_US)
    assert not table.request(second, B, SYN, LONG_AGO_US + SILENT_US)
    assert not table.request(second, B, ACK, LONG_AGO_US + SILENT_US)
    assert table.request(second, B, SYN, LONG_AGO_US + SILENT_US + 1)
    assert counts(table, LONG_AGO_US + SILENT_US + 1) == {"opened": 1, "silent": 1}
    assert counts(table, LONG_AGO_US + SILENT_US + 1, B) == {"opened": 1, "waiting_us": [0]}


def test_a_syn_that_goes_to_another_backend_finds_the_first_one_silent(table: HandshakeTable) -> None:
    table.request(key(1), B, SYN, LONG_AGO_US + 1000)
    assert counts(table, LONG_AGO_US + 1000) == {"opened": 1, "silent": 1}
    assert counts(table, LONG_AGO_US + 1000, B) == {"opened": 1, "waiting_us": [0]}


def test_what_is_forgotten_of_a_backend_is_all_of_it(table: HandshakeTable) -> None:
    table.request(key(2), B, SYN, LONG_AGO_US)
    table.keep({B})
    assert table.seen(LONG_AGO_US).keys() == {B}
    assert [cell.names for cell in table.cells.values()] == [B]


def test_cells_are_bounded_whatever_comes() -> None:
    table = HandshakeTable()
    for sport in range(0, 65_536):
        table.request(key(sport), A, SYN, LONG_AGO_US)
    told = table.seen(LONG_AGO_US)[A]
    assert told.opened == len(told.waiting_us) == len(table.cells) <= CELLS


def test_buckets_follow_each_other_without_a_gap() -> None:
    edges = [bounds(bucket) for bucket in range(BUCKETS)]
    assert edges[0] == (0, 80)
    assert [high for _, high in edges[:-1]] == [low for low, _ in edges[1:]]
    assert edges[-1] == (3_670_016, 4_194_304)
    for bucket, (low, high) in enumerate(edges):
        assert {bucket_of(low), bucket_of((low + high) // 2), bucket_of(high - 1)} == {bucket}


def test_what_takes_longer_than_any_bucket_is_in_the_last_one() -> None:
    assert bucket_of(10**12) == BUCKETS - 1


@pytest.mark.parametrize("time_us", [100, 2_000, 10_000, 50_000, 1_000_000])
def test_a_median_is_near_the_time_that_all_took(time_us: int) -> None:
    times = [0] * BUCKETS
    times[bucket_of(time_us)] = 9
    assert median_us(times) == pytest.approx(time_us, rel=0.15)


def test_a_median_does_not_care_how_far_off_the_others_are() -> None:
    times = [0] * BUCKETS
    times[bucket_of(1000)], times[bucket_of(3_000_000)] = 51, 49
    low, high = bounds(bucket_of(1000))
    assert low < (median_us(times) or 0) < high


def test_percentiles_lie_where_so_many_are_below() -> None:
    times = [0] * BUCKETS
    times[4], times[8] = 50, 50
    assert [percentile_us(times, share) for share in (0, 0.25, 0.5, 0.75, 1)] == [128, 144, 160, 288, 320]


def test_of_no_times_there_is_no_median() -> None:
    assert median_us([0] * BUCKETS) is None


def test_another_thread_may_read_at_any_time(table: HandshakeTable) -> None:
    over = Event()

    def go_on() -> None:
        for sport in cycle(range(20_000)):
            if over.is_set():
                return
            table.request(key(sport), A, SYN, sport)
            table.request(key(sport), A, ACK if sport % 3 else RST, sport + 80)

    thread = Thread(target=go_on)
    thread.start()
    seen = [table.seen(0)[A] for _ in range(300)]
    over.set()
    thread.join()
    assert all(one.opened >= one.answered + one.reset for one in seen)
    assert [one.opened for one in seen] == sorted(one.opened for one in seen)
