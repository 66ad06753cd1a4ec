"""Do weights follow what checks and handshakes say of how fast servers answer, and nothing else?"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import balancer
import pytest
from check_servers import LOOPBACK, VIP

from dsrlb.control.checks import _subjects
from dsrlb.control.responses import Responses, by_response
from dsrlb.control.standings import Standings
from dsrlb.health import BY_NAME
from dsrlb.health.base import PASSED, Outcome, Subject, directly
from dsrlb.health.record import Asked, Record, with_check
from dsrlb.health.stopwatch import Stopwatch
from dsrlb.model import Check, Service
from dsrlb.sampling import BUCKETS, Handshakes, bucket_of
from dsrlb.standing import Effective, Names, Standing, Wish, named
from dsrlb.table import compile_table

SLOW_S, WAIT_S = 0.2, 10.0


def web(scheduler: str = "response", **fields: Any) -> Service:
    (made,) = balancer.services(["198.18.1.100:80"], balancer.ALL_BACKENDS[:3], scheduler)
    service: Service = replace(made, **{"check": Check("tcp"), **fields})
    return service


def names_of(service: Service) -> list[Names]:
    return [names for names, _ in named(service)]


def records(service: Service, *times_ms: float | None, at_s: float = 1) -> dict[Names, Record]:
    """Return records of three passed checks of each backend; None: it was not checked yet."""
    fresh = Record(Subject(LOOPBACK, 80, VIP, Check("tcp")), True, 0, 0)
    return {
        names: fresh if time_ms is None else checked(fresh, *[time_ms] * 3, at_s=at_s)
        for names, time_ms in zip(names_of(service), times_ms, strict=True)
    }


def checked(record: Record, *times_ms: float, at_s: float) -> Record:
    for time_ms in times_ms:
        record = with_check(record, Asked(PASSED, at_s, time_ms / 1000), up=True)
    return record


def counted(service: Service, **by_ms: int) -> dict[Names, Handshakes]:
    """Return counters of handshakes: of each backend so many that took so long."""
    seen = {}
    for names, (time_ms, count) in zip(names_of(service), by_ms.items(), strict=True):
        times = [0] * BUCKETS
        times[bucket_of(1000 * int(time_ms[1:]))] = count
        seen[names] = Handshakes(count, count, 0, 0, 0, times, ())
    return seen


def look(responses: Responses, service: Service, at: int, **heard: Any) -> list[int]:
    said: Mapping[Names, Standing] = heard.get("standings", {})
    percents = responses.look(
        [service], said, heard.get("records", {}), heard.get("handshakes", {}), float(at)
    )
    return [percents[names] for names in names_of(service)]


def test_only_services_of_the_scheduler_are_looked_at() -> None:
    mine = web()
    assert by_response([mine, web("wrr")]) == [mine]
    assert Responses().look([], {}, {}, {}, 0) == {}


def test_checks_decide_and_a_server_that_has_not_been_checked_yet_has_all_its_weight() -> None:
    service, responses = web(), Responses()
    assert look(responses, service, 1, records=records(service, 2, 10, None)) == [100, 20, 100]
    assert look(responses, service, 2, records=records(service, 2, 10, 50)) == [100, 20, 5]


def test_fewer_than_three_checks_tell_nothing_and_take_nothing_away() -> None:
    service, responses = web(), Responses()
    fresh = records(service, None, None, None)
    first = {
        names: checked(one, ms, at_s=1) for ms, (names, one) in zip((1, 9, 50), fresh.items(), strict=True)
    }
    assert look(responses, service, 1, records=first) == [100, 100, 100]
    second = {names: checked(one, 2, at_s=2) for names, one in first.items()}
    assert look(responses, service, 2, records=second) == [100, 100, 100]
    assert look(responses, service, 3, records=records(service, 2, 10, 50, at_s=3)) == [100, 20, 5]
    assert look(responses, service, 4, records=first) == [100, 20, 5]  # checks began anew


def test_a_check_that_was_heard_before_is_no_news() -> None:
    service, responses = web(), Responses()
    look(responses, service, 1, records=records(service, 2, 2, 2))
    slow = records(service, 2, 10, 2, at_s=2)
    first = look(responses, service, 2, records=slow)
    assert first[1] < 100
    assert look(responses, service, 3, records=slow) == first
    assert look(responses, service, 4, records=records(service, 2, 10, 2, at_s=4))[1] < first[1]


def test_handshakes_count_from_the_second_look_on() -> None:
    """What was counted before may be long ago, and another process's."""
    service, responses = web(check=None), Responses()
    before = counted(service, t1=100, t2=100, t50=1000)
    assert look(responses, service, 1, handshakes=before) == [100, 100, 100]
    now = counted(service, t1=200, t2=200, t50=1100)
    assert look(responses, service, 2, handshakes=now)[2] == 5
    assert responses.of[names_of(service)[2]].samples == 100


def test_a_counter_that_begins_anew_is_counted_from_nothing() -> None:
    service, responses = web(check=None), Responses()
    look(responses, service, 1, handshakes=counted(service, t1=500, t2=500, t3=500))
    look(responses, service, 2, handshakes=counted(service, t1=40, t2=40, t3=500))
    assert [one.samples for one in responses.of.values()] == [40, 40, 0]


