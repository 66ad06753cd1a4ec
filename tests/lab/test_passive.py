"""Is a server that fails under load left long before a check would notice, and taken back?"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from lab_load import Greeter, Load, clients, greeted
from lab_reload import reload, service
from lab_running import RS1, RS2, RS3, Serve
from lab_wire import eventually, soon

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import VIP, Lab, run

SERVERS = {"rs1": RS1, "rs2": RS2, "rs3": RS3}
PORT, LONG_S, LEAVES_WITHIN_S, FIRST_S = 8091, 20.0, 1.0, 5.0
CHECK = "[service.check]\nkind = 'tcp'\ninterval = 30\n"  # of no help here
OUT = rf"backend {re.escape(RS1)} of \S+ is ejected: \d+ of \d+ handshakes failed \(others \d+ %\)"
BACK = rf"backend {re.escape(RS1)} of \S+ is ejected no more"

Write = Callable[[str], list[str]]


@pytest.fixture
def greeters(lab: Lab) -> Iterator[dict[str, Greeter]]:
    with ExitStack() as stack:
        all_ = {name: Greeter(lab, name, PORT) for name in SERVERS}
        stack.callback(lambda: [one.close() for one in all_.values()])
        yield all_


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def flags(more: str = "") -> list[str]:
        file = tmp_path / "dsrlb.toml"
        here = service(*SERVERS.values(), port=PORT, more=more + CHECK)
        file.write_text(f'interfaces = ["e0"]\n{here}{service(*SERVERS.values())}')
        return ["--config", str(file)]

    return flags


@contextmanager
def holding(lab: Lab, greeters: dict[str, Greeter]) -> Iterator[None]:
    """Hold connections meanwhile; those to servers other than rs1 are still there at the end."""
    others = [greeters["rs2"], greeters["rs3"]]
    for one in others:
        one.keeps = True
    held = [greeted(lab, VIP, PORT) for _ in range(12)]
    for one in others:
        one.keeps = False
    assert {name for name, _ in held} == set(SERVERS)
    yield
    servers = {sock.getpeername(): sock for one in others for sock in one.kept if is_open(sock)}
    for name, sock in (one for one in held if one[0] != "rs1"):
        servers[sock.getsockname()].sendall(b"still " + name.encode())
        assert sock.recv(16) == b"still " + name.encode()
    for sock in [*servers.values(), *(sock for _, sock in held)]:
        sock.close()


def is_open(sock: socket.socket) -> bool:
    """Return whether the other side of a connection is known still; that of a check is not."""
    with suppress(OSError):
        return bool(sock.getpeername())
    return False


def times(words: str, running: Balancer) -> int:
    return len(re.findall(words, running.stderr))


def is_left(running: Balancer, load: Load, number: int) -> float:
    """Wait until rs1, which fails from now on, is left; return when its last client began to come to it."""
    began = time.monotonic()
    assert eventually(lambda: times(OUT, running) > number, LONG_S), running.stderr
    soon_after = time.monotonic() + 0.1
    assert eventually(lambda: load.known_until > soon_after + 0.3, LONG_S)
    assert load.since(soon_after) == {"rs2", "rs3"}
    return max(at for at, word in list(load.seen) if word not in SERVERS) - began


@pytest.mark.both_engines(xdp_mode=["native"])
def test_a_dead_listener_is_left_within_a_second_and_taken_back(
    lab: Lab, serve: Serve, write: Write, greeters: dict[str, Greeter]
) -> None:
    running = serve(flags=write())
    with holding(lab, greeters), clients(lab, VIP, PORT) as load:
        assert eventually(lambda: len(load.seen) > 150, LONG_S) and load.since(0) == set(SERVERS)

        def leaves_s(number: int) -> float:
            greeters.pop("rs1").close()
            last_s = is_left(running, load, number)
            greeters["rs1"] = Greeter(lab, "rs1", PORT)
            out = time.monotonic()
            assert eventually(lambda: times(BACK, running) > number, 2 * LONG_S)
            assert time.monotonic() - out > FIRST_S - 1
            assert eventually(lambda: "rs1" in load.since(out), LONG_S)
            return last_s

        soon(leaves_s, LEAVES_WITHIN_S)
    assert not re.search(r" is down|198\.18\.1\.1[23] of \S+ is ejected", running.stderr)
    assert running.stop() == 0


@pytest.mark.both_engines(xdp_mode=["native"])
def test_a_server_without_a_network_is_left_within_a_second(
    lab: Lab, serve: Serve, write: Write, greeters: dict[str, Greeter]
) -> None:
    running = serve(flags=write())
    port = ["ip", "-n", lab.namespace("switch"), "link", "set", "p-rs1"]
    with clients(lab, VIP, PORT) as load:

        def leaves_s(number: int) -> float:
            assert eventually(lambda: load.since(time.monotonic() - 2) == set(SERVERS), 2 * LONG_S)
            run([*port, "down"])
            try:
                return is_left(running, load, number)
            finally:
                run([*port, "up"])

        soon(leaves_s, LEAVES_WITHIN_S)
    assert not re.search(r"198\.18\.1\.1[23] of \S+ is ejected", running.stderr)
    assert running.stop() == 0


def test_where_it_is_not_wanted_any_more_all_are_taken_back(
    lab: Lab, serve: Serve, write: Write, greeters: dict[str, Greeter]
) -> None:
    running = serve(flags=write())
    with clients(lab, VIP, PORT) as load:
        assert eventually(lambda: len(load.seen) > 150, LONG_S)
        greeters["rs1"].close()
        is_left(running, load, 0)
        write("passive = false\n")
        reload(running)
        off = time.monotonic()
        assert eventually(lambda: load.since(off) == {"refused", "rs2", "rs3"}, LONG_S)
        assert eventually(lambda: sum(at > off and word == "refused" for at, word in load.seen) > 40, LONG_S)
    assert times(OUT, running) == 1
    assert running.stop() == 0
