"""Is each server asked in its own time, and told of when something changes, and only then?"""

from __future__ import annotations

import asyncio
import queue
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import balancer
import pytest
from check_servers import LOOPBACK, VIP, eventually, free_port

from dsrlb.control.checks import Checks
from dsrlb.health.base import Open, Subject, Unasked
from dsrlb.health.monitor import TOGETHER_S, Monitor, begins_s
from dsrlb.health.record import TIMES_KEPT
from dsrlb.model import Check, Service
from dsrlb.standing import Health, Names, Standing

FAST: dict[str, Any] = {"interval_s": 0.1, "timeout_s": 0.1, "fast_interval_s": 0.05, "rise": 2, "fall": 2}
WAIT_S = 10.0
UP, DOWN = Health(True), Health(False, "refused")
Told = queue.Queue[tuple[Names, Health]]


class World:
    """Servers that refuse or not, as a test says, and a monitor that asks them."""

    def __init__(self) -> None:
        self.refusing: set[int] = set()  # ports
        self.lacking = False
        self.asked: queue.Queue[int] = queue.Queue()
        self.told: Told = queue.Queue()
        self.monitor = Monitor(lambda names, health: self.told.put((names, health)), self.open)

    async def open(self, subject: Subject, kind: int, protocol: int) -> socket.socket:
        self.asked.put(subject.port)
        if self.lacking:
            raise Unasked("too many open files")
        if subject.port in self.refusing:
            raise ConnectionRefusedError
        return socket.socket()

    def watch(self, *ports: int, standings: Any = None, **fields: Any) -> None:
        subjects = {names_of(port): subject(port, **fields) for port in ports}
        self.monitor.change_to(subjects, standings or {})

    def hear(self) -> tuple[Names, Health]:
        return self.told.get(timeout=WAIT_S)

    def let_ask(self, port: int, times: int = 5) -> None:
        """Wait until a server has been asked so often from now on."""
        while not self.asked.empty():
            self.asked.get()
        while times:
            times -= self.asked.get(timeout=WAIT_S) == port


def subject(port: int, **fields: Any) -> Subject:
    return Subject(VIP, port, VIP, Check("tcp", **{**FAST, **fields}))


def names_of(port: int) -> Names:
    return b"service", port.to_bytes(2, "big")


@pytest.fixture
def world() -> Iterator[World]:
    it = World()
    yield it
    it.monitor.close()


def test_a_server_that_is_up_is_not_told_of(world: World) -> None:
    world.watch(1)
    world.let_ask(1)
    assert world.told.empty()


def test_a_server_that_fails_and_returns_is_told_of_twice(world: World) -> None:
    world.watch(1, 2)
    world.let_ask(1, 2)
    world.refusing.add(1)
    assert world.hear() == (names_of(1), DOWN)
    world.refusing.clear()
    assert world.hear() == (names_of(1), UP)
    world.let_ask(1)
    assert world.told.empty()


def test_the_first_answer_decides_at_the_start(world: World) -> None:
    world.refusing.add(1)
    began = time.monotonic()
    world.watch(1, interval_s=60.0, fast_interval_s=60.0)
    assert world.hear() == (names_of(1), DOWN)
    assert time.monotonic() - began < WAIT_S


def test_who_was_down_before_is_told_with_the_reason_of_now_or_as_up(world: World) -> None:
    was = Standing(up=False, why="so it was before this start")
    world.refusing.add(1)
    world.watch(1, 2, standings={names_of(1): was, names_of(2): was})
    assert sorted([world.hear(), world.hear()], key=str) == [(names_of(1), DOWN), (names_of(2), UP)]


def test_a_change_of_the_checks_keeps_what_is_known_and_asks_no_more_who_is_gone(world: World) -> None:
    world.refusing.update((1, 2))
    world.watch(1, 2)
    assert {world.hear()[0], world.hear()[0]} == {names_of(1), names_of(2)}
    known = {names_of(one): Standing(up=False, why="refused") for one in (1, 2)}
    world.watch(1, standings=known, rise=3)
    world.let_ask(1, 3)
    while not world.asked.empty():
        world.asked.get()
    world.let_ask(1, 3)
    assert world.asked.empty() or world.asked.get() == 1
    assert world.told.empty()
    world.refusing.clear()
    assert world.hear() == (names_of(1), UP)


def test_what_each_check_found_is_on_record_with_its_time(world: World) -> None:
    began_s = time.monotonic()
    world.watch(1, 2)
    world.let_ask(1, 3)
    world.refusing.add(1)
    assert world.hear() == (names_of(1), DOWN)
    assert eventually(lambda: not world.monitor.records()[names_of(1)].up, WAIT_S)
    down, up = (world.monitor.records()[names_of(one)] for one in (1, 2))
    assert down.last is not None and down.last.outcome.word == "refused" and down.in_a_row >= 2
    assert began_s < down.since_s <= down.last.at_s <= down.due_s
    assert len(down.times_s) == TIMES_KEPT and down.time_s is not None and 0 <= down.time_s < WAIT_S
    assert up.up and up.last is not None and up.last.outcome.ok and up.since_s < down.since_s
    world.watch(2)
    assert eventually(lambda: [*world.monitor.records()] == [names_of(2)], WAIT_S)


