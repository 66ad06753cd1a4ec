"""Do servers that answer sooner get more, and does that follow when they become slow and recover?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from golden_haproxy import needs_haproxy
from lab_delay import Slow, slow
from lab_running import Serve
from lab_wire import eventually, flags, inside

from dsrlb.lab.balancer import run_dsrlb
from dsrlb.lab.topology import VIP, Lab

LONG_S = 40.0
REQUESTS, AT_ONCE = 75, 15
APP_PORT = 8091
Shares = dict[str, float]


@pytest.fixture
def servers(lab: Lab) -> Iterator[dict[str, Slow]]:
    """Servers whose answers come late, from the VIP and from their own addresses."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(slow(lab, name, late_ms / 1000, (VIP, own)))
            for name, own, late_ms in zip(lab.server_names, lab.server_addresses(), (2, 10, 50), strict=True)
        }


def shares(client: Any, port: int = 80) -> Shares:
    """Return how much of some new connections each server gets, in per cent."""
    answers = client.requests(REQUESTS, parallel=AT_ONCE, port=port)
    assert answers["errors"] == []
    counted = Counter(answers["servers"])
    return {name: 100 * counted[name] / REQUESTS for name in ("rs1", "rs2", "rs3")}


def comes(client: Any, true: Callable[[Shares], bool], port: int = 80) -> bool:
    """Wait until new connections are shared so, while they go on."""
    return eventually(lambda: true(shares(client, port)), LONG_S)


def near(share: Shares, *expected: float) -> bool:
    return all(abs(one - other) < 10 for one, other in zip(share.values(), expected, strict=True))


@pytest.mark.both_engines(xdp_mode=["native"])
def test_by_clients_handshakes_alone_a_server_that_becomes_slow_is_left_and_taken_back(
    lab: Lab, serve: Serve, client: Any, servers: dict[str, Slow]
) -> None:
    """Of 2, 10 and 50 ms the differences are seen: 1, 9 and 49 ms make 100, 10 and 5 per cent."""
    serve(flags=flags(lab, f"{VIP}:80", scheduler="response"))
    assert comes(client, lambda share: near(share, 87, 9, 4))
    servers["rs1"].delay_s = 0.05
    assert comes(client, lambda share: share["rs1"] < 15 and share["rs2"] > 70)
    servers["rs1"].delay_s = 0.002
    assert comes(client, lambda share: share["rs1"] > 60)


def test_by_probes_and_handshakes_the_whole_times_decide(
    lab: Lab, serve: Serve, client: Any, servers: dict[str, Slow]
) -> None:
    """The kernel's time of a connection is exact, however busy the process: 100, 20 and 5 per cent."""
    serve("--check", "tcp", flags=flags(lab, f"{VIP}:80", scheduler="response"))
    assert comes(client, lambda share: near(share, 80, 16, 4))


# ------------------------------------------------------------------------- an application that is slow


class Application(ThreadingHTTPServer):
    """Answers at once that it is there, and after a while who it is."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        self.name, self.wait_s, self.over = name, 0.002, Event()
        super().__init__(("", APP_PORT), Answer)


class Answer(BaseHTTPRequestHandler):
    server: Application

    def do_GET(self) -> None:
        self.server.over.wait(self.server.wait_s)
        self.send_response(200)
        self.send_header("X-Server", self.server.name)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def applications(lab: Lab) -> Iterator[dict[str, Application]]:
    with ExitStack() as stack:
        running = {}
        for name in lab.server_names:
            with inside(lab.namespace(name)):
                one = running[name] = stack.enter_context(Application(name))
            stack.callback(one.shutdown)
            stack.callback(one.over.set)
            Thread(target=partial(one.serve_forever, 0.01), daemon=True).start()
        yield running


def test_by_http_checks_an_application_that_answers_late_is_left_and_taken_back(
    lab: Lab, serve: Serve, client: Any, applications: dict[str, Application]
) -> None:
    """Handshakes say nothing of it: the kernel makes them."""
    slow = applications["rs2"]
    slow.wait_s = 0.2
    check = "http,interval=0.5,fast_interval=0.25"
    serve("--check", check, flags=flags(lab, f"{VIP}:{APP_PORT}", scheduler="response"))
    assert comes(client, lambda share: share["rs2"] < 12, APP_PORT)
    slow.wait_s = 0.002
    assert comes(client, lambda share: share["rs2"] > 20, APP_PORT)


PROXIED = """\
interfaces = ["e0"]
[[service]]
vip = "{vip}:{port}"
mode = "proxy"
scheduler = "response"
[service.proxy]
layer = 7
"""


@needs_haproxy
def test_by_clients_requests_in_mode_proxy_a_server_that_answers_late_is_left_and_taken_back(
    lab: Lab, serve: Serve, client: Any, applications: dict[str, Application], tmp_path: Path
) -> None:
    """HAProxy measures them; nothing is checked."""
    slow, file = applications["rs2"], tmp_path / "dsrlb.toml"
    servers = (f'[[service.backend]]\naddress = "{one}"\n' for one in lab.server_addresses())
    file.write_text(PROXIED.format(vip=VIP, port=APP_PORT) + "".join(servers))
    slow.wait_s = 0.2
    running = serve(flags=["--config", str(file)])
    assert comes(client, lambda share: share["rs2"] < 12, APP_PORT)
    said = run_dsrlb(lab, "lb", "show", "backends", "--admin", str(running.admin)).stdout
    assert "clients' answers 2" in said, said
    slow.wait_s = 0.002
    assert comes(client, lambda share: share["rs2"] > 20, APP_PORT)
