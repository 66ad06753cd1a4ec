"""Clients of an admin socket: connected, cut off, or asking until there is room for them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsrlb.admin.asking import ask
from dsrlb.admin.server import Reply, Request
from dsrlb.errors import DsrlbError

DEADLINE_S = 10.0
Serve = Callable[..., Path]


def echo(request: Request, reply: Reply) -> None:
    reply({"ok": True, "answer": request})


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


def ask_again(path: Path) -> Any:
    """Ask until the server has seen that others are gone."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            return ask(path, {})
        except DsrlbError:
            assert time.monotonic() < end
