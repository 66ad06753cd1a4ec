"""The metrics beside a control loop."""

from __future__ import annotations

import errno
import socket
from concurrent.futures import Future
from functools import partial

from dsrlb.config import Listen, spelt
from dsrlb.control import Loop
from dsrlb.errors import ConfigError, HostError
from dsrlb.metrics.moment import Moment, moment_of
from dsrlb.metrics.server import Server

BACKLOG = 16


class Metrics:
    """``control.serve`` opens it, starts it when there is something to count, and closes it."""

    def __init__(self, at: Listen) -> None:
        self._at = at
        self._listening: socket.socket | None = None
        self._server: Server | None = None

    def open(self) -> None:
        """Take the place.  ConfigError: another has it, or this host has no such address; HostError: else."""
        self._listening = listen(self._at)

    def start(self, loop: Loop) -> None:
        """Begin to answer, by a loop that runs, or soon will."""
        if self._listening is not None:

            def ask() -> Future[Moment]:
                told: Future[Moment] = Future()
                loop.events.put(("call", partial(tell, loop, told)))
                return told

            self._server = Server(self._listening, ask)
            self._server.start()

    def close(self) -> None:
        """End all connections; harmless when repeated."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._listening is not None:
            self._listening.close()
            self._listening = None


def tell(loop: Loop, told: Future[Moment]) -> None:
    """Tell, on the control loop's thread, what holds now; or what went wrong."""
    if not told.set_running_or_notify_cancel():
        return
    try:
        told.set_result(moment_of(loop))
    except Exception as error:
        told.set_exception(error)


def listen(at: Listen) -> socket.socket:
    """Return a socket that listens at an address."""
    address, port = at
    listening = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after a restart at once
        listening.setblocking(False)
        listening.bind((str(address), port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise _refused(at, error) from None
    return listening


def _refused(at: Listen, error: OSError) -> ConfigError | HostError:
    place, other = spelt(at), "name another port for the metrics (--metrics [ADDR:]PORT)"
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"Another process listens at {place}; {other}.")
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(
            f"The metrics cannot be at {place}: this host has no such address; name one that it has, or the "
            "port alone (--metrics [ADDR:]PORT)."
        )
    return HostError(f"The metrics cannot be at {place} ({error.strerror}); {other}.")
