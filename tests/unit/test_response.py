"""Do servers that answer faster get more, soon and steadily, by what is heard of them?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from served import Simulated, constant, queues

from dsrlb.response import FLOOR_US, HISTORY, ONE, UNKNOWN, Heard, Memory, after
from dsrlb.sampling import BUCKETS, bucket_of

BOTH = pytest.mark.parametrize(
    ("probes", "traffic"), [(True, True), (True, False), (False, True)], ids=["both", "probes", "traffic"]
)
EVEN = 100 / 3
# ms without a queue, and clients a second at most: of each server
QUEUES: list[tuple[list[float], list[float]]] = [
    ([3, 3, 3], [100, 100, 100]),
    ([3, 3, 3], [150, 100, 50]),
    ([1.5, 4, 8], [100, 100, 100]),
]


def heard(*probes_ms: float | None, times: Sequence[Sequence[int]] = ()) -> dict[int, Heard]:
    every = [*times, *([0] * BUCKETS for _ in probes_ms)]
    return {
        number: Heard(None if one is None else 1000 * one, one is not None, every[number])
        for number, one in enumerate(probes_ms)
    }


def handshakes(count: int, time_ms: float) -> list[int]:
    times = [0] * BUCKETS
    times[bucket_of(int(1000 * time_ms))] = count
    return times


def percents(memories: dict[int, Memory]) -> list[int]:
    return [one.percent for _, one in sorted(memories.items())]


def settled(said: dict[int, Heard], seconds: int = 20) -> dict[int, Memory]:
    memories: dict[int, Memory] = {}
    for second in range(seconds):
        memories = after(memories, said, second)
    return memories


# ------------------------------------------------------------------------- the formula


def test_probes_of_2_10_and_50_ms_make_100_20_and_5_per_cent() -> None:
    assert percents(settled(heard(2, 10, 50))) == [100, 20, 5]


def test_handshakes_count_by_how_much_later_they_are_than_the_fastest_server_s() -> None:
    times = [handshakes(1000, 1 + late) for late in (0, 4, 20)]
    fine = settled(heard(None, None, None, times=times))
    assert fine[0].response_us == FLOOR_US
    assert fine[1].response_us == pytest.approx(5000, rel=0.15)  # what may be chance, and a bucket's width
    assert percents(fine) == [100, 20, 5]
    anchored = settled(heard(2, None, None, times=times))
    assert anchored[0].response_us == 2000


def test_the_slower_word_counts_of_a_server_s_probes_and_its_clients() -> None:
    times = [handshakes(1000, 1), handshakes(1000, 50), handshakes(1000, 1)]
    assert percents(settled(heard(2, 2, 20, times=times))) == [100, 5, 10]


def test_many_clients_know_better_than_a_few_probes_how_long_a_connection_takes() -> None:
    """A probe that took 9 ms to be connected and 1 ms to be answered met a busy host, if no client did."""
    times = handshakes(1000, 2)
    met = {0: Heard(2000, True, times, connect_us=2000), 1: Heard(10_000, True, times, connect_us=9000)}
    assert settled(met)[1].response_us == pytest.approx(3000, rel=0.15)
    few = {key: replace(one, times=handshakes(1, 2)) for key, one in met.items()}
    assert percents(settled(few)) == [100, 20]
    slow = {0: met[0], 1: replace(met[1], times=handshakes(1000, 9.5))}
    assert percents(settled(slow)) == [100, 20]


def test_times_below_a_millisecond_are_all_alike() -> None:
    assert percents(settled(heard(0.1, 0.5, 0.9))) == [100, 100, 100]


def test_where_no_time_is_known_all_have_the_whole_of_their_weight() -> None:
    nothing = after({}, heard(None, None, None), 0)
    assert percents(nothing) == [100, 100, 100]
    assert [one.response_us for one in nothing.values()] == [None, None, None]


def test_a_server_of_which_nothing_is_known_has_the_whole_of_its_weight() -> None:
    assert percents(settled(heard(2, None, 10))) == [100, 100, 20]


def test_others_are_not_compared_with_a_server_that_takes_nobody() -> None:
    said = heard(2, 10, 20)
    said[0] = Heard(2000, True, takes_new=False)
    assert percents(settled(said)) == [100, 100, 50]


def test_where_nobody_takes_new_flows_servers_are_compared_all_the_same() -> None:
    said = {number: Heard(one.probe_us, True, takes_new=False) for number, one in heard(2, 10).items()}
    assert percents(settled(said)) == [100, 20]
    assert after({}, {}, 0) == {}


def test_the_weights_of_late_are_told_with_their_time() -> None:
    memories: dict[int, Memory] = {}
    for second in range(60):
        memories = after(memories, heard(2, 2 + second % 20 * 5), second)
    slow = memories[1]
    assert len(slow.history) == HISTORY
    assert slow.history[-1].percent == slow.percent
    assert [one.at_s for one in slow.history] == sorted(one.at_s for one in slow.history)
    assert all(one.percent != two.percent for one, two in zip(slow.history, slow.history[1:], strict=False))


# ------------------------------------------------------------------------- what is no news


def test_one_time_that_stands_out_changes_little() -> None:
    """A probe's is not even the median of three; one of a hundred handshakes is none either."""
    times = handshakes(99, 2)
    times[bucket_of(800_000)] += 1
    memories = settled(heard(2, 2, times=[handshakes(100, 2), times]))
    assert percents(memories) == [100, 100]


