"""Are decisions told as they were, those that are asked for, and as many as there is room for?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import balancer
import packets as p
import pytest
from click.testing import CliRunner
from pretended_loop import Loop, web

from dsrlb.admin import tracing as sessions
from dsrlb.cli import asking as commands
from dsrlb.cli import cli
from dsrlb.cli import trace as command
from dsrlb.cli.trace import line
from dsrlb.control.ticks import Tick
from dsrlb.datapath import decide
from dsrlb.engines.tap import Tap, TapTracer, unknown
from dsrlb.engines.tracing import Decision, Waiting
from dsrlb.errors import HostError
from dsrlb.frameio.pcap import read_pcap
from dsrlb.model import Action, Reason
from dsrlb.state import State

SYN = p.tcp(sport=40_000, flags="S")
ROW = {
    "time": "2026-01-02T03:04:05.000006Z",
    "at_ns": 1_767_323_045_000_006_000,
    "by": "xdp",
    "verdict": "sent",
    "reason": "forwarded",
    "interface": "e0",
    "from": "198.18.0.2:40000",
    "to": "198.18.1.100:80",
    "kind": "tcp",
    "says": "SYN",
    "service": "198.18.1.100:80/tcp",
    "service_name": "web",
    "backend": "198.18.1.12",
    "name": "rs2",
    "bytes": 60,
    "sent": [{"interface": "e1", "bytes": 60, "frame": "AQID"}],
    "frame": "AQI=",
}


class Balancer:
    """A data path with a tap."""

    name = "packet"

    def __init__(self, loop: Loop) -> None:
        self.loop, self.tap, self.state = loop, None, State()
        self.tap: Tap | None

    def meets(self, *frames: bytes) -> None:
        """Decide on frames, as the engine does."""
        known: Any = unknown
        for frame in frames:
            does = decide if self.tap is None else self.tap.around(known, decide)
            does(
                bytes(frame),
                balancer.IFINDEX,
                self.loop.engine.table,
                self.state,
                int(time.monotonic()),
                None,
            )


class At(Loop):
    """A loop that somebody can trace."""

    def __init__(self) -> None:
        super().__init__(web(scheduler="rr"))
        self.trace: Any = None
        self.ticks: list[Tick] = []
        self.data_path = Balancer(self)
        self.engine.tracer = lambda: TapTracer(self.data_path)

    def begin(self, **words: Any) -> int:
        """Begin a trace; return its number."""
        answers: list[dict[str, Any]] = []
        sessions.handle_trace(self, {"step": "begin", **words}, answers.append)  # type: ignore[arg-type]
        self.events.get(timeout=10)[1]()
        (answer,) = answers
        if not answer["ok"]:
            raise AssertionError(answer["error"])
        return int(answer["answer"]["trace"])

    def rows(self, number: int, step: str = "more") -> list[dict[str, Any]]:
        """Return what is told."""
        rows: list[dict[str, Any]] = self.ask(do="trace", step=step, trace=number)["decisions"]
        return rows


@pytest.fixture
def loop() -> At:
    return At()


def test_a_decision_is_told_with_flow_backend_and_reason(loop: At) -> None:
    number = loop.begin()
    loop.data_path.meets(SYN, p.tcp(sport=1, dport=81, flags="S"), p.who_has())
    told = [
        (row["verdict"], row["reason"], row["from"], row["backend"], row["name"]) for row in loop.rows(number)
    ]
    assert told == [
        ("sent", "forwarded", f"{p.CLIENT}:40000", "198.18.1.11", "rs1"),
        ("drop", "no_service", f"{p.CLIENT}:1", "", ""),
        ("sent", "arp_reply", p.ROUTER, "", ""),
    ]
    assert loop.rows(number) == []


@pytest.mark.parametrize(
    ("asked", "ports"),
    [
        ({"client": "198.18.0.2"}, [1, 2, 3, 4]),
        ({"client": "203.0.113.0/24"}, []),
        ({"service": "web"}, [1, 2, 3]),
        ({"backend": "rs2"}, [2]),
        ({"backend": "198.18.1.13", "service": "web"}, [3]),
        ({"reason": "no_service"}, [4]),
        ({"reason": "no_service,forwarded"}, [1, 2, 3, 4]),
        ({"every": 2}, [1, 3]),
        ({"reason": "forwarded", "every": 3}, [1]),
    ],
)
def test_only_what_is_asked_for_is_told(asked: dict[str, Any], ports: list[int], loop: At) -> None:
    number = loop.begin(**asked)
    loop.data_path.meets(*(p.tcp(sport=port, flags="S") for port in (1, 2, 3)))
    loop.data_path.meets(p.tcp(sport=4, dport=81, flags="S"))
    assert [int(row["from"].rpartition(":")[2]) for row in loop.rows(number)] == ports


def test_the_host_s_own_frames_are_told_where_they_are_asked_for(loop: At) -> None:
    others = p.tcp(dst=p.ROUTER), p.who_has(target=p.STRANGER)
    number = loop.begin()
    loop.data_path.meets(*others, SYN)
    assert [row["reason"] for row in loop.rows(number, "end")] == ["forwarded"]
    number = loop.begin(reason="not_vip,arp_other")
    loop.data_path.meets(*others, SYN)
    assert [row["reason"] for row in loop.rows(number)] == ["not_vip", "arp_other"]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"reason": "gremlins"}, "no reason is 'gremlins'"),
        ({"client": "somebody"}, "client 'somebody' is neither an address"),
        ({"service": "nowhere"}, "no service is 'nowhere'"),
        ({"backend": "nobody"}, "no backend is 'nobody'"),
        ({"every": 0}, "every 0 is not 1 to"),
        ({"colour": "red"}, "this request has no 'colour'"),
    ],
)
def test_what_nobody_can_ask_for_is_one_sentence(asked: dict[str, Any], why: str, loop: At) -> None:
    assert why in loop.error(do="trace", step="begin", **asked)
    assert loop.trace is None and loop.ticks == []


def test_frames_are_told_only_where_they_are_asked_for(loop: At) -> None:
    number = loop.begin()
    loop.data_path.meets(SYN)
    assert "frame" not in json.dumps(loop.rows(number, "end"))
    number = loop.begin(frames=True)
    loop.data_path.meets(SYN)
    [row] = loop.rows(number)
    assert row["frame"] and row["sent"][0]["frame"] != row["frame"]


def test_the_end_is_as_the_beginning_was(loop: At) -> None:
    number = loop.begin()
    assert loop.data_path.tap is not None
    loop.data_path.meets(SYN)
    assert len(loop.rows(number, "end")) == 1
    assert loop.data_path.tap is None and loop.trace is None and loop.ticks == []
    assert "this trace is over" in loop.error(do="trace", step="more", trace=number)


def test_one_at_a_time_traces_and_who_does_not_ask_any_more_is_gone(
    loop: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = loop.begin()
    assert "somebody traces this dsrlb already" in loop.error(do="trace", step="begin")
    monkeypatch.setattr(sessions, "GIVES_WAY_AFTER_S", 0.0)
    assert loop.begin() != number
    assert loop.data_path.tap is not None
    monkeypatch.setattr(sessions, "LEFT_AFTER_S", 0.0)
    [tick] = loop.ticks
    tick.do()
    assert loop.data_path.tap is None and loop.trace is None


def test_an_engine_that_cannot_tell_says_why(loop: At) -> None:
    def refuse() -> TapTracer:
        raise HostError("this kernel has no ring buffers.")

    loop.engine.tracer = refuse
    with pytest.raises(AssertionError, match="no ring buffers"):
        loop.begin()
    assert loop.trace is None and loop.ticks == []


def test_what_finds_no_room_is_counted_and_what_waits_stays() -> None:
    waiting = Waiting(most=2)
    decisions = [Decision(at, "packet", 1, Action.DROP, Reason.NO_SERVICE, b"", 0) for at in range(3)]
    for one in decisions:
        waiting.put(one)
    assert (waiting.take(9), waiting.lost) == (decisions[:2], 1)
    assert waiting.take(9) == []


def test_a_line_has_time_verdict_reason_flow_backend_and_ways() -> None:
    said = line(ROW)
    assert said.split("  ")[0] == "03:04:05.000006"
    assert " ".join(said.split()[1:]) == (
        "sent forwarded 198.18.0.2:40000 > 198.18.1.100:80 tcp SYN; to 198.18.1.12 (rs2); e0 > e1"
    )
    dropped = {**ROW, "verdict": "drop", "reason": "no_backend", "backend": "", "sent": []}
    assert line(dropped).endswith("tcp SYN; service 198.18.1.100:80/tcp (web); e0")


class Asked:
    """Stands in for a running dsrlb."""

    def __init__(self, *answers: Any) -> None:
        self.answers: Iterator[Any] = iter(answers)
        self.requests: list[dict[str, Any]] = []

    def __call__(self, path: Path, request: dict[str, Any]) -> Any:
        self.requests.append(request)
        if request["step"] == "begin":
            return {"trace": 7}
        answer = next(self.answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Asked]]:
    def run(*words: str, answers: list[Any]) -> tuple[Any, Asked]:
        asked = Asked(*answers)
        monkeypatch.setattr(commands, "ask_at", asked)
        monkeypatch.setattr(command.time, "sleep", lambda _: None)
        return CliRunner().invoke(cli, ["trace", *words]), asked

    return run


def answer(rows: int, lost: int = 0) -> dict[str, Any]:
    return {"decisions": [ROW] * rows, "lost": lost}


def test_the_command_asks_for_what_was_said_and_stops_after_so_many(traced: Any) -> None:
    words = ("--client", "198.18.0.0/24", "--reason", "no_service", "--reason", "forwarded", "--every", "9")
    done, asked = traced(*words, "--count", "3", answers=[answer(2), answer(0), answer(2), answer(5)])
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 3
    assert asked.requests[0] == {
        "do": "trace",
        "step": "begin",
        "client": "198.18.0.0/24",
        "reason": "no_service,forwarded",
        "every": 9,
    }
    assert asked.requests[-1] == {"do": "trace", "step": "end", "trace": 7}
    assert (
        done.stderr == "dsrlb: frames are told from now on; Ctrl-C ends it\ndsrlb: 3 decisions told, 0 not\n"
    )


def test_what_was_lost_is_told_as_it_happens(traced: Any) -> None:
    done, _ = traced(
        "--json", answers=[answer(1), answer(1, 5), answer(1, 12), KeyboardInterrupt(), answer(0, 12)]
    )
    assert "5 more were not told" in done.stderr and "7 more were not told" in done.stderr
    assert done.stderr.endswith("decisions told, 12 not\n")
    assert all("frame" not in json.loads(one) for one in done.stdout.splitlines())


def test_the_file_has_each_frame_before_and_after(traced: Any, tmp_path: Path) -> None:
    done, asked = traced("--pcap", str(tmp_path / "a"), "--count", "1", answers=[answer(1), answer(0)])
    assert done.exit_code == 0 and asked.requests[0]["frames"] is True
    assert [frame for _, frame in read_pcap(tmp_path / "a")] == [b"\1\2", b"\1\2\3"]


def test_a_file_that_cannot_be_written_is_told_before_anything_is_asked(traced: Any, tmp_path: Path) -> None:
    done, asked = traced("--pcap", str(tmp_path / "no" / "a"), answers=[])
    assert "cannot be written" in str(done.exception) and asked.requests == []
