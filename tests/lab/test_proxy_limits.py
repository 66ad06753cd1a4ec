"""Limits of mode proxy by ``dsrlb serve``: is what was refused told, and does a reload keep the count?"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from golden_haproxy import needs_haproxy
from lab_wire import TEST_PREFIX, eventually

from dsrlb.lab.balancer import Balancer, run_dsrlb, serve
from dsrlb.lab.client import ask
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import MORE_CLIENTS, Lab

pytestmark = needs_haproxy
VIP = "198.18.1.100"
SERVICE = f"{VIP}:80/tcp"
TEXT = """\
interfaces = ["e0"]
[[service]]
vip = "198.18.1.100:80"
mode = "proxy"
[service.proxy]
layer = 7
[service.limits]
requests = "{rate}"
{more}
[[service.backend]]
address = "198.18.2.11"
"""


@pytest.fixture(scope="module")
def lab(shared_directories: None) -> Iterator[Lab]:
    with standing(Lab(prefix=f"{TEST_PREFIX}pl-", mode="inline", servers=1)) as it:
        yield it


@pytest.fixture
def file(lab: Lab) -> Path:
    path = lab.run_directory / "limits.toml"
    path.write_text(TEXT.format(rate="10/60", more=""))
    return path


@pytest.fixture
def balancer(lab: Lab, file: Path) -> Iterator[Balancer]:
    it = serve(lab, ["--config", str(file), "--instance", f"{TEST_PREFIX}limits"])
    yield it
    it.stop()


def refused(lab: Lab, balancer: Balancer) -> dict[tuple[str, bool], int]:
    """Return what ``dsrlb show counters`` says, by reason and whether it was only counted."""
    said = run_dsrlb(lab, "lb", "show", "counters", "--json", "--admin", str(balancer.admin))
    rows: list[dict[str, Any]] = [row for row in json.loads(said.stdout) if row.get("service") == SERVICE]
    return {(row["reason"], row["only_counted"]): row["refused"] for row in rows}


def requests(lab: Lab, count: int, source: object) -> list[str]:
    """Return what went wrong with requests of a client, by words."""
    said = ask(lab, "requests", host=VIP, count=count, source=str(source), lost_max=count)
    return list(said["errors"])


def test_refusals_are_told_by_reason_and_go_on_being_counted_over_reloads(
    lab: Lab, balancer: Balancer, file: Path
) -> None:
    bad, neighbour = MORE_CLIENTS[:2]
    assert requests(lab, 15, bad) == ["HTTPException: status 429"] * 5
    assert requests(lab, 10, neighbour) == []
    assert refused(lab, balancer) == {("too_many_requests", False): 5}
    file.write_text(TEXT.format(rate="5/60", more="shadow = true"))
    seen = len(balancer.stderr)
    balancer.process.send_signal(signal.SIGHUP)
    balancer.wait_for("reloaded", since=seen)
    assert requests(lab, 15, bad) == []
    assert eventually(lambda: refused(lab, balancer).get(("too_many_requests", True)) == 10, 10)
    assert refused(lab, balancer)["too_many_requests", False] == 5
    table = run_dsrlb(lab, "lb", "show", "counters", "--admin", str(balancer.admin)).stdout
    assert any(line.split() == [SERVICE, "too_many_requests", "5", "-"] for line in table.splitlines()), table
