"""Does a running balancer tell Prometheus, systemd, the log and an operator what clients did?"""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from lab_running import RS1, RS2, Serve, to
from lab_wire import inside

from dsrlb.lab.balancer import run_dsrlb
from dsrlb.lab.topology import Lab

PORT = "9311"


def page(lab: Lab, path: str) -> tuple[int, str]:
    with inside(lab.namespace("lb")):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()


def metric(text: str, name: str, backend: str) -> float:
    (line,) = [one for one in text.splitlines() if one.startswith(f'{name}{{backend="{backend}"')]
    return float(line.split()[-1])


def test_metrics_watchdog_log_and_top_tell_of_a_running_balancer(
    lab: Lab, serve: Serve, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager:
        service_manager.bind(str(tmp_path / "notify"))
        service_manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        more = ("--scheduler", "rr", "--metrics", PORT, "--log-format", "json")
        running = serve(flags=to(RS1, RS2, more=more))
        assert service_manager.recv(100) == b"READY=1"
        assert {service_manager.recv(100) for _ in range(3)} == {b"WATCHDOG=1"}
    assert client.requests(6)["errors"] == []
    with inside(lab.namespace("lb")):
        stuck = socket.create_connection(("127.0.0.1", int(PORT)), timeout=10)
    with stuck:  # and says nothing
        status, text = page(lab, "/metrics")
    assert status == 200
    for backend in (RS1, RS2):
        assert metric(text, "dsrlb_backend_flows_total", backend) == 3
        assert metric(text, "dsrlb_backend_up", backend) == 1
    assert page(lab, "/healthz") == (200, "ok\n")
    assert page(lab, "/readyz")[0] == 200
    looked = ("top", "--count", "1", "--interval", "0.2", "--json", "--admin", str(running.admin))
    rows = json.loads(run_dsrlb(lab, "lb", *looked).stdout)
    assert [(row["backend"], row["standing"], row["expected_percent"]) for row in rows] == [
        (RS1, ["up"], 50.0),
        (RS2, ["up"], 50.0),
    ]
    again = run_dsrlb(
        lab, "lb", "serve", "--admin", "off", "--force", "--metrics", PORT, *to(RS1, vip="198.18.1.101")
    )
    assert again.returncode == 3
    assert again.stderr.splitlines()[-1].startswith(
        f"dsrlb: Another process listens at 127.0.0.1:{PORT}; name"
    )
    assert running.stop() == 0
    events = [json.loads(line) for line in running.stderr.splitlines()]
    assert any(one["event"].startswith("ready: ") and one["level"] == "info" for one in events)
