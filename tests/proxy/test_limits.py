"""Limits through HAProxy as dsrlb configures it: who takes too much is refused, and everybody else is served.

Clients are addresses of loopback: 127.0.0.2 is one, 127.0.0.3 its neighbour.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from check_servers import eventually
from golden_haproxy import needs_haproxy
from proxying import Running, ask, running

from dsrlb.engines.haproxy import refusals, runtime

pytestmark = needs_haproxy

HEAD = '[[service]]\nname = "{0}"\nvip = "198.18.1.100:{1}"\nmode = "proxy"\n'
SEVEN = "[service.proxy]\nlayer = 7\n"
SERVER = '[[service.backend]]\nname = "{}"\naddress = "198.18.1.{}"\n'
A, B = "127.0.0.2", "127.0.0.3"
HUGE = "x" * 5000


def service(number: int, name: str, *limits: str, layer: str = SEVEN, server: str = "") -> str:
    said = "[service.limits]\n" + "".join(f"{line}\n" for line in limits)
    return HEAD.format(name, 80 + number) + layer + said + SERVER.format(f"for-{name}", 10 + number) + server


TEXT = (
    service(1, "rate", 'requests = "10/60"')
    + service(2, "shadow", 'requests = "10/60"', 'deny = ["127.0.0.2"]', "max_headers = 4096",
              "shadow = true")
    + service(3, "lists", 'deny = ["127.0.0.0/24"]', 'allow = ["127.0.0.3", "127.0.0.9"]', "max_body = 1000",
              "max_headers = 4096")
    + service(4, "tarpit", 'requests = "2/60"', 'answer = "tarpit"')
    + service(5, "drop", 'requests = "2/60"', 'answer = "drop"')
    + service(6, "slow", "connections = 50", "header_timeout = 1", "body_timeout = 1")
    + service(7, "queue", "queue = 1", "queue_timeout = 5", 'allow = ["127.0.0.3"]',
              server="max_connections = 1\n")
    + service(8, "connections", 'new_connections = "20/60"', "connections = 3", 'deny = ["127.0.0.4"]',
              layer="")
    + service(10, "told", 'requests = "3/60"', layer=SEVEN + "trust_forwarded = true\n")
    + service(9, "network", 'requests = "4/60"', "prefix4 = 24")
)  # fmt: skip


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("haproxy")


@pytest.fixture(scope="module")
def proxy(at: Path) -> Iterator[Running]:
    with running(TEXT, at) as all_of_it:
        yield all_of_it


def dial(proxy: Running, name: str, source: str) -> http.client.HTTPConnection:
    """Return a connection from a client's address."""
    raw = socket.create_connection(("127.0.0.1", proxy.ports[name]), 10, (source, 0))
    connection = http.client.HTTPConnection("127.0.0.1", timeout=15)
    connection.sock = raw
    return connection


def status(proxy: Running, name: str, source: str, path: str = "/", **headers: str) -> int:
    with contextlib.closing(dial(proxy, name, source)) as connection:
        return ask(connection, path, **headers).status


def refused(at: Path, name: str) -> dict[str, int]:
    """Return what was counted of a service."""
    said = runtime.command(at / "runtime.sock", f"show table {refusals.refused_table(name)}")
    return {
        reason: count for reason, count in refusals.read(said)[refusals.refused_table(name)].items() if count
    }


def test_who_asks_too_often_gets_429_with_retry_after_while_a_neighbour_is_served(
    proxy: Running, at: Path
) -> None:
    with contextlib.closing(dial(proxy, "rate", A)) as connection:
        answers = [ask(connection) for _ in range(14)]
    assert [one.status for one in answers] == [200] * 10 + [429] * 4
    assert answers[-1].headers["retry-after"] == "60"
    assert [status(proxy, "rate", B) for _ in range(10)] == [200] * 10
    assert refused(at, "rate") == {"too_many_requests": 4}
    assert len(proxy.servers["for-rate"].requests) == 20, "what was refused reached the server"


def test_a_network_can_be_one_client(proxy: Running) -> None:
    assert [status(proxy, "network", f"127.0.5.{number}") for number in range(1, 7)] == [200] * 4 + [429] * 2
    assert status(proxy, "network", "127.0.6.1") == 200


def test_a_client_can_be_whom_a_trusted_proxy_names_last(proxy: Running) -> None:
    def ask_for(client: str) -> int:
        return status(proxy, "told", A, X_Forwarded_For=f"198.18.9.9, {client}")

    assert [ask_for("198.18.0.1") for _ in range(4)] == [200] * 3 + [429]
    assert [ask_for("198.18.0.2") for _ in range(3)] == [200] * 3, "another one, by the same proxy"
    assert [status(proxy, "told", A) for _ in range(4)] == [200] * 3 + [429], "the proxy for itself"


def test_who_is_named_by_what_is_no_address_is_the_proxy_itself(proxy: Running) -> None:
    named = ("unknown", "", "_hidden, ", "198.18.0.3, 198.18.0.1x")
    answers = [status(proxy, "told", "127.0.0.5", X_Forwarded_For=one) for one in named]
    assert answers == [200] * 3 + [429]


def test_in_shadow_everything_passes_and_is_counted(proxy: Running, at: Path) -> None:
    assert {status(proxy, "shadow", A, X_Long=HUGE) for _ in range(14)} == {200}
    assert refused(at, "shadow") == {"denied": 14, "too_many_requests": 4, "head_too_large": 14}


