"""Is each path answered, and does a bad client of the metrics harm nobody?"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest
from lab_wire import eventually
from moments import large, moment

from dsrlb.config import Listen
from dsrlb.errors import ConfigError
from dsrlb.metrics import server
from dsrlb.metrics.beside import Metrics, listen, tell
from dsrlb.metrics.moment import Moment

LOOPBACK = ip_address("127.0.0.1")

Serving = Callable[..., "Listen"]


@pytest.fixture
def serving() -> Iterator[Serving]:
    """``serving(ask)`` serves at a port of its own."""
    with contextlib.ExitStack() as undo:

        def begin(ask: server.Ask, **more: Any) -> Listen:
            listening = listen((LOOPBACK, 0))
            undo.callback(listening.close)
            port = listening.getsockname()[1]
            it = server.Server(listening, ask, **more)
            it.start()
            undo.callback(it.close)
            return LOOPBACK, port

        yield begin


def done(of: Moment) -> Future[Moment]:
    it: Future[Moment] = Future()
    it.set_result(of)
    return it


def at_once() -> Future[Moment]:
    return done(moment())


def connect(at: Listen) -> socket.socket:
    return socket.create_connection((str(at[0]), at[1]), timeout=10)


def answer(at: Listen, request: bytes) -> tuple[int, bytes]:
    with connect(at) as client:
        client.sendall(request)
        said = b"".join(iter(lambda: client.recv(65_536), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 ") and b"\r\nContent-Length: " in head
    return int(head.split()[1]), body


def get(at: Listen, path: str, method: str = "GET") -> tuple[int, bytes]:
    return answer(at, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def test_each_path_has_its_page(serving: Serving) -> None:
    at = serving(at_once)
    status, body = get(at, "/metrics?of=all")
    assert status == 200 and b"\ndsrlb_build_info{" in body and b"process_cpu_seconds_total" in body
    assert get(at, "/healthz") == (200, b"ok\n")
    assert get(at, "/readyz")[0] == 200
    assert get(at, "/metrics", "HEAD") == (200, b"")
    assert get(at, "/else") == (404, b"there are /metrics, /healthz, /readyz\n")
    assert get(at, "/metrics", "POST")[0] == 405


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics SIP/2.0\r\n\r\n", 400),
        (b"\xff\xfe /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request_is_told_so(serving: Serving, request_: bytes, status: int) -> None:
    assert answer(serving(at_once), request_)[0] == status


def test_clients_that_say_nothing_or_do_not_read_keep_nobody_back(serving: Serving) -> None:
    at = serving(at_once, within_s=0.5)
    with contextlib.ExitStack() as undo:
        stuck = [undo.enter_context(connect(at)) for _ in range(server.MOST_CLIENTS - 1)]
        for number, one in enumerate(stuck):
            one.sendall(b"GET /metrics HTTP/1.1\r\n" + (b"\r\n" if number % 2 else b"x"))
        assert get(at, "/healthz") == (200, b"ok\n")
        stuck[0].settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert stuck[0].recv(1) == b"", "it had its time"
    assert get(at, "/healthz") == (200, b"ok\n")


def test_clients_that_wait_for_the_same_page_get_one_that_is_made_once(serving: Serving) -> None:
    asked: list[Future[Moment]] = []

    def later() -> Future[Moment]:
        asked.append(Future())
        return asked[-1]

    at = serving(later)
    with contextlib.ExitStack() as undo:
        waiting = [undo.enter_context(connect(at)) for _ in range(8)]
        waiting[0].sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
        assert eventually(lambda: len(asked) == 1, 10)
        for one in waiting[1:]:
            one.sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
        asked[0].set_result(moment())
        while len(asked) < 2 and waiting[0].recv(65_536):
            pass
        assert eventually(lambda: len(asked) == 2, 10), "they came later, and get what holds later"
        asked[1].set_result(moment())
        for one in waiting[1:]:
            assert one.recv(65_536).startswith(b"HTTP/1.1 200")
    assert len(asked) == 2


def test_a_client_that_reads_what_no_buffer_holds_gets_all(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    at = serving(lambda: done(large()))
    with connect(at) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        said = b"".join(iter(lambda: slow.recv(1 << 20), b""))
    assert said.endswith(b"\n") and len(said) > 1_000_000
    assert not caplog.records


def test_one_client_too_many_is_told_so(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Future[Moment]] = []

    def later() -> Future[Moment]:
        asked.append(Future())
        return asked[-1]

    at = serving(later)
    with contextlib.ExitStack() as undo:
        for _ in range(server.MOST_CLIENTS - 1):
            undo.enter_context(connect(at)).sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
        assert get(at, "/nowhere")[0] == 404, "all before have been heard by now"
        monkeypatch.setattr(server, "MOST_CLIENTS", server.MOST_CLIENTS - 1)
        assert get(at, "/nowhere") == (503, b"too many clients at once; try again\n")
        asked[0].set_result(moment())


def test_who_asks_nothing_gives_way_to_who_asks(serving: Serving) -> None:
    at = serving(at_once)
    with contextlib.ExitStack() as undo:
        silent = [undo.enter_context(connect(at)) for _ in range(3 * server.MOST_CLIENTS)]
        for one in silent:
            with contextlib.suppress(OSError):  # it has been cut off already
                one.sendall(b"GET ")
        for _ in range(3):
            assert get(at, "/healthz") == (200, b"ok\n")
        with contextlib.suppress(ConnectionResetError):
            assert silent[0].recv(1) == b"", "the first one is cut off first"


def test_a_control_loop_that_does_not_answer_is_unhealthy_and_asked_once(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ANSWER_WITHIN_S", 0.1)
    asked: list[Future[Moment]] = []

    def silent() -> Future[Moment]:
        asked.append(Future())
        return asked[-1]

    at = serving(silent)
    for _ in range(3):
        status, said = get(at, "/healthz")
        assert status == 503 and said.startswith(b"the control loop did not answer")
    assert len(asked) == 1
    asked[0].set_result(moment())
    get(at, "/healthz")
    assert len(asked) == 2, "it is asked again when it has answered"


def test_a_look_that_fails_is_told_and_the_next_one_is_taken(serving: Serving) -> None:
    def failing() -> Future[Moment]:
        it: Future[Moment] = Future()
        it.set_exception(OSError("no map"))
        return it

    at = serving(failing)
    for _ in range(2):
        assert get(at, "/metrics") == (503, b"OSError: no map; please report this\n")


# ------------------------------------------------------------------------- beside a loop


def test_the_loop_is_asked_by_an_event_and_the_port_is_free_at_the_end() -> None:
    with listen((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    metrics = Metrics((LOOPBACK, port))
    loop: Any = SimpleNamespace(events=queue.SimpleQueue())
    metrics.open()
    metrics.start(loop)
    try:
        got: list[tuple[int, bytes]] = []
        asking = threading.Thread(target=lambda: got.append(get((LOOPBACK, port), "/healthz")))
        asking.start()
        word, do = loop.events.get(timeout=10)
        assert word == "call"
        do()  # of a loop that has nothing: a failure that is told, not raised
        asking.join(10)
        assert got[0][0] == 503 and b"AttributeError" in got[0][1]
    finally:
        metrics.close()
        metrics.close()
    listen((LOOPBACK, port)).close()


def test_who_has_gone_is_told_nothing() -> None:
    gone: Future[Moment] = Future()
    gone.cancel()
    tell(SimpleNamespace(), gone)  # type: ignore[arg-type]  # a stand-in


def test_a_port_in_use_and_an_address_of_another_host_are_one_sentence() -> None:
    with listen((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"Another process listens at 127\.0\.0\.1:{port}; name"):
            Metrics((LOOPBACK, port)).open()
    with pytest.raises(ConfigError, match=r"cannot be at 198\.18\.7\.7:9311: this host has no such address"):
        Metrics((ip_address("198.18.7.7"), 9311)).open()
