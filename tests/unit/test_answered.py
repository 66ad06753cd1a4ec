"""Do weights follow how long servers of mode proxy take to answer, as HAProxy tells it, and soon?"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from dsrlb.answered import FEW, LATEST, WINDOW, Answered, Answers, heard, is_news
from dsrlb.response import Heard, Memory, after

Times = Callable[[int, Sequence[float]], Sequence[float]]  # second, requests a second -> ms, of each server
EVEN = 100 / 3


@dataclass
class Mean:
    """A server's mean, as HAProxy 2.6 keeps it."""

    process: int = 1
    count: int = 0
    total: int = 0

    def add(self, time_ms: int) -> None:
        self.count += 1
        self.total += time_ms - (-(-self.total // WINDOW) if self.count > WINDOW else 0)

    @property
    def said(self) -> Answers:
        window = max(1, min(self.count, WINDOW))
        return Answers(self.process, self.count, -(-self.total // window))


@dataclass
class Proxied:
    """A service of mode proxy; times spread as those of requests do, some much longer than others."""

    times_ms: Times
    per_s: float = 300
    probes_ms: Sequence[float] = ()
    means: list[Mean] = field(default_factory=lambda: [Mean(), Mean(), Mean()])
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    memories: dict[int, Memory] = field(default_factory=dict)
    second: int = 0

    @property
    def shares(self) -> list[float]:
        percents = [self.memories[one].percent if self.memories else 100 for one in range(3)]
        return [100 * percent / sum(percents) for percent in percents]

    def run(self, seconds: int) -> list[list[float]]:
        seen = []
        for _ in range(seconds):
            rates = [self.per_s * share / 100 for share in self.shares]
            for mean, rate, time_ms in zip(self.means, rates, self.times_ms(self.second, rates), strict=True):
                for _ in range(int(rate + self.chance.random())):
                    mean.add(int(time_ms / 2 + self.chance.expovariate(2 / time_ms)))
            said = {
                number: Heard(
                    1000 * self.probes_ms[number] if self.probes_ms else None,
                    bool(self.probes_ms),
                    answers={"default": mean.said},
                )
                for number, mean in enumerate(self.means)
            }
            self.memories = after(self.memories, said, self.second)
            self.second += 1
            seen.append(self.shares)
        return seen


def constant(*times_ms: float) -> Times:
    return lambda _second, _rates: times_ms


def fed(*pieces: tuple[int, int]) -> Answered:
    """Return what is known after so many answers of so many ms each, ten between two looks."""
    mean, known = Mean(), None
    for count, time_ms in pieces:
        for number in range(count):
            mean.add(time_ms)
            if number % 10 == 9:
                known = heard(known, mean.said)
    assert known is not None
    return known


def time_ms(known: Answered) -> float:
    assert known.time_us is not None
    return known.time_us / 1000


# ------------------------------------------------------------------------- a mean that is made quick


@pytest.mark.parametrize("before", [100, 2000])
def test_of_a_change_little_is_left_after_the_latest_while_the_mean_still_tells_of_before(
    before: int,
) -> None:
    faster = fed((before, 200), (LATEST, 10))
    assert faster.last.mean_ms > 80
    assert time_ms(faster) < 30
    slower = fed((before, 10), (LATEST, 200))
    assert slower.last.mean_ms < 120
    assert time_ms(slower) > 150


def test_what_does_not_change_is_told_as_haproxy_tells_it() -> None:
    for steady in (0, 1, 7, 50, 3000):
        assert time_ms(fed((1000, steady))) == steady


def test_few_tell_nothing_and_a_new_process_s_first_ones_neither() -> None:
    assert heard(None, Answers(1, FEW - 1, 900)).time_us is None
    known = heard(None, Answers(1, 1000, 50))
    known = heard(known, Answers(2, FEW - 1, 400))
    assert time_ms(known) == 50
    assert time_ms(heard(known, Answers(2, FEW, 400))) == 400


def test_without_another_answer_nothing_is_learned() -> None:
    known = heard(None, Answers(1, 1000, 50))
    again = heard(known, Answers(1, 1000, 50))
    assert again.time_us == known.time_us and again.of_late == known.of_late // 2
    assert not is_news({"default": known}, {"default": again}) and is_news({}, {"default": known})


# ------------------------------------------------------------------------- what it makes of weights


def test_servers_of_20_40_and_100_ms_have_shares_by_them() -> None:
    service = Proxied(constant(20, 40, 100))
    service.run(20)
    assert service.shares == pytest.approx([100 / 1.7, 50 / 1.7, 20 / 1.7], abs=4)


def test_equal_servers_stay_equal_whatever_chance_does() -> None:
    for seed in range(5):
        for each_ms, per_s in ((0.5, 300), (1.5, 300), (30, 300), (30, 15)):
            service = Proxied(constant(*[each_ms] * 3), per_s, chance=random.Random(seed))
            service.run(20)
            for shares in service.run(60):
                assert max(shares) - min(shares) < 14, (each_ms, per_s)


def test_a_server_that_becomes_slow_is_left_in_10_s_and_taken_back_in_20() -> None:
    """By few requests too: what they are late by does not wait for 512 others."""
    for seed in range(5):
        times: Times = lambda second, _: (20, 20, 200 if 20 <= second < 60 else 20)  # noqa: E731
        service = Proxied(times, chance=random.Random(seed))
        service.run(20)
        assert service.run(5)[-1][2] < EVEN / 2
        assert service.run(5)[-1][2] < EVEN / 4
        service.run(30)
        assert service.run(20)[-1][2] > EVEN - 8


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_servers_whose_time_grows_with_their_load_come_to_rest(load: float) -> None:
    def times(_second: int, rates: Sequence[float]) -> list[float]:
        return [10 / (1 - min(rate / 100, 0.97)) for rate in rates]

    service = Proxied(times, 300 * load)
    service.run(60)
    swings = [max(each) - min(each) for each in zip(*service.run(60), strict=True)]
    assert max(swings) < 18, swings


def test_probes_do_not_count_where_answers_are_many_and_do_where_there_are_none() -> None:
    many = Proxied(constant(20, 20, 20), probes_ms=(1, 1, 50))
    many.run(20)
    assert many.shares == pytest.approx([EVEN] * 3, abs=6)
    none = Proxied(constant(20, 20, 20), per_s=0, probes_ms=(1, 1, 50))
    none.run(20)
    assert none.shares[2] < 4


def test_a_server_that_nobody_has_asked_yet_is_no_faster_than_the_fastest() -> None:
    said = {0: Heard(answers={"default": Answers(1, 1000, 50)}), 1: Heard()}
    assert [one.percent for one in after({}, said, 0).values()] == [100, 100]


def test_a_server_that_soon_fails_is_no_measure_and_gets_no_more_than_its_share() -> None:
    fails = Answers(1, 1000, 0, failed=700)
    good, other = Answers(1, 1000, 20, failed=10), Answers(1, 1000, 40)
    said = {number: Heard(answers={"default": one}) for number, one in enumerate((fails, good, other))}
    assert [one.percent for one in after({}, said, 0).values()] == [100, 100, 50]


def test_one_that_failed_is_a_measure_again_when_it_is_well() -> None:
    known = heard(None, Answers(1, 1000, 0, failed=1000))
    assert not known.is_measure
    for second in range(1, 6):
        known = heard(known, Answers(1, 1000 + 100 * second, 0, failed=1000))
    assert known.is_measure


def test_each_group_is_compared_with_itself() -> None:
    """Requests for pictures are not those for reports."""
    said = {
        0: Heard(answers={"pictures": Answers(1, 1000, 2)}),
        1: Heard(answers={"pictures": Answers(1, 1000, 2), "reports": Answers(1, 1000, 500)}),
        2: Heard(answers={"reports": Answers(1, 1000, 250)}),
    }
    assert [one.percent for one in after({}, said, 0).values()] == [100, 50, 100]
