"""Do real connections go where they should: away from busy servers, back to their own, and never astray?"""

from __future__ import annotations

import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from lab_reload import DEADLINE_S, Start, Write, reload, service
from lab_running import RS1, RS2, RS3
from lab_wire import eventually, inside

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import MORE_CLIENTS, VIP, Lab

NAMES = ("rs1", "rs2", "rs3")
QUICK = "[service.timeouts]\nfin = 2\nclosed = 2\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n"


@contextmanager
def clients(lab: Lab) -> Iterator[list[tuple[str, socket.socket]]]:
    """A list for connections of the lab's client, with the server of each; all are closed in the end."""
    held: list[tuple[str, socket.socket]] = []
    try:
        yield held
    finally:
        for _, connection in held:
            connection.close()


def connect(lab: Lab, held: list[tuple[str, socket.socket]], number: int) -> Counter[str]:
    """Open connections one after the other and keep them; return how many each server got."""
    got: Counter[str] = Counter()
    for _ in range(number):
        with inside(lab.namespace("client")):
            connection = socket.socket()
        connection.settimeout(DEADLINE_S)
        connection.connect((str(VIP), 80))
        connection.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"\n") or b"\r\n\r\n" not in answer:
            piece = connection.recv(4096)
            assert piece, "the connection was closed"
            answer += piece
        server = answer.partition(b"\r\n\r\n")[2].split()[0].decode()
        held.append((server, connection))
        got[server] += 1
    return got


def live(running: Balancer) -> list[tuple[int, int]]:
    """Return active and inactive connections of each server, by a report made now."""
    before = running.stdout.count("reason  ")
    running.process.send_signal(signal.SIGUSR1)
    pattern = re.compile(r"^\S+/tcp +198\S+(?: +\d+){3} +(\d+) +(\d+)$", re.MULTILINE)

    def rows() -> list[tuple[str, str]]:
        if running.stdout.count("reason  ") == before:
            return []
        return pattern.findall(running.stdout.rpartition("reason  ")[2])

    assert eventually(lambda: len(rows()) == len(NAMES), DEADLINE_S), running.stdout
    return [(int(active), int(inactive)) for active, inactive in rows()]


def test_new_connections_avoid_a_server_that_holds_its_own_and_the_counts_go_back_to_nothing(
    lab: Lab, write: Write, start: Start
) -> None:
    write(service(RS1, RS2, RS3, scheduler="lc", more=QUICK))
    running = start()
    with clients(lab) as held:
        assert connect(lab, held, 30) == dict.fromkeys(NAMES, 10)
        assert live(running) == [(10, 0)] * 3
        for server, connection in held:
            if server != "rs1":
                connection.close()
        assert eventually(lambda: live(running) == [(10, 0), (0, 0), (0, 0)], DEADLINE_S)
        assert connect(lab, held, 20) == {"rs2": 10, "rs3": 10}
        assert connect(lab, held, 30) == dict.fromkeys(NAMES, 10)
    assert eventually(lambda: live(running) == [(0, 0)] * 3, DEADLINE_S)


def test_wlc_keeps_connections_in_proportion_to_the_weights(lab: Lab, write: Write, start: Start) -> None:
    write(service(f"{RS1},3", f"{RS2},2", RS3, scheduler="wlc"))
    running = start()
    with clients(lab) as held:
        assert connect(lab, held, 60) == {"rs1": 30, "rs2": 20, "rs3": 10}
        assert live(running) == [(30, 0), (20, 0), (10, 0)]


def test_a_server_that_joins_is_not_flooded(lab: Lab, write: Write, start: Start) -> None:
    write(service(RS1, RS2, scheduler="lc"))
    running = start()
    with clients(lab) as held:
        connect(lab, held, 80)
        write(service(RS1, RS2, RS3, scheduler="lc"))
        reload(running)
        got = connect(lab, held, 30)["rs3"]  # a third is fair, a half is what it may have
        assert 10 <= got <= 16


@pytest.mark.parametrize("scheduler", ["rr", "lc", "maglev"])
def test_a_client_stays_with_its_server_and_clients_are_spread(
    scheduler: str, lab: Lab, write: Write, start: Start, client: Any
) -> None:
    write(service(RS1, RS2, RS3, scheduler=scheduler, more="persist = 600\n"))
    start()
    owners = []
    for source in MORE_CLIENTS[:9]:
        answers = client.requests(8, source=str(source))
        assert answers["errors"] == []
        assert len(set(answers["servers"])) == 1, (source, answers["servers"])
        owners.append(answers["servers"][0])
    assert len(set(owners)) > 1


def test_a_client_stays_with_its_server_through_a_reload_until_that_is_drained(
    lab: Lab, write: Write, start: Start, client: Any
) -> None:
    addresses = dict(zip(NAMES, (RS1, RS2, RS3), strict=True))
    write(service(*addresses.values(), more="persist = 600\n"))
    running = start()
    (own,) = set(client.requests(5)["servers"])
    others = [address for name, address in addresses.items() if name != own]
    write(service(addresses[own], f"{others[0]},5", scheduler="maglev", more="persist = 600\n"))
    reload(running)
    assert set(client.requests(5)["servers"]) == {own}
    write(service(f"{addresses[own]},0", *others, more="persist = 600\n"))
    reload(running)
    (after,) = set(client.requests(5)["servers"])
    assert after != own


def test_a_long_download_survives_whatever_happens_to_the_other_servers(
    lab: Lab, write: Write, start: Start, client: Any
) -> None:
    addresses = dict(zip(NAMES, (RS1, RS2, RS3), strict=True))

    def setting(*backends: str) -> str:
        return service(*backends, port=8080, scheduler="maglev")

    write(setting(*addresses.values()))
    running = start()
    load = client.begin("download", VIP, size_bytes=4_000_000, rate=500_000)
    # Which server has it shows in the counters: the only one with a flow.
    own = next(iter(name for name, flows in zip(NAMES, flows_now(running), strict=True) if flows))
    others = [address for name, address in addresses.items() if name != own]
    for backends in (
        (addresses[own], others[0]),
        (addresses[own], f"{others[0]},9", others[1]),
        (f"{addresses[own]},0", *others),
        (f"{addresses[own]},1", f"{others[1]},200"),
    ):
        write(setting(*backends))
        reload(running)
    result = client.result(load)
    assert (result["error"], result["intact"], result["server"]) == ("", True, own)


def flows_now(running: Balancer) -> list[int]:
    """Return the flows of each server once there is one."""
    pattern = re.compile(r"^\S+/tcp +198\S+ +\d+ +\d+ +(\d+)", re.MULTILINE)

    def rows() -> list[int]:
        before = running.stdout.count("reason  ")
        running.process.send_signal(signal.SIGUSR1)
        assert eventually(lambda: running.stdout.count("reason  ") > before, DEADLINE_S)
        found = pattern.findall(running.stdout.rpartition("reason  ")[2])
        return [int(flows) for flows in found] if len(found) == len(NAMES) else []

    assert eventually(lambda: any(rows()), DEADLINE_S)
    return rows()
