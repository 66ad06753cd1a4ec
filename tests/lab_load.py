"""Clients that come at an even rate, whatever becomes of them, and servers that greet each by name."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lab_wire import inside

from dsrlb.lab.topology import Lab

GREETED_WITHIN_S = 20.0
LATE_AFTER_S, LOST_AFTER_S = 0.5, 1.5  # a SYN that is lost is sent again after 1 s


class Greeter:
    """A server's listener, and a thread that greets whoever comes; it ``keeps`` their connections, or not."""

    is_closed = False
    keeps = False

    def __init__(self, lab: Lab, name: str, port: int) -> None:
        self.name, self.kept = name, list[socket.socket]()
        with inside(lab.namespace(name)):
            self.socket = socket.create_server(("", port), backlog=512)
        self.thread = threading.Thread(target=self._greet, daemon=True)
        self.thread.start()

    def _greet(self) -> None:
        while True:
            try:
                one, _ = self.socket.accept()
            except OSError:  # a check is gone before it was greeted, or this is closed
                if self.socket.fileno() < 0 or self.is_closed:
                    return
                continue
            keeps = self.keeps  # asked before who is greeted goes on
            if keeps:
                self.kept.append(one)
            with suppress(OSError):
                one.sendall(self.name.encode())
            if not keeps:
                one.close()

    def close(self) -> None:
        """Refuse whoever comes from now on."""
        self.is_closed = True
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread up
        self.thread.join()
        self.socket.close()


def greeted(lab: Lab, host: object, port: int) -> tuple[str, socket.socket]:
    """Connect as a client, and return who greets, and the connection."""
    with inside(lab.namespace("client")):
        sock = socket.create_connection((str(host), port), GREETED_WITHIN_S)
    return sock.recv(16).decode(), sock


class Load:
    """``seen``: when each client began, and who greeted it, or ``refused``, ``late`` or ``lost``."""

    def __init__(self, lab: Lab, host: object, port: int, a_second: int) -> None:
        self.where, self.every_s = (str(host), port), 1 / a_second
        self.seen: list[tuple[float, str]] = []
        self.last = 0.0
        self.ends = threading.Event()
        self.selector = selectors.DefaultSelector()
        self.waiting: deque[tuple[float, socket.socket]] = deque()
        self.thread = threading.Thread(target=self._run, args=(lab.namespace("client"),), daemon=True)

    def _run(self, namespace: str) -> None:
        with inside(namespace):
            due = time.monotonic()
            while not self.ends.is_set():
                if time.monotonic() >= due:
                    self._begin()
                    due += self.every_s
                for key, _ in self.selector.select(max(0.0, due - time.monotonic())):
                    self._end(key)
                while self.waiting and self.waiting[0][0] < time.monotonic() - LOST_AFTER_S:
                    began, sock = self.waiting.popleft()
                    if sock.fileno() >= 0:
                        self._note(began, "lost", sock)
        for _, sock in self.waiting:
            sock.close()
        self.selector.close()

    def _begin(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        began = time.monotonic()
        sock.connect_ex(self.where)
        self.selector.register(sock, selectors.EVENT_READ, began)
        self.waiting.append((began, sock))
        self.last = began

    def _end(self, key: selectors.SelectorKey) -> None:
        sock = key.fileobj
        assert isinstance(sock, socket.socket)
        try:
            word = sock.recv(16).decode() or "lost"
            word = "late" if time.monotonic() - key.data > LATE_AFTER_S else word
        except ConnectionRefusedError:
            word = "refused"
        except OSError:
            word = "lost"
        self._note(key.data, word, sock)

    def _note(self, began: float, word: str, sock: socket.socket) -> None:
        self.selector.unregister(sock)
        sock.close()
        self.seen.append((began, word))

    @property
    def known_until(self) -> float:
        """Until when clients began of whom it is known what became of all."""
        return min((began for began, sock in list(self.waiting) if sock.fileno() >= 0), default=self.last)

    def since(self, when_s: float) -> set[str]:
        """Return what became of clients that began after a moment."""
        return {word for began, word in list(self.seen) if began > when_s}


@contextmanager
def clients(lab: Lab, host: object, port: int, a_second: int = 150) -> Iterator[Load]:
    """Let clients come for as long as the body takes."""
    load = Load(lab, host, port, a_second)
    load.thread.start()
    try:
        yield load
    finally:
        load.ends.set()
        load.thread.join()
