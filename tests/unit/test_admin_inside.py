"""Is what is inside a balancer shown as it is: the forwarding table, and health?"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import balancer
import pytest
from packets import VIP
from pretended_loop import A, Loop, rows, web

from dsrlb.admin import requests
from dsrlb.cli.tables import backend_note
from dsrlb.health import BY_NAME
from dsrlb.health.base import PASSED, Outcome, Subject
from dsrlb.health.mending import MENDING, mending
from dsrlb.health.record import Asked, Record, with_check
from dsrlb.model import Check
from dsrlb.standing import Ejection, Health, named

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(web(), folder=tmp_path)


def test_the_table_tells_slots_and_the_way_to_each_backend(loop: Loop) -> None:
    loop.ask(do="weight", backend=A, weight=2)
    (row,) = loop.ask(do="show", what="table")
    assert (row["cursor"], row["slots"], row["records_all"], row["transition"]) == ("counter", 4, True, None)
    shares = [(one["slots"], one["share"], one["weight"]) for one in row["targets"]]
    assert shares == [(2, 2, 2), (1, 1, 1), (1, 1, 1)]
    first = row["targets"][0]
    assert (first["name"], first["interface"], first["up"]) == ("rs1", "e0", True)
    assert first["mac"] == balancer.ALL_BACKENDS[0].partition("mac=")[2].partition(",")[0]


def test_the_table_tells_of_slots_that_change_hands_and_has_one_mark_for_the_same_picks() -> None:
    loop, other = Loop(web("maglev")), Loop(web("maglev"))
    (before,) = loop.ask(do="show", what="table")
    assert before["transition"] is None and before["mark"] == other.ask(do="show", what="table")[0]["mark"]
    loop.ask(do="drain", backend="rs1")
    (row,) = loop.ask(do="show", what="table")
    assert row["mark"] != before["mark"] and 895 < row["transition"]["ends_in_s"] <= 901
    assert row["transition"]["changing"] >= before["targets"][0]["slots"] and row["targets"][0]["slots"] == 0


def test_a_large_table_is_gathered_a_little_at_a_time(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "GO_ON_FOR_S", -1.0)
    loop = Loop(web(), replace(web(), port=81, label="other"), replace(web(), port=82, label="third"))
    answers, turns = loop.answers(do="show", what="table"), 0
    while not answers:
        loop.events.get_nowait()[1]()
        turns += 1
    assert turns == 3 and [row["service_name"] for row in answers[0]["answer"]] == ["web", "other", "third"]


def test_a_server_that_takes_nothing_makes_no_difference_to_the_mark() -> None:
    loop, other = Loop(web("maglev")), Loop(replace(web("maglev"), backends=web().backends[1:]))
    loop.ask(do="drain", backend="rs1")
    marks = {one.ask(do="show", what="table")[0]["mark"] for one in (loop, other)}
    assert len(marks) == 1


def test_a_server_that_is_ejected_is_shown_as_that_with_the_reason(loop: Loop) -> None:
    names = next(names for names, _ in named(loop.config.services[0]))
    loop.standings.hear(names, Ejection(True, "12 of 12 handshakes failed", time.monotonic() + 10), 1)
    row = rows(loop)[A]
    assert (row["standing"], row["why"]) == (["ejected"], "12 of 12 handshakes failed")
    assert 8 < row["ejected_left_s"] <= 10
    assert backend_note({**row, "ejected_left_s": 9.6}) == "12 of 12 handshakes failed; for 10 s more at most"


@pytest.mark.parametrize(
    ("address", "port", "mode", "asked"),
    [
        ("198.18.1.11", 80, "", "198.18.1.11:80"),
        ("198.18.1.11", 0, "", "198.18.1.11"),
        ("2001:db8::11", 80, "", "[2001:db8::11]:80"),
        ("198.18.1.11", 80, "l3dsr", f"{VIP}:80 at 198.18.1.11"),
    ],
)
def test_health_tells_where_a_server_is_asked(
    loop: Loop, address: str, port: int, mode: str, asked: str
) -> None:
    names = next(names for names, _ in named(loop.config.services[0]))
    subject = Subject(ip_address(address), port, ip_address(VIP), Check("tcp"), mode=mode)
    loop.checks.records = lambda: {names: Record(subject, True, 0, 0)}
    assert loop.ask(do="show", what="health")[0]["asked"] == asked


def test_every_word_of_the_page_on_checks_says_what_mends_it() -> None:
    page = (ROOT / "docs/health.md").read_text()
    table = page.partition("Fails with |")[2].partition("\n\n")[0]
    words = {word for row in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", row.split("|")[-2])}
    assert {"refused", "exit_code"} <= words <= MENDING.keys()


def test_a_hint_fits_the_kind_of_the_check() -> None:
    assert "firewall" in mending("tcp", "no_answer") and "timeout" in mending("command", "no_answer")
    assert "firewall" not in mending("command", "no_answer")
    for kind in ("tcp", "udp", "http", "https", "dns"):
        *_, compared = mending(kind, "bad_answer").partition("compare ")
        assert set(compared.split(" and ")) - {""} <= BY_NAME[kind].options


def test_health_tells_what_the_last_check_found_and_what_mends_it(loop: Loop) -> None:
    names, now_s = [names for names, _ in named(loop.config.services[0])], time.monotonic()
    asked = Subject(ip_address(A), 80, ip_address(VIP), Check("tcp"))
    fresh = Record(asked, True, now_s - 60, now_s + 1)
    passed = Asked(PASSED, now_s - 1, 0.002)
    failed = Asked(Outcome("refused"), now_s - 1, 0.002)
    loop.checks.records = lambda: {
        names[0]: with_check(fresh, failed, up=False),
        names[1]: with_check(with_check(fresh, passed, up=True), passed, up=True),
    }
    loop.standings.hear(names[0], Health(False, "refused"), now_s)
    loop.standings.hear(names[1], Ejection(True, "12 of 12 handshakes failed"), now_s)
    down, up, unasked = loop.ask(do="show", what="health")
    assert (down["state"], down["kind"], down["asked"], down["why"]) == ("down", "tcp", f"{A}:80", "refused")
    assert (down["last"]["word"], down["failed_in_a_row"], down["time_ms"]) == ("refused", 1, None)
    assert 1 <= down["since_s"] < 30 and "start the service" in down["mending"]
    assert (up["state"], up["passed_in_a_row"], up["time_ms"], up["mending"]) == ("up", 2, 2.0, "")
    assert 59 < up["since_s"] < 90 and 0 < up["next_in_s"] <= 1
    assert (up["ejected"], up["why_ejected"]) == (True, "12 of 12 handshakes failed")
    assert (unasked["state"], unasked["last"], unasked["asked"]) == ("unasked", None, None)
    assert Loop(web(check=None)).ask(do="show", what="health") == []
