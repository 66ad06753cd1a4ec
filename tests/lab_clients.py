"""Clients of a VIP, and listeners behind it that say who they are."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from lab_wire import eventually, inside

from dsrlb.lab.topology import Lab

PORT, LOST_AFTER_S, LONG_S = 8090, 2.0, 20.0


class Listener:
    """A listener in a server's namespace that greets each connection with the server's name."""

    def __init__(self, lab: Lab, name: str, port: int, host: str = "") -> None:
        self.name = name
        with inside(lab.namespace(name)):
            self.socket = socket.create_server((host, port))
        self.socket.setblocking(False)

    def greet(self) -> list[socket.socket]:
        """Greet whoever has come, checks too, and return their connections."""
        come = []
        while True:
            try:
                one = self.socket.accept()[0]
                one.sendall(self.name.encode())
            except BlockingIOError:
                return come
            except OSError:  # a check is gone at once
                continue
            come.append(one)


class Clients:
    """Clients of the VIP, and the listeners behind it."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self.lab, self.stack = lab, stack
        self.listeners = {name: self.listen(name) for name in lab.server_names}
        self.served: list[socket.socket] = []

    def listen(self, name: str, host: str = "") -> Listener:
        it = Listener(self.lab, name, PORT, host)
        self.stack.callback(it.socket.close)
        return it

    def server_of(self, client: socket.socket) -> socket.socket:
        """Return the server's end of a client's connection."""
        for one in self.served:
            with suppress(OSError):  # of another client, and broken
                if one.getpeername() == client.getsockname():
                    return one
        raise AssertionError(f"no server has the connection of {client.getsockname()} any more")

    def connect(self, port: int = PORT) -> tuple[str, socket.socket]:
        """Open a connection; return who greeted (or ``refused``, ``lost``), and the connection."""
        with inside(self.lab.namespace("client")):
            sock = self.stack.enter_context(socket.socket())
        sock.settimeout(LOST_AFTER_S)
        try:
            sock.connect((str(self.lab.vips[0]), port))
        except ConnectionRefusedError:
            return "refused", sock
        except TimeoutError:
            return "lost", sock
        assert eventually(lambda: self.greet() or select.select([sock], [], [], 0)[0], LONG_S)
        return sock.recv(16).decode(), sock

    def greet(self) -> None:
        """Greet whoever has come by now: a client is connected a moment before its server knows."""
        for one in self.listeners.values():
            self.served += one.greet()


@contextmanager
def clients_of(lab: Lab) -> Iterator[Clients]:
    """Have them until the end of the block."""
    with ExitStack() as stack:
        it = Clients(lab, stack)
        try:
            yield it
        finally:
            for one in it.served:
                one.close()
