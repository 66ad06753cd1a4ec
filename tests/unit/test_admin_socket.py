"""Does the admin socket answer, and stay bounded whatever its clients do?"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dsrlb.admin import server
from dsrlb.admin.asking import ask
from dsrlb.admin.beside import Admin
from dsrlb.admin.listening import leave, listen
from dsrlb.admin.server import Answer, Reply, Request, Server
from dsrlb.errors import ConfigError, DsrlbError, HostError, UsageError

DEADLINE_S = 10.0
Serve = Callable[..., Path]


def echo(request: Request, reply: Reply) -> None:
    reply({"ok": True, "answer": request})


@pytest.fixture
def at(tmp_path: Path) -> Path:
    return tmp_path / "run" / "one.sock"


@pytest.fixture
def serve(at: Path) -> Iterator[Serve]:
    """``serve(answering)``: a server on its thread; returns its path."""
    opened: list[tuple[Server, socket.socket]] = []

    def start(answering: Callable[[Request, Reply], None] = echo, **more: Any) -> Path:
        listening = listen(at)
        it = Server(listening, answering, **more)
        opened.append((it, listening))
        it.start()
        return at

    yield start
    for it, listening in opened:
        it.close()
        leave(at, listening)
    assert not at.exists()
    assert not [one for one in threading.enumerate() if one.name == "admin"]


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(DEADLINE_S)
    client.connect(str(path))
    return client


def is_closed(client: socket.socket) -> bool:
    """Read to the end; a server that lets the connection be makes this time out."""
    try:
        while client.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_only_the_owner_may_open_the_socket_from_its_first_moment(at: Path) -> None:
    before = os.umask(0)
    try:
        listening = listen(at)
    finally:
        os.umask(before)
    assert stat.S_IMODE(at.stat().st_mode) == 0o600
    leave(at, listening)


def test_a_request_gets_its_answer_and_a_connection_takes_several(serve: Serve) -> None:
    path = serve()
    assert ask(path, {"do": "show"}) == {"do": "show"}
    with connected(path) as client, client.makefile("rb") as lines:
        client.sendall(b'{"n": 1}\n{"n": 2}\n')
        assert [json.loads(lines.readline())["answer"]["n"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(
    ("code", "kind"), [(1, DsrlbError), (2, UsageError), (3, ConfigError), (4, HostError)]
)
def test_an_error_comes_out_at_the_client_as_what_it_was(serve: Serve, code: int, kind: type) -> None:
    path = serve(lambda _, reply: reply(server.failed("it cannot be", code)))
    with pytest.raises(DsrlbError, match=r"^it cannot be$") as raised:
        ask(path, {})
    assert type(raised.value) is kind


@pytest.mark.parametrize("line", [b"hello\n", b"[1]\n", b"\xff\n", b"\n", b"[" * 9000 + b"\n"])
def test_what_is_no_request_is_told_so_and_the_connection_goes_on(serve: Serve, line: bytes) -> None:
    with connected(serve()) as client, client.makefile("rb") as lines:
        client.sendall(line)
        assert json.loads(lines.readline())["error"] == "a request is one line with one JSON object"
        client.sendall(b"{}\n")
        assert json.loads(lines.readline()) == {"ok": True, "answer": {}}


def test_a_request_without_an_end_is_refused_and_its_client_cut_off(serve: Serve) -> None:
    with connected(serve()) as client, client.makefile("rb") as lines:
        client.sendall(b"x" * (server.MOST_REQUEST_BYTES + 1))
        assert "bytes at most" in json.loads(lines.readline())["error"]
        assert is_closed(client)


def test_clients_that_are_silent_or_stop_reading_are_cut_off_and_others_are_served_meanwhile(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "READ_WITHIN_S", 0.3)
    monkeypatch.setattr(server, "SEND_WITHIN_S", 0.3)
    path = serve(lambda request, reply: reply({"ok": True, "answer": "x" * request.get("length", 1)}))
    with connected(path) as silent, connected(path) as half, connected(path) as deaf:
        half.sendall(b'{"half": ')
        deaf.sendall(b'{"length": 8000000}\n')
        assert ask(path, {}) == "x"
        begun = time.monotonic()
        assert is_closed(silent) and is_closed(half)
        with pytest.raises(OSError, match="Broken pipe"):  # without having read anything
            while time.monotonic() < begun + DEADLINE_S:
                deaf.send(b" ")
        assert ask(path, {}) == "x"


def test_there_are_not_more_clients_than_may_be(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GIVES_WAY_AFTER_S", 3600)
    path = serve(most_clients=2)
    with connected(path) as one, connected(path) as other:
        for client in (one, other):
            client.sendall(b"{}\n")
            assert client.recv(100)
        with pytest.raises(DsrlbError, match="too many clients"):
            ask(path, {})
    assert ask_again(path) == {}


def test_who_says_nothing_gives_way_to_who_asks(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GIVES_WAY_AFTER_S", 0)
    path = serve(most_clients=2)
    with connected(path) as oldest, connected(path) as other:
        other.sendall(b'{"half')
        assert [ask(path, {"n": number}) for number in range(3)] == [{"n": number} for number in range(3)]
        assert is_closed(oldest)
        other.sendall(b'": 1}\n')
        assert json.loads(other.recv(100))["answer"] == {"half": 1}


@pytest.mark.parametrize("said", [b'{"length": 8000000}\n', b'{"half'])
def test_who_reads_no_answer_or_ends_no_request_gives_way_too(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(server, "GIVES_WAY_AFTER_S", 0.1)
    for within in ("READ_WITHIN_S", "SEND_WITHIN_S"):
        monkeypatch.setattr(server, within, 3600)
    path = serve(
        lambda request, reply: reply({"ok": True, "answer": "x" * request.get("length", 1)}), most_clients=1
    )
    with connected(path) as stalled:
        stalled.sendall(said)
        assert ask_again(path) == "x"


def test_a_thousand_connections_at_once_leave_the_server_bounded_and_nobody_shut_out(serve: Serve) -> None:
    path = serve()
    crowd: list[socket.socket] = []
    try:
        for _ in range(1000):
            crowd.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            crowd[-1].connect(str(path))  # it waits for a place in the queue
        turned_away = [one for one in crowd if is_told_to_go(one)]
        assert len(turned_away) >= 1000 - server.MOST_CLIENTS - 100  # who gave way was told nothing
        assert ask_again(path) == {}
    finally:
        for one in crowd:
            one.close()
    assert ask_again(path) == {}


def test_who_finds_the_queue_full_waits_for_a_place_in_it(at: Path) -> None:
    listening = listen(at)  # nobody accepts yet
    crowd: list[socket.socket] = []
    try:
        with pytest.raises(BlockingIOError):
            while True:
                crowd.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
                crowd[-1].connect(str(at))
        with pytest.raises(DsrlbError, match=r"did not answer at .* within 0.1 s"):
            ask(at, {}, within_s=0.1)
        said: list[Any] = []
        asking = threading.Thread(target=lambda: said.append(ask_again(at)))
        asking.start()
        for one in crowd:
            one.close()
        it = Server(listening, echo)
        it.start()
        asking.join(DEADLINE_S)
        assert said == [{}]
        it.close()
    finally:
        for one in crowd:
            one.close()
        leave(at, listening)


def is_told_to_go(client: socket.socket) -> bool:
    """Return whether a client is told that there are too many; one that may stay hears nothing."""
    client.settimeout(0.001)
    try:
        return b"too many clients" in client.recv(1000)
    except (TimeoutError, BlockingIOError):
        return False


def ask_again(path: Path) -> Any:
    """Ask until the server has seen that others are gone."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            return ask(path, {})
        except DsrlbError:
            assert time.monotonic() < end


