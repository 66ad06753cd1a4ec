"""Clients of the admin socket: each sends a line and gets a line, in bounded memory and time.

::

    accepted ──► READING ──a line──► ASKED ──answer──► SENDING ──all is sent──► READING
                    │                  │                  │
                    └──────────────────┴── too late ──────┴──► closed

While a client waits for an answer nothing is read from it, so it has one request and one answer at most.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

MOST_CLIENTS = 32
MOST_REQUEST_BYTES = 4 << 20  # a configuration that is to be planned comes whole
READ_WITHIN_S, ASK_WITHIN_S, SEND_WITHIN_S = 10.0, 60.0, 10.0
GIVES_WAY_AFTER_S = 1.0  # who neither said nor read anything for so long leaves when there are too many
_PIECE_BYTES = 65_536
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

Request = dict[str, Any]
Answer = dict[str, Any]
Reply = Callable[[Answer], None]  # from any thread, once
Ask = Callable[[Request, Reply], None]

log = logging.getLogger(__name__)


def failed(sentence: str, code: int = 2) -> Answer:
    """Return the answer to what cannot be done."""
    return {"ok": False, "error": sentence, "code": code}


def _line(answer: Answer) -> bytes:
    return json.dumps(answer).encode() + b"\n"


class Client:
    """A connection, and how far it has come."""

    def __init__(self, connection: socket.socket, now_s: float) -> None:
        self.connection = connection
        self.received = bytearray()
        self.unsent = memoryview(b"")
        self.is_asked = False
        self.is_last = False  # it is closed when the answer is sent
        self.until_s = now_s + READ_WITHIN_S
        self.moved_s = now_s  # when something was last received or sent

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way with it."""
        return not (self.is_asked or self.unsent or self.received)

    def gives_way(self, now_s: float) -> bool:
        """Return whether it is its turn to say or read something, and it has done neither for a while."""
        return not self.is_asked and self.moved_s + GIVES_WAY_AFTER_S <= now_s

    def line(self) -> bytes | None:
        """Take the next whole line out of what was received."""
        line, newline, rest = self.received.partition(b"\n")
        if not newline:
            return None
        self.received = bytearray(rest)
        return bytes(line)


class Server:
    """Serves a listening socket on a thread of its own."""

    def __init__(self, listening: socket.socket, ask: Ask, most_clients: int = MOST_CLIENTS) -> None:
        self._listening, self._ask, self._most_clients = listening, ask, most_clients
        self._clients: set[Client] = set()
        self._answers: queue.SimpleQueue[tuple[Client, Answer]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(listening, _READ)
        self._selector.register(self._wake_read, _READ)
        self._is_over = False
        self._open = threading.Lock()  # held while the pipe is written, and while it is closed
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="admin", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End all connections, answered or not; the listening socket is the caller's."""
        self._is_over = True
        self._wake()
        self._thread.join()
        for client in list(self._clients):
            self._drop(client)
        self._selector.close()
        with self._open:
            self._is_closed = True
            for descriptor in (self._wake_read, self._wake_write):
                os.close(descriptor)

    def _wake(self) -> None:
        """Have the thread look again; nothing when all is closed, as an answer may come later than that."""
        with self._open, suppress(BlockingIOError):  # it is awake
            if not self._is_closed:
                os.write(self._wake_write, b"!")

    def _run(self) -> None:
        while not self._is_over:
            try:
                self._step()
            except Exception:  # of one client or one moment; the next one is served
                log.warning("the admin socket had a failure; it goes on", exc_info=True)
                time.sleep(0.1)

    def _step(self) -> None:
        due = min((client.until_s for client in self._clients), default=None)
        for key, events in self._selector.select(None if due is None else max(0.0, due - time.monotonic())):
            if key.fileobj is self._listening:
                self._accept()
            elif key.fileobj == self._wake_read:
                os.read(self._wake_read, 4096)
            else:
                self._serve(key.data, events)
        while not self._answers.empty():
            client, answer = self._answers.get()
            if client in self._clients:
                self._begin_to_send(client, answer)
        now_s = time.monotonic()
        for client in [one for one in self._clients if now_s >= one.until_s]:
            self._drop(client)

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:  # it is gone again; or there are no more descriptors: then not at once again
            return time.sleep(0.05)
        connection.setblocking(False)
        if not self._has_room():
            with connection, suppress(OSError):
                connection.send(_line(failed("dsrlb has too many clients at its admin socket; try again", 1)))
            return
        client = Client(connection, time.monotonic())
        self._clients.add(client)
        self._selector.register(connection, _READ, client)

    def _has_room(self) -> bool:
        """Make room for one more client, if one may be sent away for it."""
        now_s = time.monotonic()
        if len(self._clients) >= self._most_clients:
            stalled = [one for one in self._clients if one.gives_way(now_s)]
            if not stalled:
                return False
            self._drop(min(stalled, key=lambda one: (not one.is_idle, one.moved_s)))
        return True

    def _serve(self, client: Client, events: int) -> None:
        try:
            if events & _WRITE:
                self._send(client)
            elif events & _READ:
                self._receive(client)
        except OSError:  # it is gone
            self._drop(client)

    def _receive(self, client: Client) -> None:
        piece = client.connection.recv(_PIECE_BYTES)
        client.moved_s = time.monotonic()
        client.received += piece
        if not piece:
            self._drop(client)
        else:
            self._look_for_a_request(client)

    def _look_for_a_request(self, client: Client) -> None:
        """Pass on a request that has come whole; a longer one than there can be is refused."""
        line = client.line()
        if len(client.received if line is None else line) > MOST_REQUEST_BYTES:
            client.is_last = True
            return self._begin_to_send(client, failed(f"a request has {MOST_REQUEST_BYTES} bytes at most"))
        if line is None:
            return
        client.is_asked, client.until_s = True, time.monotonic() + ASK_WITHIN_S
        self._selector.unregister(client.connection)
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return self._begin_to_send(client, failed("a request is one line with one JSON object"))
        self._ask(request, lambda answer: self._hear(client, answer))

    def _hear(self, client: Client, answer: Answer) -> None:
        self._answers.put((client, answer))
        self._wake()

    def _begin_to_send(self, client: Client, answer: Answer) -> None:
        client.unsent = memoryview(_line(answer))
        client.moved_s = time.monotonic()
        client.until_s = client.moved_s + SEND_WITHIN_S
        if client.is_asked:
            self._selector.register(client.connection, _WRITE, client)
        else:
            self._selector.modify(client.connection, _WRITE, client)
        client.is_asked = False

    def _send(self, client: Client) -> None:
        client.unsent = client.unsent[client.connection.send(client.unsent) :]
        client.moved_s = time.monotonic()
        if client.unsent:
            return
        if client.is_last:
            return self._drop(client)
        client.until_s = time.monotonic() + READ_WITHIN_S
        self._selector.modify(client.connection, _READ, client)
        self._look_for_a_request(client)

    def _drop(self, client: Client) -> None:
        self._clients.discard(client)
        with suppress(KeyError, ValueError):  # it waits for an answer
            self._selector.unregister(client.connection)
        client.connection.close()
