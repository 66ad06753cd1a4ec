"""Does no counter that somebody was told ever go back, whatever becomes of the process?"""

from __future__ import annotations

import re
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_running import RS1, RS2, Serve, to
from lab_wire import eventually, inside

from dsrlb.lab.balancer import Balancer, run_dsrlb
from dsrlb.lab.topology import Lab

PORT, DEADLINE_S = "9312", 20.0
FORWARDED = 'dsrlb_frames_total{reason="forwarded"}'


def scraped(lab: Lab) -> dict[str, float]:
    """Return what Prometheus would know of counters, by name and labels."""
    with (
        inside(lab.namespace("lb")),
        urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer,
    ):
        text = answer.read().decode()
    lines = re.findall(r"^(dsrlb_\w+_total(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


@pytest.fixture
def start(serve: Serve, tmp_path: Path) -> Callable[..., Balancer]:
    def begin(*backends: str) -> Balancer:
        more = ("--scheduler", "rr", "--metrics", PORT, "--state-dir", str(tmp_path / "state"))
        return serve(flags=to(*backends, more=more))

    return begin


@pytest.mark.both_engines(xdp_mode=["native"])
def test_no_total_is_smaller_after_whatever_end_and_none_is_counted_twice(
    lab: Lab, start: Callable[..., Balancer], client: Any
) -> None:
    running, seen, flows = start(RS1, RS2), {FORWARDED: 0.0}, 0
    for end, backends in ((signal.SIGKILL, (RS1,)), (signal.SIGTERM, (RS1, RS2))):
        assert client.requests(4)["errors"] == []
        flows += 4
        assert eventually(lambda: all_counted({**seen, **scraped(lab)}, flows), DEADLINE_S)  # noqa: B023 - asked at once
        seen = not_back(seen, scraped(lab))
        running.stop(end)
        running = start(*backends)
        seen = not_back(seen, scraped(lab))
    shown = run_dsrlb(lab, "lb", "show", "counters", "--admin", str(running.admin)).stdout
    assert int(re.findall(r"forwarded +(\d+)", shown)[0]) >= seen[FORWARDED] > flows
    assert are_counted_once(seen, flows)
    assert running.stop() == 0


def all_counted(now: dict[str, float], flows: int) -> bool:
    """Return whether so many flows are counted, and every packet of theirs (4 and more, the last a FIN's)."""
    return are_counted_once(now, flows) and now[FORWARDED] == sum_of(now, "packets") >= 4 * flows


def are_counted_once(now: dict[str, float], flows: int) -> bool:
    """Return whether so many flows are counted; one without its record counts again if it has more to say."""
    return flows <= sum_of(now, "flows") <= flows + 2


def sum_of(now: dict[str, float], what: str) -> float:
    return sum(value for name, value in now.items() if name.startswith(f"dsrlb_backend_{what}_total"))


def not_back(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    """Return all that is known now; a counter that went back fails the test."""
    assert FORWARDED in now
    assert {name: now[name] for name in before if name in now and now[name] < before[name]} == {}
    return {**before, **now}