def test_what_this_host_lacks_is_told_once_and_changes_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.lacking = True
    world.watch(1, 2)
    world.let_ask(1)
    assert world.told.empty()
    said = [record.getMessage() for record in caplog.records]
    assert said == ["a check was left out, since this host could not make it: too many open files"]


def test_close_kills_a_command_that_is_under_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    note = tmp_path / "pid"
    script = (
        "import os, pathlib, sys, time;pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
    )
    check = Check("command", command=(sys.executable, "-c", script, str(note)), timeout_s=60.0)
    monitor = Monitor(lambda *_: None)
    monitor.change_to({names_of(1): Subject(LOOPBACK, 0, VIP, check)}, {})
    assert eventually(lambda: note.exists() and note.read_text(), WAIT_S)
    monitor.close()
    assert not Path(f"/proc/{note.read_text()}").exists()
    assert caplog.records == []


def test_close_breaks_off_what_is_under_way() -> None:
    async def never(*_: Any) -> socket.socket:
        await asyncio.sleep(3600)
        raise AssertionError

    hanging: Open = never
    monitor = Monitor(lambda *_: None, hanging)
    monitor.change_to({names_of(1): subject(1, timeout_s=3600.0)}, {})
    began = time.monotonic()
    monitor.close()
    monitor.close()
    assert time.monotonic() - began < WAIT_S


def test_hundreds_of_servers_are_asked_in_time(world: World) -> None:
    ports = range(1, 301)
    world.watch(*ports, interval_s=1.0, timeout_s=1.0)
    until = time.monotonic() + WAIT_S
    counts = dict.fromkeys(ports, 0)
    while min(counts.values()) < 2:
        counts[world.asked.get(timeout=max(0.0, until - time.monotonic()))] += 1
    assert max(counts.values()) <= 4, "they are not asked alike"


def test_checks_that_are_due_soon_begin_together_but_for_those_whose_time_counts() -> None:
    dues_s = [70.0001, 70.003, 70.0099]
    assert len({begins_s(subject(1), due_s) for due_s in dues_s}) == 1
    assert all(due_s <= begins_s(subject(1), due_s) < due_s + TOGETHER_S for due_s in dues_s)
    weighed = replace(subject(1), is_weighed=True)
    assert [begins_s(weighed, due_s) for due_s in dues_s] == dues_s


# ----------------------------------------------------------------------------- what a configuration asks for


def service(mode: str = "l2dsr", backend: str = "198.18.1.11", **fields: Any) -> Service:
    (made,) = balancer.services(["198.18.1.100:80"], [backend], mode=mode)
    return replace(made, **{"check": Check("tcp"), **fields})


@pytest.fixture
def asked_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    seen: list[dict[Names, Subject]] = []
    monkeypatch.setattr(Monitor, "change_to", lambda self, subjects, standings: seen.append(dict(subjects)))

    def of(one: Service) -> list[int]:
        Checks(queue.SimpleQueue(), {}, {}).change_to([one], {})
        return [subject.port for subject in seen[-1].values()]

    return of


def test_a_server_is_asked_at_the_vip_by_its_modes_path_unless_that_makes_no_sense(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Subject] = []
    monkeypatch.setattr(Monitor, "change_to", lambda self, subjects, _: seen.extend(subjects.values()))
    tried = [
        service("l2dsr"),
        service("l3dsr"),
        service("inline"),
        service("l2dsr", check=Check("tcp", direct=True)),
        service("l2dsr", check=Check("command", command=("true",))),
    ]
    for one in tried:
        Checks(queue.SimpleQueue(), {}, {}).change_to([one], {})
    assert [subject.mode for subject in seen] == ["l2dsr", "l3dsr", "", "", ""]


def test_a_server_is_asked_where_it_listens_unless_the_check_says_another_port(asked_of: Any) -> None:
    assert asked_of(service()) == [80]
    assert asked_of(service("inline", "198.18.1.11:8080")) == [8080]
    assert asked_of(service(check=Check("tcp", port=9))) == [9]
    assert asked_of(service(check=Check("icmp"))) == [0]
    assert asked_of(service(check=None)) == []


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (Check("tcp", **FAST), "refused"),
        (Check("command", command=(sys.executable, "-c", "raise SystemExit(3)")), "exit_code: 3"),
        (Check("command", command=(sys.executable, "-c", "import time; time.sleep(9)"), timeout_s=0.5),
         "no_answer: none within 0.5 s"),
    ],
)  # fmt: skip
def test_checks_go_to_servers_by_themselves(check: Check, why: str) -> None:
    told: Told = queue.Queue()
    monitor = Monitor(lambda names, health: told.put((names, health)))
    try:
        monitor.change_to({names_of(1): Subject(LOOPBACK, free_port(), VIP, check)}, {})
        assert told.get(timeout=WAIT_S) == (names_of(1), Health(False, why))
    finally:
        monitor.close()
