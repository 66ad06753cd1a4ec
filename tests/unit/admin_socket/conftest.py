"""An admin socket in a folder of its own, and a server on it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from admin_clients import Serve, echo

from dsrlb.admin.listening import leave, listen
from dsrlb.admin.server import Reply, Request, Server


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
