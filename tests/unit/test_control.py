"""Does the control loop stay bounded, whatever the network says?"""

from __future__ import annotations

import logging
import queue
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import balancer
import pytest

from dsrlb.control import front as control_front
from dsrlb.control import loop as control_loop
from dsrlb.control.front import Front
from dsrlb.control.loop import Loop
from dsrlb.control.reloading import Reloads
from dsrlb.control.standings import Standings, standing_event
from dsrlb.errors import ConfigError
from dsrlb.host import frames, guard
from dsrlb.host.links import Link
from dsrlb.model import Check, person_mac
from dsrlb.standing import Health, named

VIP, OTHER = ip_address("198.18.1.100"), ip_address("198.18.1.101")
OWN = bytes.fromhex("0200c6120110")


def front() -> tuple[Front, queue.SimpleQueue[tuple[str, ...]]]:
    """Return two VIPs on an interface, and the queue on which claims are told."""
    events: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()
    here = SimpleNamespace(ifindex=2, mac=OWN, name="e0")
    ground = SimpleNamespace(vips=(VIP, OTHER), guarded=(VIP, OTHER), hosted=(), lent=(), links=(here,))
    return Front(ground, guard.Claim({}), events), events  # type: ignore[arg-type]  # a stand-in


def hear(it: Front, mac: bytes, vip: object) -> None:
    it.hear_claim(frames.gratuitous_arp(mac, vip)[0], 2)  # type: ignore[arg-type]  # any address


def test_claims_of_many_forged_macs_grow_neither_memory_nor_log() -> None:
    heard, events = front()
    for number in range(200):
        hear(heard, b"\x02\0\0\0" + number.to_bytes(2, "big"), VIP)
    assert events.qsize() == len(heard._told_until) == 1


def test_each_vip_s_first_claim_is_told_and_the_balancer_s_own_is_not() -> None:
    (heard, events), mac = front(), bytes.fromhex("0200c6120111")
    for vip in (VIP, OTHER):
        hear(heard, OWN, vip)
    assert events.empty()
    for vip in (VIP, OTHER):
        hear(heard, mac, vip)
    told = [events.get() for _ in range(2)]
    assert told == [("claim", str(vip), person_mac(mac), "e0", False) for vip in (VIP, OTHER)]


def test_a_backend_s_claim_is_told_beside_a_stranger_s_and_its_question_beside_its_answer() -> None:
    (heard, events), backend = front(), bytes.fromhex("0200c6120111")
    heard.known_macs = frozenset((backend,))
    for mac in (b"\x02\0\0\0\0\1", backend, backend):
        hear(heard, mac, VIP)
    heard.hear_claim(frames.arp_request(backend, VIP, OTHER), 2)  # type: ignore[arg-type]  # as above
    told = [events.get()[2::2] for _ in range(events.qsize())]
    assert told == [("02:00:00:00:00:01", False), (person_mac(backend), False), (person_mac(backend), True)]


def test_an_interface_that_is_seen_down_on_its_way_out_is_told_to_be_gone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here, _), x0 = front(), Link(2, "x0", OWN, 1500, True, (), ())
    here.links = {2: x0}
    monkeypatch.setattr(here, "keep_guard", lambda: None)
    for now in (replace(x0, up=False), None, None):
        monkeypatch.setattr(control_front, "link_at", lambda _, now=now: now)
        here.look_at_links()
    assert caplog.messages == ["interface x0 is down", "interface x0 is down (gone)"]


def test_a_failure_that_goes_on_is_told_once_and_one_that_comes_back_is_told_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop, clock = SimpleNamespace(complaints={}), SimpleNamespace(now=0.0)
    monkeypatch.setattr(control_loop.time, "monotonic", lambda: clock.now)

    def look(error: Exception | None) -> None:
        if error:
            raise error

    def attempt(error: Exception | None) -> int:
        clock.now += 1
        caplog.clear()
        Loop.attempt(loop, lambda: look(error))  # type: ignore[arg-type]  # a stand-in
        return len([one for one in caplog.records if one.levelno == logging.WARNING])

    one, other = OSError("no buffer space"), OSError("no such device")
    assert [attempt(one) for _ in range(100)] == [1] + [0] * 99
    assert [attempt(one), attempt(other), attempt(one), attempt(other)] == [0, 1, 0, 0]
    assert [attempt(None) for _ in range(100)] == [0] * 100
    assert attempt(one) == 1


def test_standings_and_neighbours_that_come_at_once_cost_one_look() -> None:
    web = replace(balancer.services(["198.18.1.100:80"])[0], check=Check("tcp"))
    looks: list[object] = []
    loop = SimpleNamespace(
        standings=Standings([web]),
        events=queue.SimpleQueue(),
        engine=SimpleNamespace(table=None),
        observed=SimpleNamespace(relent=lambda _: None),
        look_again=lambda: looks.append("known"),
    )
    loop.events.put(("neighbour",))
    for names, _ in named(web):
        loop.events.put(standing_event(names, Health(False, "no answer")))
    loop.events.put(("neighbour",))
    while not loop.events.empty():
        Loop.react(loop, loop.events.get())  # type: ignore[arg-type]  # a stand-in
    assert looks == ["known"]
    assert not any(one.up for one in loop.standings.of.values())


def prepared(outcome: object) -> Any:
    """Return a reload that was prepared, with this outcome."""
    return SimpleNamespace(outcome=outcome)


def test_who_asks_for_a_reload_is_told_of_one_that_reads_the_file_after_that() -> None:
    outcomes = [ConfigError("dsrlb.toml:1: one", "dsrlb.toml:2: two"), None]
    reloads = Reloads(lambda: prepared(outcomes.pop(0)), lambda _: None)
    told: list[tuple[str, Sequence[str]]] = []
    reloads.begin(lambda problems: told.append(("first", problems)))
    reloads.begin(lambda problems: told.append(("second", problems)))
    reloads.end()
    assert told == [("first", ["dsrlb.toml:1: one", "dsrlb.toml:2: two"])]
    reloads.end()
    assert told[1:] == [("second", [])]


def test_what_must_not_run_beside_a_reload_waits_for_it_and_reloads_wait_for_that() -> None:
    happened: list[str] = []

    def prepare() -> Any:
        happened.append("reload")
        return prepared(None)

    reloads = Reloads(prepare, lambda _: None)
    reloads.begin()
    reloads.beside(lambda: happened.append("plan"))
    reloads.beside(lambda: happened.append("another"))
    assert happened == ["reload"]
    reloads.end()
    reloads.begin()
    assert happened == ["reload", "plan"]
    reloads.free()
    assert happened == ["reload", "plan", "reload"]
    reloads.end()
    assert happened == ["reload", "plan", "reload", "another"]


def test_a_reload_that_fails_in_an_unknown_way_is_not_told_as_done() -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    told: list[Sequence[str]] = []
    reloads = Reloads(lambda: prepared(object()), fail)
    reloads.begin(told.append)
    with pytest.raises(ZeroDivisionError):
        reloads.end()
    assert told == [["the reload failed; see the log of dsrlb"]]
