"""A server that answers heartbeats: eight bytes of its name for each byte that it is sent.

Run in a server's namespace: ``python -m dsrlb.bench.churn.heart NAME HOST PORT...``.  It prints ``ready``.
One process, one epoll, thousands of connections; more than one port, so that checks can have their own.
"""

from __future__ import annotations

import resource
import select
import socket
import sys
from collections.abc import Sequence

BACKLOG = 4096
FILES = 20_000
NAME_BYTES = 8


def raise_limit() -> None:
    """Let this process have as many open connections as a run needs."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


class Heart:
    """What listens, and whoever is connected."""

    def __init__(self, name: str, host: str, ports: Sequence[int]) -> None:
        self._word = name.encode().ljust(NAME_BYTES)
        self._poll = select.epoll()
        self._listening: dict[int, socket.socket] = {}
        self._connected: dict[int, socket.socket] = {}
        for port in ports:
            one = socket.create_server((host, port), backlog=BACKLOG)
            one.setblocking(False)
            self._listening[one.fileno()] = one
            self._poll.register(one, select.EPOLLIN)

    def turn(self) -> None:
        """Wait for something to happen, and answer it."""
        for fd, _ in self._poll.poll():
            if fd in self._listening:
                self._accept(self._listening[fd])
            else:
                self._answer(fd)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(BACKLOG):
            try:
                one, _ = listening.accept()
            except OSError:  # nobody waits any more, or who waited has gone
                return
            one.setblocking(False)
            self._connected[one.fileno()] = one
            self._poll.register(one, select.EPOLLIN)

    def _answer(self, fd: int) -> None:
        one = self._connected[fd]
        try:
            asked = one.recv(4096)
            if asked:
                one.send(self._word * len(asked))
                return
        except OSError:
            pass
        del self._connected[fd]
        one.close()


def main() -> None:
    """Answer until killed."""
    name, host, *ports = sys.argv[1:]
    raise_limit()
    heart = Heart(name, host, [int(port) for port in ports])
    print("ready", flush=True)
    while True:
        heart.turn()


if __name__ == "__main__":
    main()