def test_what_is_known_of_servers_that_stay_is_kept_and_of_others_forgotten() -> None:
    service, responses = web(), Responses()
    look(responses, service, 1, records=records(service, 2, 10, 50))
    fewer = replace(service, backends=service.backends[:2])
    anew = records(service, None, None, None)  # as after a reload that changes the check
    assert responses.look([fewer], {}, anew, {}, 2.0) == dict(zip(names_of(fewer), [100, 20], strict=True))
    assert [*responses.of] == names_of(fewer)
    responses.keep([replace(fewer, backends=fewer.backends[1:])])
    assert [*responses.of] == names_of(fewer)[1:]
    responses.keep([web("wrr")])
    assert responses.of == {}


def test_weights_become_shares_and_a_change_is_told_once() -> None:
    service = web()
    standings = Standings([service])
    percents = dict(zip(names_of(service), (100, 20, 5), strict=True))
    assert standings.weigh(percents)
    assert not standings.weigh(percents)
    said = standings.effective(0)
    assert said == Effective(percents={names_of(service)[1]: 20, names_of(service)[2]: 5})
    table = compile_table([service], balancer.hops(service.backends), {}, effective=said)
    (compiled,) = table.services.values()
    assert compiled.shares == (100, 20, 5)
    assert [list(compiled.slots).count(one) for one in range(3)] == [20, 4, 1]
    assert compiled.samples and compiled.records_all


def test_the_operator_s_weight_and_the_response_time_go_together(caplog: pytest.LogCaptureFixture) -> None:
    service = web()
    standings, (one, two, _) = Standings([service]), names_of(service)
    standings.hear(one, Wish(weight=4), 0)
    caplog.set_level("INFO", "dsrlb")
    caplog.clear()
    standings.weigh({one: 50, two: 100})
    said = standings.effective(0)
    assert (said.weights, said.percents) == ({one: 4}, {one: 50})
    assert caplog.records == []  # each second there may be a change


def test_a_reload_to_another_scheduler_gives_the_whole_weight_back() -> None:
    service = web()
    standings = Standings([service])
    standings.weigh(dict.fromkeys(names_of(service), 20))
    standings.change_to([service], 1)
    assert set(standings.effective(1).percents.values()) == {20}
    standings.change_to([web("wrr")], 2)
    assert standings.effective(2) == Effective()


def test_only_servers_by_response_time_are_asked_again_soon_when_times_differ() -> None:
    assert [subject.is_weighed for _, subject in _subjects(web())] == [True] * 3
    assert [subject.is_weighed for _, subject in _subjects(web("wrr"))] == [False] * 3
    record = Record(Subject(LOOPBACK, 80, VIP, Check("tcp")), True, 0, 0)
    assert not record.varies
    assert not record._replace(times_s=(0.002, 0.0025, 0.0022)).varies
    assert record._replace(times_s=(0.002, 0.002, 0.01)).varies
    assert record._replace(times_s=(0.002, 0.002)).varies  # too few to go by
    assert not record._replace(times_s=(0.0001, 0.0009, 0.0001)).varies


# ------------------------------------------------------------------------- how long a probe takes


def timed(kind: str, server: socket.socket, open_to: Any = directly, **fields: Any) -> Stopwatch:
    """Return the stopwatch of a probe."""
    subject = Subject(LOOPBACK, server.getsockname()[1], VIP, Check(kind, **fields))  # type: ignore[arg-type]

    async def run() -> Stopwatch:
        watch = Stopwatch(BY_NAME[kind], asyncio.get_running_loop().time)
        await asyncio.wait_for(watch.ask(subject, open_to), WAIT_S)
        return watch

    return asyncio.run(run())


def test_that_this_host_hears_late_of_a_connection_does_not_count() -> None:
    async def late(subject: Subject, kind: int, protocol: int) -> socket.socket:
        sock = await directly(subject, kind, protocol)
        await asyncio.sleep(SLOW_S)
        return sock

    with socket.create_server(("127.0.0.1", 0)) as server:
        watch = timed("tcp", server, late)
    assert 0 < watch.took_s < SLOW_S
    assert watch.connected_s is not None and 0 < watch.connected_s <= watch.took_s


def test_that_the_server_answers_late_counts() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        async def answered(subject: Subject, kind: int, protocol: int) -> socket.socket:
            sock = await directly(subject, kind, protocol)
            asyncio.get_running_loop().call_later(SLOW_S, server.sendto, b"here", sock.getsockname())
            return sock

        watch = timed("udp", server, answered, send=b"?", expect=b"here")
    assert watch.took_s >= SLOW_S * 0.9 and watch.connected_s is None


def test_a_record_tells_connections_of_the_last_checks_apart_from_answers() -> None:
    record = Record(Subject(LOOPBACK, 80, VIP, Check("tcp")), True, 0, 0)
    assert record.connect_s is None
    for took_s, connected_s in ((0.5, 0.1), (0.2, 0.15), (0.3, 0.2), (0.4, 0.3)):
        record = with_check(record, Asked(PASSED, 1, took_s, connected_s), up=True)
    assert (record.time_s, record.connect_s) == (0.3, 0.2)
    failed = with_check(record, Asked(Outcome("refused"), 2, 0.1, None), up=True)
    assert (failed.time_s, failed.connect_s) == (0.3, 0.2)
    service, responses = web(), Responses()
    look(responses, service, 1, records=dict.fromkeys(names_of(service), record))
    assert {round(one.connect_us or 0) for one in responses.of.values()} == {200_000}
