"""The servers of the benchmark of checks: ``python -m dsrlb.bench.answering PORT``, one process for all.

Accepts every connection, answers a request with 200, and says how many came each time it reads a line.
"""

from __future__ import annotations

import selectors
import socket
import sys
from contextlib import suppress

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BACKLOG = 4096


class Answering:
    """A listener and its connections."""

    def __init__(self, port: int) -> None:
        self.came = 0
        self._waiting = selectors.DefaultSelector()
        self._listener = socket.create_server(("", port), backlog=BACKLOG)
        self._listener.setblocking(False)
        self._waiting.register(self._listener, selectors.EVENT_READ)
        self._waiting.register(sys.stdin, selectors.EVENT_READ)

    def run(self) -> None:
        """Answer until standard input ends."""
        while True:
            for key, _ in self._waiting.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._answer(key.fileobj)
                elif not sys.stdin.readline():
                    return
                else:
                    sys.stdout.write(f"{self.came}\n")
                    sys.stdout.flush()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock = self._listener.accept()[0]
                sock.setblocking(False)
                self.came += 1
                self._waiting.register(sock, selectors.EVENT_READ)

    def _answer(self, sock: socket.socket) -> None:
        with suppress(OSError):
            if sock.recv(4096):
                sock.sendall(ANSWER)
                return
        self._waiting.unregister(sock)
        sock.close()


if __name__ == "__main__":
    Answering(int(sys.argv[1])).run()
