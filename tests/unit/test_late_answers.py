"""Does a stop while somebody waits for an answer harm nothing?"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dsrlb.admin.listening import leave, listen
from dsrlb.admin.server import Answer, Reply, Request, Server
from dsrlb.control.kept_totals import KeptTotals, totals_path
from dsrlb.engines.base import Counters
from dsrlb.model import Reason

WAIT_S = 10.0


def a_reply_of_a_closed_server(at: Path) -> Callable[[Answer], None]:
    """Return what answers a request whose server has gone."""
    listening = listen(at)
    asked: list[Reply] = []
    is_asked = threading.Event()

    def answering(request: Request, reply: Reply) -> None:
        asked.append(reply)
        is_asked.set()

    server = Server(listening, answering)
    server.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(at))
        client.sendall(b"{}\n")
        assert is_asked.wait(WAIT_S)
        server.close()
    leave(at, listening)
    return asked[0]


def test_an_answer_after_the_end_goes_nowhere_even_where_descriptors_are_used_anew(tmp_path: Path) -> None:
    reply = a_reply_of_a_closed_server(tmp_path / "run" / "one.sock")
    pipes = [os.pipe2(os.O_NONBLOCK) for _ in range(8)]  # the numbers that were free again among them
    try:
        reply({"ok": True, "answer": None})
        for read, _ in pipes:
            with pytest.raises(BlockingIOError):
                os.read(read, 1)
    finally:
        for descriptor in [one for pipe in pipes for one in pipe]:
            os.close(descriptor)


def an_engine(frames: int) -> Any:
    reasons = [frames if one is Reason.FORWARDED else 0 for one in Reason]
    said = Counters(reasons, {}, 0, 0)
    return SimpleNamespace(counts_in="", counters=lambda: said, stop=lambda: None)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_who_cannot_be_told_keeps_neither_others_from_it_nor_the_last_look_from_the_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    totals, told = KeptTotals(totals_path(str(tmp_path), "blue")), threading.Event()
    engine = an_engine(1)
    totals.begin(engine, engine.counters)

    def fail() -> None:
        raise OSError("it is closed")

    totals.look()
    totals.when_kept(fail)
    totals.when_kept(told.set)
    assert told.wait(WAIT_S)
    totals._counted = an_engine(7).counters
    totals.end()
    assert "could not be told" in caplog.text
    again = KeptTotals(totals.path)
    engine = an_engine(0)
    again.begin(engine, engine.counters)
    assert again.look().reasons[Reason.FORWARDED] == 7
    again.close()
