"""Does each request on the admin socket get its answer, and what is none a sentence?"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from admin_clients import DEADLINE_S, Serve, connected, is_closed

from dsrlb.admin import server
from dsrlb.admin.asking import ask
from dsrlb.admin.listening import leave, listen
from dsrlb.admin.server import Answer, Reply, Request, Server
from dsrlb.errors import ConfigError, DsrlbError, HostError, UsageError


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
