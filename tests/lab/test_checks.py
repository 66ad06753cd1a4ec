"""Is a server that fails noticed in time, named, left alone, and taken back when it is there again?"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab_clients import LONG_S, PORT, Clients, clients_of
from lab_reload import service
from lab_running import RS1, RS2, RS3, Serve
from lab_wire import eventually, inside, soon

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import Lab

SERVERS = {"rs1": RS1, "rs2": RS2, "rs3": RS3}
INTERVAL_S, FALL, RISE, SLACK_S = 0.3, 3, 2, 0.5
CHECK = f"[service.check]\nkind = 'tcp'\ninterval = {INTERVAL_S}\nfall = {FALL}\nrise = {RISE}\n"
NOBODY = 9


@pytest.fixture
def clients(lab: Lab) -> Iterator[Clients]:
    with clients_of(lab) as it:
        yield it


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], list[str]]:
    def flags(services: str) -> list[str]:
        file = tmp_path / "dsrlb.toml"
        file.write_text(f'interfaces = ["e0"]\n{services}')
        return ["--config", str(file)]

    return flags


def times_logged(running: Balancer, name: str, words: str) -> int:
    return len(re.findall(rf"backend {re.escape(SERVERS[name])} of \S+ {words}", running.stderr))


def who_answers(clients: Clients, count: int = 12) -> set[str]:
    return {clients.connect()[0] for _ in range(count)}


@pytest.mark.both_engines(xdp_mode=["native"])
def test_a_dead_listener_gets_no_new_traffic_and_comes_back(
    serve: Serve, clients: Clients, config: Callable[[str], list[str]]
) -> None:
    running = serve(flags=config(service(*SERVERS.values(), port=PORT, more=CHECK)))
    held = [(name, sock) for name, sock in (clients.connect() for _ in range(12)) if name != "rs1"]
    assert {name for name, _ in held} == {"rs2", "rs3"} and "is down" not in running.stderr

    def falls(number: int) -> float:
        clients.listeners.pop("rs1").socket.close()
        began = time.monotonic()
        told = "is down: refused"
        assert eventually(lambda: times_logged(running, "rs1", told) > number, LONG_S), running.stderr
        assert eventually(lambda: who_answers(clients) == {"rs2", "rs3"}, LONG_S)
        took_s = time.monotonic() - began
        clients.listeners["rs1"] = clients.listen("rs1")
        assert eventually(lambda: times_logged(running, "rs1", "is up again") > number, LONG_S)
        assert eventually(lambda: "rs1" in who_answers(clients), LONG_S)
        return took_s

    soon(falls, FALL * INTERVAL_S + SLACK_S)
    for name, sock in held:
        server = clients.server_of(sock)
        server.sendall(b"still " + name.encode())
        assert sock.recv(16) == b"still " + name.encode()
    assert not re.search(r"198\.18\.1\.1[23] of \S+ is down", running.stderr)
    assert running.stop() == 0


@pytest.mark.both_engines(xdp_mode=["native"])
def test_when_all_servers_fail_their_checks_the_service_says_what_becomes_of_clients(
    lab: Lab, serve: Serve, clients: Clients, config: Callable[[str], list[str]]
) -> None:
    fates = {"keep": PORT, "reject": PORT + 1, "drop": PORT + 2}
    check = f"{CHECK}port = {NOBODY}\n"
    services = [
        service(*SERVERS.values(), port=port, more=f'on_all_down = "{fate}"\n{check}')
        for fate, port in fates.items()
    ]
    running = serve(flags=config("".join(services)))
    assert eventually(lambda: running.stderr.count("has no backend for new flows") == 3, LONG_S)
    # What is logged is installed a moment later.
    assert eventually(lambda: clients.connect(fates["drop"])[0] == "lost", LONG_S)
    assert clients.connect(fates["keep"])[0] in SERVERS
    assert clients.connect(fates["reject"])[0] == "refused"
    with inside(lab.namespace("rs2")):
        alive = socket.create_server(("", NOBODY))
    with alive:
        assert eventually(lambda: running.stderr.count("backend for new flows again") == 3, LONG_S)
        assert {clients.connect()[0] for _ in range(6)} == {"rs2"}
    assert running.stop() == 0
