"""Does the benchmark of churn notice each connection that breaks, and say so?"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dsrlb.bench.churn.events import EVENTS
from dsrlb.bench.churn.heart import Heart
from dsrlb.bench.churn.holder import Holder
from dsrlb.bench.churn.run import Outcome, Row, as_json, cases, causes, head, line, summary
from dsrlb.bench.churn.stand import Case

WITHIN_S = 30.0
SOURCES = ["127.0.0.1", "127.0.0.2"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@pytest.fixture
def heart() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that beats, and its port."""
    port = free_port()
    command = [sys.executable, "-m", "dsrlb.bench.churn.heart", "rs1", "127.0.0.1", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    yield process, port
    process.kill()
    process.communicate()


def test_connections_are_held_and_asked_and_those_let_go_do_not_count_as_broken(
    heart: tuple[subprocess.Popen[str], int],
) -> None:
    holder = Holder("127.0.0.1", heart[1], SOURCES)
    assert holder.hold(50, WITHIN_S) == {"held": {"rs1": 50}, "failed": []}
    assert holder.beat(WITHIN_S) == {"broken": [], "slowest_s": pytest.approx(0, abs=20), "held": 50}
    holder.let_go(20)
    assert holder.beat(WITHIN_S)["held"] == 30
    assert holder.hold(50, WITHIN_S)["held"] == {"rs1": 50}


def test_when_the_server_dies_all_of_its_connections_are_broken_and_none_can_be_opened(
    heart: tuple[subprocess.Popen[str], int],
) -> None:
    process, port = heart
    holder = Holder("127.0.0.1", port, SOURCES)
    holder.hold(20, WITHIN_S)
    process.kill()
    process.wait()
    answer = holder.beat(WITHIN_S)
    assert answer["held"] == 0 and len(answer["broken"]) == 20
    assert {server for server, _ in answer["broken"]} == {"rs1"}
    assert {cause for _, cause in answer["broken"]} <= {"reset", "closed"}
    after = holder.hold(3, WITHIN_S)
    assert after["held"] == {} and set(after["failed"]) == {"refused"}


def test_who_does_not_answer_in_time_is_silent() -> None:
    port = free_port()
    server = Heart("rs1", "127.0.0.1", [port])
    holder = Holder("127.0.0.1", port, SOURCES)
    # Served for as long as it takes to open them, and then no more.
    opened = holder._turn
    holder._turn = lambda wait_s, failed: (server.turn(), opened(wait_s, failed))[1]  # type: ignore[method-assign]
    assert holder.hold(3, WITHIN_S)["held"] == {"rs1": 3}
    holder._turn = opened  # type: ignore[method-assign]
    assert holder.beat(0.3)["broken"] == [("rs1", "silent")] * 3


def outcome(event: str, broken: int = 0, own: int = 0, is_promised: bool = True) -> Outcome:
    return Outcome(event, 100, own, own, broken, {"reset": broken} if broken else {}, 0.25, is_promised)


ROW = Row(
    Case("packet", "l2dsr", "wrr"), (outcome("add"), outcome("kill", own=25), outcome("crash", 7, 0, False))
)
WRONG = Row(Case("xdp", "l3dsr", "maglev", 2), (outcome("lose", 3),))


def test_a_row_says_how_many_broke_and_marks_what_was_promised_otherwise() -> None:
    events = ["add", "kill", "crash", "lose"]
    assert head(events).split() == ["engine", "mode", "scheduler", *events]
    assert line(ROW, events).split() == ["packet", "l2dsr", "wrr", "0", "0", "+25", "7", "-"]
    assert line(WRONG, events).split() == ["xdp", "l3dsr*2", "maglev", "-", "-", "-", "3!"]
    assert ROW.is_kept and not WRONG.is_kept
    assert causes([ROW, WRONG]) == [
        "packet l2dsr wrr, crash: 7 reset",
        "xdp l3dsr*2 maglev, lose: 3 reset; promised: none",
    ]
    assert "1 promises were NOT kept" in summary([ROW, WRONG], events, 0)[-1]
    assert '"kept": false' in as_json([WRONG], 0)


def test_the_cases_are_those_that_the_events_are_for() -> None:
    both = cases(["packet"], ["l2dsr", "l3dsr"], ["rr"], ["add", "lose"])
    assert [(one.mode, one.balancers) for one in both] == [("l2dsr", 1), ("l3dsr", 1), ("l3dsr", 2)]
    assert [one.balancers for one in cases(["xdp"], ["l3dsr"], ["rr"], ["lose"])] == [2]
    assert {one.balancers for one in EVENTS.values()} == {1, 2}


@pytest.mark.parametrize("word", ["--events=add,explode", "--mode=proxy", "--held=1"])
def test_a_wrong_word_is_refused_before_anything_is_built(word: str) -> None:
    command = [sys.executable, "-m", "dsrlb.bench", "churn", word]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
