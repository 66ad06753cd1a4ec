"""Do servers see the clients' own addresses with ``transparent``, and is nothing left of that at the end?"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest
from golden_haproxy import needs_haproxy
from lab_proxy import CHECK, ask_once, asking, connection, folder, listener, server_of, vip
from lab_reload import DEADLINE_S, Start, Write, reload, service
from lab_wire import eventually, inside

from dsrlb.host.transparent import PREFERENCE, TABLE
from dsrlb.lab.topology import Lab, run

pytestmark = needs_haproxy
PORT = 9090  # of the server in this process
PLAIN = "[service.proxy]\nlayer = {}\n"
TRANSPARENT = PLAIN + "transparent = true\n"


@pytest.fixture(scope="module")
def lab(inline_lab: Lab) -> Lab:
    return inline_lab


@pytest.fixture(scope="module", autouse=True)
def telling(lab: Lab) -> Iterator[None]:
    """Have a server on rs1 that answers each request with the address of who connected."""
    with listener(lab, "rs1", PORT) as listening:
        listening.settimeout(None)
        threading.Thread(target=_tell, args=(listening,), daemon=True).start()
        yield
        listening.shutdown(socket.SHUT_RDWR)


def _tell(listening: socket.socket) -> None:
    while True:
        try:
            there, (peer, *_) = listening.accept()
        except OSError:
            return  # it is over
        threading.Thread(target=_answer, args=(there, peer.removeprefix("::ffff:")), daemon=True).start()


def _answer(there: socket.socket, peer: str) -> None:
    with there, suppress(OSError):  # a check resets its connection
        if there.recv(4096):
            head = f"HTTP/1.1 200 OK\r\nX-Server: {peer}\r\nContent-Length: 0\r\nConnection: close"
            there.sendall(f"{head}\r\n\r\n".encode())


@pytest.fixture
def write(write: Write, tmp_path: Path) -> Write:
    """As ever, with state beside the file."""
    return partial(write, f'state_dir = "{tmp_path}/state"\n')


def served(lab: Lab, words: str, version: int = 4, port: int = PORT) -> str:
    """Return the lines of a service whose only server is the one that tells."""
    server = str(lab.server_addresses(version)[0])
    lines = service(server, vip=vip(lab, version), port=port, mode="proxy", more=words)
    return f"{lines}port = {PORT}\n"


def seen(lab: Lab, version: int = 4, port: int = PORT) -> str:
    """Return the address from which the server is asked, when the client asks the VIP."""
    return ask_once(lab, vip(lab, version), port)


def client(lab: Lab, version: int = 4) -> str:
    return str(lab.address("client", version))


def set_on_host(lab: Lab) -> list[str]:
    """Return the policy rules and routes that transparent takes."""
    found = []
    for version in ("-4", "-6"):
        ip = ["ip", version, "-n", lab.namespace("lb")]
        found += [one for one in run([*ip, "rule"]).splitlines() if one.startswith(f"{PREFERENCE}:")]
        found += [
            one for one in run([*ip, "route", "show", "table", "all"]).splitlines() if str(TABLE) in one
        ]
    return found


def test_servers_see_clients_addresses_and_are_checked_from_this_host_s(
    lab: Lab, start: Start, write: Write
) -> None:
    ways = [(version, port) for version in (4, 6) for port in (PORT, PORT + 7)]
    write(
        *(
            served(lab, TRANSPARENT.format(4 if port == PORT else 7) + CHECK, version, port)
            for version, port in ways
        )
    )
    running = start()
    for version, port in ways:
        assert {seen(lab, version, port) for _ in range(3)} == {client(lab, version)}
    for version in (4, 6):
        server = str(lab.server_addresses(version)[0])
        with inside(lab.namespace("lb")), socket.create_connection((server, PORT), DEADLINE_S) as own:
            own.sendall(b"GET / HTTP/1.0\r\n\r\n")  # from this host's own address, as checks are
            assert b"X-Server: " in own.recv(4096)
    assert len(set_on_host(lab)) == 4 and "is down" not in running.stderr
    assert running.stop() == 0 and set_on_host(lab) == []


def test_a_reload_goes_over_to_clients_addresses_and_back_and_breaks_no_connection(
    lab: Lab, start: Start, write: Write
) -> None:
    write(served(lab, PLAIN.format(4)))
    running = start()
    balancer = seen(lab)
    assert balancer != client(lab) and set_on_host(lab) == []
    with asking(lab, vip(lab), port=PORT) as asked:
        write(served(lab, TRANSPARENT.format(4)))
        reload(running)
        assert eventually(lambda: asked.servers[client(lab)] > 10, DEADLINE_S)
        own = lab.address("lb")
        write(service(str(own), vip=vip(lab), port=PORT, mode="proxy", more=TRANSPARENT.format(4)))
        assert f"backend {own} is an address of this host" in reload(running, "reload refused")
        with closing(connection(lab, vip(lab), PORT)) as of_before:
            write(served(lab, PLAIN.format(4)))
            reload(running)
            before = asked.servers[balancer]
            assert eventually(lambda: asked.servers[balancer] > before + 50, DEADLINE_S)
            assert len(set_on_host(lab)) == 2 and server_of(of_before) == client(lab)
        assert eventually(lambda: set_on_host(lab) == [], DEADLINE_S)
    assert not asked.failures, asked.failures[:3]


def test_what_is_taken_away_comes_back_and_outlives_dsrlb_as_haproxy_does(
    lab: Lab, kept: Start, write: Write
) -> None:
    write(served(lab, TRANSPARENT.format(4)))
    first = kept()
    before = set_on_host(lab)
    run(["ip", "-n", lab.namespace("lb"), "rule", "del", "pref", str(PREFERENCE)])
    run(["ip", "-n", lab.namespace("lb"), "route", "flush", "table", str(TABLE)])
    assert eventually(lambda: set_on_host(lab) == before, DEADLINE_S)
    first.process.kill()
    first.process.wait()
    assert seen(lab) == client(lab)
    second = kept()
    assert seen(lab) == client(lab) and set_on_host(lab) == before
    second.process.kill()
    second.process.wait()
    write(service(*map(str, lab.server_addresses()), vip=vip(lab), mode="inline"))
    kept()
    assert set_on_host(lab) == [] and not folder(first).exists()
