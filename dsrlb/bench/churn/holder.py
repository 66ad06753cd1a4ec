"""A client that holds connections, with a heartbeat on each, and tells how each of those that broke did.

Run in the client's namespace: ``python -m dsrlb.bench.churn.holder HOST PORT SOURCE...``.  It reads commands
and writes answers, each a line of JSON:

    {"do": "hold", "count": N, "within_s": S}   open connections until N are held, each from the next source
    {"do": "let_go", "count": N}                close the N oldest
    {"do": "beat", "within_s": S}               ask on every connection, wait until each answered or broke

``beat`` says who broke since the last time, and how; who does not answer in time is ``silent``.  Beside, each
connection is asked every two seconds: an answer that takes long is known of, and no connection is idle.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from errno import ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENETUNREACH, EPIPE, ETIMEDOUT
from itertools import cycle
from typing import Any

from dsrlb.bench.churn.heart import NAME_BYTES, raise_limit

EVERY_S = 2.0
OPENING_MOST = 200  # at a time
CAUSES = {
    ECONNRESET: "reset",
    EPIPE: "reset",
    ECONNREFUSED: "refused",
    ETIMEDOUT: "timed out",
    EHOSTUNREACH: "unreachable",
    ENETUNREACH: "unreachable",
}
Answer = dict[str, Any]


class Connection:
    """One connection: its server, once that has answered, and since when it owes an answer."""

    __slots__ = ("asked_s", "got", "round", "server", "socket")

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.server = ""
        self.asked_s: float | None = None
        self.got = b""
        self.round = 0  # of ``beat``: the last one that it has answered in


class Holder:
    """All connections, by descriptor, oldest first."""

    def __init__(self, host: str, port: int, sources: list[str]) -> None:
        self._where, self._sources = (host, port), cycle(sources)
        self._poll = select.epoll()
        self._held: dict[int, Connection] = {}
        self._opening: dict[int, Connection] = {}
        self._due: deque[tuple[float, int, Connection]] = deque()
        self._broken: list[tuple[str, str]] = []
        self._slowest_s = 0.0
        self._round, self._began_s = 0, 0.0

    # ------------------------------------------------------------------------- commands

    def hold(self, count: int, within_s: float) -> Answer:
        """Open connections until so many are held; ``failed``: how each that could not be opened failed."""
        failed: list[str] = []
        end = time.monotonic() + within_s
        while len(self._held) < count and len(failed) <= count and time.monotonic() < end:
            wanted = count - len(self._held) - len(self._opening)
            for _ in range(min(wanted, OPENING_MOST - len(self._opening))):
                self._open(failed)
            self._turn(0.05, failed)
        failed += ["silent"] * len(self._opening)
        for one in list(self._opening.values()):
            self._close(one)
        servers = [one.server for one in self._held.values()]
        return {"held": {name: servers.count(name) for name in sorted(set(servers))}, "failed": failed}

    def let_go(self, count: int) -> Answer:
        """Close the oldest connections."""
        for one in list(self._held.values())[:count]:
            self._close(one)
        return {}

    def beat(self, within_s: float) -> Answer:
        """Ask on every connection; say who broke and how long the slowest answer took since the last time."""
        self._round += 1
        self._began_s = time.monotonic()
        end = self._began_s + within_s
        for one in list(self._held.values()):
            if one.asked_s is None:
                self._ask(one)
        while time.monotonic() < end and any(one.round < self._round for one in self._held.values()):
            self._turn(0.05, [])
        for one in list(self._held.values()):
            if one.round < self._round:
                self._breaks(one, "silent")
        answer = {"broken": self._broken, "slowest_s": round(self._slowest_s, 3), "held": len(self._held)}
        self._broken, self._slowest_s = [], 0.0
        return answer

    # ------------------------------------------------------------------------- connections

    def run(self) -> None:
        """Do what is asked, until nobody asks any more."""
        self._poll.register(0, select.EPOLLIN)
        does: dict[str, Callable[..., Answer]]
        does = {"hold": self.hold, "let_go": self.let_go, "beat": self.beat}
        waiting = b""
        while True:
            if not self._turn(0.05, []):
                continue
            piece = os.read(0, 65536)
            if not piece:
                return
            *lines, waiting = (waiting + piece).split(b"\n")
            for line in lines:
                words = json.loads(line)
                print(json.dumps(does[words.pop("do")](**words)), flush=True)

    def _turn(self, wait_s: float, failed: list[str]) -> bool:
        """Wait for events for a moment; return whether there is a command."""
        is_asked = False
        for fd, _ in self._poll.poll(wait_s):
            if fd == 0:
                is_asked = True
            elif fd in self._opening:
                self._opened(self._opening[fd], failed)
            elif fd in self._held:
                self._hears(self._held[fd])
        self._ask_who_is_due()
        return is_asked

    def _open(self, failed: list[str]) -> None:
        one = socket.socket(socket.AF_INET6 if ":" in self._where[0] else socket.AF_INET)
        one.setblocking(False)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            one.bind((next(self._sources), 0))
            one.connect(self._where)
        except BlockingIOError:
            pass
        except OSError as error:
            failed.append(_cause(error.errno))
            return one.close()
        self._opening[one.fileno()] = Connection(one)
        self._poll.register(one, select.EPOLLOUT)

    def _opened(self, one: Connection, failed: list[str]) -> None:
        """Ask on a connection for the first time: it is held from its first answer on."""
        fault = one.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            if one.asked_s is None and not fault:
                self._poll.modify(one.socket, select.EPOLLIN)
                return self._ask(one)
            one.got += one.socket.recv(4096)
        except OSError as error:
            fault = error.errno or ECONNRESET
        if fault or not one.got:
            failed.append(_cause(fault))
            return self._close(one)
        one.server = one.got.split()[0].decode()
        one.asked_s, one.got = None, b""
        self._held[one.socket.fileno()] = self._opening.pop(one.socket.fileno())
        self._due.append((time.monotonic() + EVERY_S, one.socket.fileno(), one))

    def _ask(self, one: Connection) -> None:
        try:
            one.socket.send(b".")
            one.asked_s = time.monotonic()
        except OSError as error:
            self._breaks(one, _cause(error.errno))

    def _hears(self, one: Connection) -> None:
        try:
            piece = one.socket.recv(4096)
        except OSError as error:
            return self._breaks(one, _cause(error.errno))
        if not piece:
            return self._breaks(one, "closed")
        one.got += piece
        if len(one.got) < NAME_BYTES or one.asked_s is None:
            return
        if one.got.split()[0].decode() != one.server:
            return self._breaks(one, "another server")
        asked_s, one.asked_s, one.got = one.asked_s, None, b""
        self._slowest_s = max(self._slowest_s, time.monotonic() - asked_s)
        if asked_s >= self._began_s:
            one.round = self._round
        elif one.round < self._round:  # asked before the command came
            self._ask(one)

    def _ask_who_is_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, fd, one = self._due.popleft()
            if self._held.get(fd) is one:
                if one.asked_s is None:
                    self._ask(one)
                self._due.append((now + EVERY_S, fd, one))

    def _breaks(self, one: Connection, cause: str) -> None:
        self._broken.append((one.server, cause))
        self._close(one)

    def _close(self, one: Connection) -> None:
        fd = one.socket.fileno()
        for among in (self._held, self._opening):
            if among.get(fd) is one:
                del among[fd]
        one.socket.close()


def _cause(number: int | None) -> str:
    return CAUSES.get(number or 0, os.strerror(number) if number else "closed")


def main() -> None:
    """Hold connections for whoever asks on standard input."""
    host, port, *sources = sys.argv[1:]
    raise_limit()
    Holder(host, int(port), sources).run()


if __name__ == "__main__":
    main()