def test_who_waits_when_the_server_ends_is_told_so(at: Path) -> None:
    listening, asked = listen(at), threading.Event()
    it = Server(listening, lambda request, reply: asked.set())
    it.start()
    said: list[str] = []

    def wait() -> None:
        with pytest.raises(DsrlbError) as raised:
            ask(at, {})
        said.append(str(raised.value))

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert asked.wait(DEADLINE_S)
    it.close()
    leave(at, listening)
    waiting.join(DEADLINE_S)
    assert "closed the connection" in said[0]


def test_an_answer_after_its_client_has_gone_reaches_nobody(serve: Serve) -> None:
    replies: list[Callable[[Answer], None]] = []
    asked = threading.Event()

    def answering(request: Request, reply: Reply) -> None:
        if request:
            replies.append(reply)
            asked.set()
        else:
            reply({"ok": True, "answer": "here"})

    path = serve(answering)
    with connected(path) as client:
        client.sendall(b'{"late": 1}\n')
        assert asked.wait(DEADLINE_S)
    replies[0]({"ok": True, "answer": None})
    assert ask(path, {}) == "here"


def test_the_socket_of_a_dead_process_is_replaced(at: Path) -> None:
    listen(at).close()  # closed without taking its file away, as by a kill
    assert at.exists()
    again = listen(at)
    assert connected(at)
    leave(at, again)
    assert not at.exists()


def test_a_living_one_is_refused_in_one_sentence_and_untouched(serve: Serve) -> None:
    path = serve()
    with pytest.raises(ConfigError, match=r"^Another dsrlb has the admin socket .*--instance.*--admin PATH"):
        listen(path)
    assert ask(path, {}) == {}


def test_where_no_socket_was_asked_for_a_second_dsrlb_runs_without_one(
    at: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Admin(at, is_asked_for=False), Admin(at, is_asked_for=False)
    first.open()
    second.open()
    assert "Another dsrlb has the admin socket" in caplog.text and "runs without it" in caplog.text
    second.close()
    assert at.exists()
    first.close()


def test_who_holds_the_folder_s_lock_holds_nobody_up(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsrlb.admin.listening.LOCK_WITHIN_S", 0.05)
    at.parent.mkdir()
    descriptor = os.open(at.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        leave(at, listen(at))
    finally:
        os.close(descriptor)
    assert not at.exists()


def test_what_is_no_socket_is_left_alone(at: Path) -> None:
    at.parent.mkdir()
    at.write_text("mine")
    with pytest.raises(ConfigError, match="another file is there"):
        listen(at)
    assert at.read_text() == "mine"


def test_a_place_that_cannot_be_is_an_error_if_asked_for_and_a_warning_if_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    for impossible in (tmp_path / "file" / "one.sock", tmp_path / ("x" * 200)):
        with pytest.raises(HostError, match="name another path"):
            Admin(impossible, is_asked_for=True).open()
        caplog.clear()
        without = Admin(impossible, is_asked_for=False)
        without.open()
        without.start(None)  # type: ignore[arg-type]  # there is nothing to start
        without.close()
        assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_question_to_nobody_is_one_sentence(at: Path) -> None:
    with pytest.raises(DsrlbError, match=r"^No dsrlb runs with the admin socket .*one\.sock; start it"):
        ask(at, {})
    listen(at).close()
    with pytest.raises(DsrlbError, match="No dsrlb runs"):
        ask(at, {})


def test_a_dsrlb_that_does_not_answer_is_not_waited_for_without_end(serve: Serve) -> None:
    path = serve(lambda request, reply: None)
    with pytest.raises(DsrlbError, match="did not answer"):
        ask(path, {}, within_s=0.1)
