"""Is it told how a server's weight comes of its response time?"""

from __future__ import annotations

import time
from typing import Any

import pytest
from pretended_loop import A, B, C, Loop, rows, web

from dsrlb.answered import Answers
from dsrlb.cli import tables
from dsrlb.control.responses import time_us
from dsrlb.health.base import PASSED, Subject
from dsrlb.health.record import Asked, Record, with_check
from dsrlb.model import Check
from dsrlb.response import Heard, Memory, Weighed, after
from dsrlb.sampling import BUCKETS, bucket_of
from dsrlb.standing import named


def handshakes(count: int, time_ms: float) -> list[int]:
    times = [0] * BUCKETS
    times[bucket_of(int(1000 * time_ms))] = count
    return times


@pytest.fixture
def loop() -> Loop:
    """Three servers by response time: of 2 ms; of 10 ms, by checks and handshakes; unknown."""
    service = web(scheduler="response")
    it = Loop(service)
    one, two, three = (names for names, _ in named(service))
    heard = {
        one: Heard(2000, True, handshakes(200, 1)),
        two: Heard(10_000, True, handshakes(100, 8)),
        three: Heard(),
    }
    it.observed.responses.of = after({}, heard, time.monotonic() - 5)
    it.standings.weigh({names: known.percent for names, known in it.observed.responses.of.items()})
    it.look_again()
    return it


def test_backends_tell_samples_medians_times_percentages_and_those_of_late(loop: Loop) -> None:
    shown = rows(loop)
    assert [shown[one]["expected_percent"] for one in (A, B, C)] == [45.5, 9.1, 45.5]
    assert [shown[one]["time_ms"] for one in (A, B, C)] == [2.0, 10.0, None]
    said = shown[B]["response"]
    assert (said["percent"], said["probe_ms"], said["handshakes"]) == (20, 10.0, 100)
    assert said["handshake_ms"] == pytest.approx(8, rel=0.2)
    (only,) = said["history"]
    assert only["percent"] == 20 and 5 <= only["ago_s"] < 15


def test_the_table_says_it_in_words(loop: Loop) -> None:
    notes = [tables.backend_note(row) for row in rows(loop).values()]
    assert notes[1].startswith(
        "20% of its weight: answers in 10.0 ms (checks 10.0 ms, median of 100 handshakes "
    )
    assert notes[2] == "100% of its weight: response time not known"
    (row,) = loop.ask(do="show", what="services")
    assert tables.response_times(row["response"]) == "rs1 2.0 ms: 100%; rs2 10.0 ms: 20%; rs3 ?: 100%"


def test_in_mode_proxy_the_time_is_that_of_clients_requests(loop: Loop) -> None:
    names = next(iter(loop.observed.responses.of))
    heard = {0: Heard(2000, True, answers={"default": Answers(1, 900, 100)}),
             1: Heard(1000, True, answers={"default": Answers(1, 900, 50)})}  # fmt: skip
    loop.observed.responses.of[names] = after({}, heard, time.monotonic())[0]
    said = rows(loop)[A]
    assert (said["time_ms"], said["response"]["answer_ms"], said["response"]["answers"]) == (100, 100, 900)
    assert tables.backend_note(said) == (
        "50% of its weight: answers in 100.0 ms (checks 2.0 ms, clients' answers 100.0 ms)"
    )


def test_health_says_it_too_of_services_that_are_checked_or_not(loop: Loop) -> None:
    said = loop.ask(do="show", what="health")
    assert [row["response"]["percent"] for row in said] == [100, 20, 100]


def test_of_many_backends_a_service_tells_the_least_and_the_longest_time() -> None:
    many: list[dict[str, Any]] = [
        {"backend": str(number), "name": "", "time_ms": 1.0 + number, "percent": 5} for number in range(9)
    ]
    assert tables.response_times(many) == "times 1.0 to 9.0 ms"
    assert tables.response_times([{**one, "time_ms": None} for one in many]) == "no response time known"


def test_with_other_schedulers_a_time_is_that_of_checks_and_explains_no_weight() -> None:
    loop = Loop(web())
    assert {row["response"] for row in rows(loop).values()} == {None}
    assert loop.ask(do="show", what="services")[0]["response"] is None
    record = Record(Subject(A, 80, B, Check("tcp")), True, 0, 0)  # type: ignore[arg-type]  # texts will do
    asked = with_check(record, Asked(PASSED, 1, 0.004), up=True)
    assert (time_us(None, record), time_us(None, asked)) == (None, 4000)
    assert time_us(Memory(response_us=2000), asked) == 2000


def test_a_history_is_told_by_how_long_ago(loop: Loop) -> None:
    names = next(iter(loop.observed.responses.of))
    now_s = time.monotonic()
    loop.observed.responses.of[names] = Memory(history=(Weighed(now_s - 60, 100), Weighed(now_s - 3, 35)))
    history = rows(loop)[A]["response"]["history"]
    assert [one["percent"] for one in history] == [100, 35]
    assert 60 <= history[0]["ago_s"] < 70 and 3 <= history[1]["ago_s"] < 13