def test_equal_servers_of_clients_from_everywhere_have_equal_shares() -> None:
    """Handshakes of 10 to 300 ms, by chance more of this or that at each server."""
    for seed in range(5):
        far = Simulated(constant(*[1.5] * 5), servers=5, clients_per_s=50, probes=False,
                        way_ms=lambda chance: 10 + chance.expovariate(1 / 60),
                        chance=random.Random(seed))  # fmt: skip
        assert [round(share) for share in far.run(60)[-1]] == [20] * 5


def test_without_news_nothing_moves_and_the_last_handshakes_are_remembered() -> None:
    memories = after({}, heard(None, None, times=[handshakes(100, 1), handshakes(100, 50)]), 0)
    for second in range(100):
        memories = after(memories, heard(None, None), second)
    assert percents(memories) == [100, 5]
    assert 4 <= memories[1].samples <= 6
    assert UNKNOWN.samples == 0 and sum(memories[1].times) >= ONE * 4


# ------------------------------------------------------------------------- in time


@BOTH
def test_servers_of_2_10_and_50_ms_have_shares_near_the_formula(probes: bool, traffic: bool) -> None:
    service = Simulated(constant(2, 10, 50), probes=probes, traffic=traffic)
    service.run(10)
    fast, middle, slow = service.shares
    assert fast > 3 * middle > 3 * slow
    expected = (80, 16, 4) if probes else (87, 9, 4)
    assert all(abs(one - other) < 4 for one, other in zip(service.shares, expected, strict=True))


@BOTH
def test_the_first_seconds_after_a_start_bring_no_weights_of_their_own(probes: bool, traffic: bool) -> None:
    """A single probe, or a few handshakes, met this host's own load as it began."""
    for seed in range(20):
        service = Simulated(
            constant(2, 2, 2),
            clients_per_s=9,
            probes=probes,
            traffic=traffic,
            way_ms=lambda chance: 10 + chance.expovariate(1 / 60),
            is_busy=True,
            chance=random.Random(seed),
        )
        assert service.run(1) == [[EVEN] * 3]


def test_a_few_handshakes_tell_nothing() -> None:
    few = after({}, heard(None, None, times=[handshakes(5, 1), handshakes(5, 50)]), 0)
    assert percents(few) == [100, 100] and few[1].response_us is None
    assert percents(after(few, heard(None, None, times=[handshakes(1, 1), handshakes(1, 50)]), 1)) == [100, 5]


def test_a_host_that_measures_badly_follows_all_the_same() -> None:
    for seed in range(5):
        service = Simulated(
            lambda second, _: (2, 2, 10 if 20 <= second < 50 else 2), is_busy=True, chance=random.Random(seed)
        )
        service.run(20)
        assert service.run(6)[-1][2] < 0.6 * EVEN
        service.run(24)
        assert service.run(10)[-1][2] > 0.6 * EVEN


@BOTH
def test_a_server_that_becomes_five_times_slower_is_left_in_5_s_and_taken_back_in_10(
    probes: bool, traffic: bool
) -> None:
    for seed in range(5):
        service = Simulated(
            lambda second, _: (2, 2, 10 if 20 <= second < 50 else 2),
            probes=probes,
            traffic=traffic,
            chance=random.Random(seed),
        )
        assert all(share > EVEN - 4 for share in service.run(20)[-1])
        assert service.run(5)[-1][2] < EVEN / 2
        assert service.run(25)[-1][2] < 0.4 * EVEN
        assert service.run(10)[-1][2] > EVEN - 4


@BOTH
@pytest.mark.parametrize("load", [0.5, 0.8, 0.95])
def test_servers_whose_time_grows_with_their_load_come_to_rest(
    probes: bool, traffic: bool, load: float
) -> None:
    """They would swing from nearly nothing to nearly all, if weights were just the last times'."""
    for seed, (service_ms, most_per_s) in enumerate(QUEUES):
        service = Simulated(
            queues(service_ms, most_per_s),
            clients_per_s=300 * load,
            probes=probes,
            traffic=traffic,
            chance=random.Random(seed),
        )
        service.run(60)
        shares = service.run(60)
        swings = [max(each) - min(each) for each in zip(*shares, strict=True)]
        assert max(swings) < (18 if load < 0.9 else 25), (service_ms, swings)


def test_a_slow_server_is_heard_of_by_the_few_clients_that_it_is_given() -> None:
    """There are no probes: 4 in 100 of 50 clients a second say that it is fast again."""
    service = Simulated(lambda second, _: (2, 2, 50 if second < 30 else 2), clients_per_s=50, probes=False)
    assert service.run(30)[-1][2] < 4
    assert service.run(10)[-1][2] > EVEN - 4
