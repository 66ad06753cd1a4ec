"""Does the admin socket stay bounded, and open to who asks, whatever many clients do?"""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from admin_clients import DEADLINE_S, Serve, ask_again, connected, echo, is_closed

from dsrlb.admin import server
from dsrlb.admin.asking import ask
from dsrlb.admin.listening import leave, listen
from dsrlb.admin.server import Server
from dsrlb.errors import DsrlbError


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
