"""The admin socket beside a control loop."""

from __future__ import annotations

import logging
import socket
from functools import partial
from pathlib import Path

from dsrlb.admin.listening import leave, listen
from dsrlb.admin.requests import handle
from dsrlb.admin.server import Reply, Request, Server
from dsrlb.control import Loop
from dsrlb.errors import ConfigError, HostError

OFF = "off"

log = logging.getLogger("dsrlb")


class Admin:
    """``control.serve`` opens it, starts it when there is something to see, and closes it."""

    def __init__(self, path: Path, *, is_asked_for: bool) -> None:
        """``is_asked_for``: without it dsrlb is not to run; else a place that cannot be is a warning."""
        self._path, self._is_asked_for = path, is_asked_for
        self._listening: socket.socket | None = None
        self._server: Server | None = None

    def open(self) -> None:
        """Take the place.  If asked for, raises ConfigError (another has it) or HostError (it cannot be).

        Else the balancer runs without, and says so: two of them on one host are no mistake.
        """
        try:
            self._listening = listen(self._path)
        except ConfigError as error:
            if self._is_asked_for:
                raise
            log.warning("%s  This one runs without it.", error)
        except OSError as error:
            why = error.strerror or error  # that a path is too long has no number
            sentence = f"The admin socket cannot be at {self._path}: {why}; name another path (--admin PATH)."
            if self._is_asked_for:
                raise HostError(sentence) from None
            log.warning("%s dsrlb runs without it", sentence)

    def start(self, loop: Loop) -> None:
        """Begin to pass requests on to a loop that runs, or soon will."""
        if self._listening is not None:

            def ask(request: Request, reply: Reply) -> None:
                loop.events.put(("call", partial(handle, loop, request, reply)))

            self._server = Server(self._listening, ask)
            self._server.start()

    def close(self) -> None:
        """End all connections and take the socket away; harmless when repeated."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._listening is not None:
            leave(self._path, self._listening)
            self._listening = None