def test_lists_deny_and_allow(proxy: Running, at: Path) -> None:
    assert status(proxy, "lists", A) == 403
    assert status(proxy, "lists", B, X_Long=HUGE) == 200, "who is allowed has no limits"
    assert status(proxy, "lists", "127.0.9.1") == 200
    assert refused(at, "lists")["denied"] == 1


def post(proxy: Running, *fields: str, body: bytes = b"") -> bytes:
    """Return the first line of the answer to a request with a body."""
    head = "".join(f"{one}\r\n" for one in ("POST / HTTP/1.1", "Host: a", *fields, ""))
    with socket.create_connection(("127.0.0.1", proxy.ports["lists"]), 10, ("127.0.9.2", 0)) as raw:
        raw.sendall(head.encode() + body)
        return raw.recv(4096).partition(b"\r\n")[0]


def test_what_is_too_large_is_refused(proxy: Running, at: Path) -> None:
    before = len(proxy.servers["for-lists"].requests)
    assert status(proxy, "lists", "127.0.9.1", X_Long=HUGE) == 431
    assert status(proxy, "lists", "127.0.9.1", f"/{HUGE}") == 431
    assert b" 413 " in post(proxy, "Content-Length: 1001")
    assert b" 411 " in post(proxy, "Transfer-Encoding: chunked", body=b"1\r\nx\r\n0\r\n\r\n")
    assert len(proxy.servers["for-lists"].requests) == before
    assert b" 200 " in post(proxy, "Content-Length: 1000", body=bytes(1000))
    counted = refused(at, "lists")
    assert counted["head_too_large"] == 2
    assert counted["body_too_large"] == counted["body_of_unknown_length"] == 1


def test_a_tarpit_answers_late_and_drop_never(proxy: Running) -> None:
    assert [status(proxy, "drop", A) for _ in range(2)] == [200, 200]
    with contextlib.closing(dial(proxy, "drop", A)) as silent:
        silent.request("GET", "/")
        assert [status(proxy, "tarpit", A) for _ in range(2)] == [200, 200]
        began = time.monotonic()
        assert status(proxy, "tarpit", A) == 429
        assert time.monotonic() - began > 5
        silent.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent.sock.recv(1)
    assert status(proxy, "drop", B) == 200


def test_a_thousand_slow_clients_keep_nobody_from_being_served(proxy: Running) -> None:
    with contextlib.ExitStack() as undo:
        slow = []
        for number in range(1000):  # from 20 addresses, of which each may have 50 connections
            source = (f"127.0.7.{1 + number % 20}", 0)
            slow.append(
                undo.enter_context(socket.create_connection(("127.0.0.1", proxy.ports["slow"]), 10, source))
            )
            slow[-1].sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert [status(proxy, "slow", A) for _ in range(50)] == [200] * 50
        for one in slow:
            one.settimeout(10)
        answers = Counter(one.recv(4096)[9:12] for one in slow)
    assert answers == {b"408": 1000}, "header_timeout ends them"


def test_a_body_that_is_sent_slowly_is_ended(proxy: Running) -> None:
    with socket.create_connection(("127.0.0.1", proxy.ports["slow"]), 10, (B, 0)) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx")
        assert b" 408 " in raw.recv(4096)


def test_connections_are_limited_at_once_and_in_time(proxy: Running, at: Path) -> None:
    with contextlib.ExitStack() as undo:
        for _ in range(3):
            held = undo.enter_context(contextlib.closing(dial(proxy, "connections", A)))
            assert ask(held).status == 200
        assert status_or_closed(proxy, A) == 0
        assert status(proxy, "connections", B) == 200, "a neighbour is served"
    assert eventually(lambda: status_or_closed(proxy, A) == 200), "one that ends makes room"
    until = time.monotonic() + 10
    while status_or_closed(proxy, A) == 200:
        assert time.monotonic() < until
    assert status_or_closed(proxy, "127.0.0.4") == 0
    counted = refused(at, "connections")
    assert counted["too_many_new_connections"] and counted["too_many_connections"] and counted["denied"] == 1


def status_or_closed(proxy: Running, source: str) -> int:
    try:
        return status(proxy, "connections", source)
    except (http.client.HTTPException, OSError):
        return 0


def test_a_server_gets_as_many_connections_as_it_may_have_and_the_others_wait_or_are_refused(
    proxy: Running, at: Path
) -> None:
    got: list[int] = []

    def get(path: str, source: str = A) -> threading.Thread:
        thread = threading.Thread(target=lambda: got.append(status(proxy, "queue", source, path)))
        thread.start()
        return thread

    def waiting() -> tuple[int, int]:
        rows = [one for one in runtime.statistics(at / "runtime.sock", ("qcur", "scur")) if one[0] == "queue"]
        wait = {server: counts["qcur"] for _, server, _, counts in rows if server != "FRONTEND"}
        now = {server: counts["scur"] for _, server, _, counts in rows}
        return sum(wait.values()), now["for-queue"]

    with contextlib.closing(dial(proxy, "queue", B)) as first:
        first.putrequest("POST", "/")
        first.putheader("Content-Length", "1")
        first.endheaders()  # the server waits for its body
        assert eventually(lambda: waiting() == (0, 1))
        second = get("/second")
        assert eventually(lambda: waiting() == (1, 1))
        assert status(proxy, "queue", A, "/third") == 503
        assert refused(at, "queue") == {"queue_full": 1}
        allowed = get("/allowed", B)
        assert eventually(lambda: waiting() == (2, 1)), "no limit is about who is allowed"
        first.send(b"x")
        assert first.getresponse().status == 200
    second.join(10)
    allowed.join(10)
    assert got == [200, 200]
