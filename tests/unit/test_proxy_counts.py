"""Do counts of HAProxy never go back, over reloads, restarts, and a dsrlb that is started again?"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from balancer import ALL_BACKENDS, services

from dsrlb.answered import Answers
from dsrlb.control import proxy_counts
from dsrlb.control.proxy_counts import Counting, Totals
from dsrlb.control.proxy_table import answers_of
from dsrlb.engines.haproxy.names import entries
from dsrlb.engines.haproxy.places import Places
from dsrlb.engines.haproxy.runtime import Row, Workers
from dsrlb.errors import HostError
from dsrlb.proxying import NO_PROXY
from dsrlb.standing import named

KEY = ("web", "rs1")


def row(stot: int, scur: int = 0) -> Row:
    return Row(*KEY, "UP", {"stot": stot, "scur": scur})


def seen(totals: Totals) -> tuple[int, int]:
    return totals.of[KEY]["stot"], totals.of[KEY]["scur"]


def test_old_workers_count_on_and_what_is_under_way_there_is_told_too() -> None:
    totals = Totals()
    totals.take({1: [row(10, scur=3)]})
    totals.take({2: [row(4, scur=1)], 1: [row(11, scur=2)]})
    assert seen(totals) == (15, 3)
    totals.take({2: [row(6, scur=1)]})  # the old one has ended
    assert seen(totals) == (17, 1)
    totals.take({})  # HAProxy has ended
    totals.take({3: [row(2)]})
    assert seen(totals) == (19, 0)


def test_what_was_counted_for_a_dsrlb_before_is_not_counted_again() -> None:
    totals = Totals()
    totals.adopt({1: [row(1000, scur=5)]})
    totals.take({1: [row(1003, scur=4)], 2: [row(2)]})
    assert seen(totals) == (5, 4)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_no_total_gets_less_and_the_sum_is_right(seed: int) -> None:
    chance, totals = random.Random(seed), Totals()
    workers, counted, number, last = {0: 0}, 0, 0, 0
    for _ in range(200):
        if chance.random() < 0.1:  # a reload: a new one beside those of before
            number += 1
            workers[number] = 0
        for worker in list(workers):
            more = chance.randrange(5)
            workers[worker], counted = workers[worker] + more, counted + more
        totals.take({worker: [row(count)] for worker, count in workers.items()})
        if chance.random() < 0.1 and len(workers) > 1:  # an old one has ended
            workers.pop(min(workers))
        assert seen(totals)[0] >= last
        last = seen(totals)[0]
    assert last == counted


def test_one_that_is_silent_for_a_while_is_not_counted_twice() -> None:
    totals = Totals()
    totals.take({1: [row(10, scur=3)]})
    totals.take({2: [row(4)]}, [1])
    assert seen(totals) == (14, 0)
    totals.take({2: [row(4)], 1: [row(12, scur=1)]})
    assert seen(totals) == (16, 1)


class Runtime:
    """HAProxy as it is asked."""

    ANSWER_WITHIN_S = 0.3

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows, self.is_silent, self.asked = list(rows), False, 0
        self.old: tuple[int, ...] = ()
        self.hang: Callable[[float], None] = lambda _: None

    def workers(self, _: Path) -> Workers:
        self.asked += 1
        if self.is_silent:
            raise HostError("silent")
        return Workers(0, 0, 1, self.old)

    def statistics(self, _: Path, __: object, worker: int | None = None, within_s: float = 0.3) -> list[Row]:
        if worker is not None:
            self.hang(within_s)
            raise HostError("it hangs")
        return self.rows


def test_old_workers_that_hang_cost_the_time_of_one_and_are_asked_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, clock, waited = Runtime([row(7)]), [100.0], [0.0]

    def hang(within_s: float) -> None:
        clock[0] += within_s
        waited[0] += within_s

    it.old, it.hang = tuple(range(2, 12)), hang
    monkeypatch.setattr(proxy_counts, "runtime", it)
    monkeypatch.setattr(proxy_counts.time, "monotonic", lambda: clock[0])
    counting = Counting(Places(tmp_path))
    assert counting.look()[KEY]["stot"] == 7 and waited[0] == pytest.approx(0.3)
    for _ in range(100):
        clock[0] += 1.0
        counting.look()
    assert waited[0] < 10 * 0.3 * 130 / proxy_counts.HANGS_S


def test_while_haproxy_is_silent_the_last_counts_hold_and_it_is_asked_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, clock = Runtime([row(7)]), [100.0]
    monkeypatch.setattr(proxy_counts, "runtime", it)
    monkeypatch.setattr(proxy_counts.time, "monotonic", lambda: clock[0])
    counting = Counting(Places(tmp_path))
    assert counting.look()[KEY]["stot"] == 7
    it.is_silent = True
    asked = it.asked
    for _ in range(100):
        clock[0] += 0.01
        assert counting.look(is_now=True)[KEY]["stot"] == 7
    assert it.asked - asked == 1
    it.is_silent, it.rows = False, [row(9)]
    clock[0] += 3
    assert counting.look()[KEY]["stot"] == 9


def test_answers_are_told_by_group_of_services_by_request_and_of_servers_that_the_worker_knows() -> None:
    (four,) = services(["198.18.1.100:81"], ALL_BACKENDS[:2])
    seven = replace(
        four,
        proxy=replace(NO_PROXY, layer=7),
        backends=tuple(replace(one, groups=("default", "api")) for one in four.backends),
    )
    counts = {"req_tot": 9, "rtime": 20, "hrsp_5xx": 1}
    known = dict.fromkeys(entries(seven, seven.backends[0]), counts)
    first, second = (names for names, _ in named(seven))
    told = answers_of([four, seven], 811, known)
    assert told == {first: dict.fromkeys(("default", "api"), Answers(811, 9, 20, failed=1)), second: {}}
