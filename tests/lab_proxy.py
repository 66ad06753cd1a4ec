"""What tests of mode proxy share: a file, clients that ask again and again, a server in this process."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab_reload import service
from lab_wire import inside

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import Lab
from dsrlb.model import Address

ANSWER_WITHIN_S = 30.0
HTTP, TCP = "[service.proxy]\nlayer = 7\n", ""
CHECK = '[service.check]\nkind = "tcp"\ninterval = 0.3\nfall = 2\nrise = 2\n'


def proxied(lab: Lab, more: str = HTTP, *, version: int = 4, servers: int = 3, port: object = 80) -> str:
    """Return the lines of a service of mode proxy, of the lab's VIP and servers."""
    addresses = map(str, lab.server_addresses(version)[:servers])
    return service(*addresses, vip=vip(lab, version), port=port, mode="proxy", more=more)


def vip(lab: Lab, version: int = 4) -> Address:
    """Return the lab's VIP."""
    return next(one for one in lab.vips if one.version == version)


def haproxy_pid(running: Balancer) -> int:
    """Return the number of the master process of a balancer's HAProxy."""
    return int((folder(running) / "haproxy.pid").read_text())


def worker_pid(running: Balancer) -> int:
    """Return the number of its worker of now."""
    master = haproxy_pid(running)
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return int(children[-1])


def folder(running: Balancer) -> Path:
    """Return where the files of a balancer's HAProxy are."""
    return running.admin.with_name(f"{running.admin.stem}-haproxy")


@dataclass
class Asked:
    """What came of requests."""

    servers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    longest_s: float = 0.0  # between two answers

    @property
    def count(self) -> int:
        return sum(self.servers.values())


def connection(lab: Lab, host: Address, port: int = 80) -> http.client.HTTPConnection:
    """Return a connection of the client, which it keeps open."""
    made = http.client.HTTPConnection(str(host), port, timeout=ANSWER_WITHIN_S)
    with inside(lab.namespace("client")):
        made.connect()
    return made


def server_of(on: http.client.HTTPConnection) -> str:
    """Ask once; return the server that has answered.  OSError, HTTPException: none has."""
    on.request("GET", "/")
    answer = on.getresponse()
    answer.read()
    if answer.status != 200:
        raise http.client.HTTPException(f"status {answer.status}")
    return str(answer.headers["X-Server"])


def ask_once(lab: Lab, host: Address, port: int = 80) -> str:
    """Ask by a connection of its own."""
    on = connection(lab, host, port)
    try:
        return server_of(on)
    finally:
        on.close()


@contextmanager
def at_work(count: int, work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Have so many threads work until the end of the block, of which the event tells them."""
    is_over = threading.Event()
    threads = [threading.Thread(target=work, args=(is_over,)) for _ in range(count)]
    for one in threads:
        one.start()
    try:
        yield
    finally:
        is_over.set()
        for one in threads:
            one.join()


@contextmanager
def asking(lab: Lab, host: Address, clients: int = 2, port: int = 80) -> Iterator[Asked]:
    """Let clients ask again and again, each time by another connection, until the end of the block."""
    asked = Asked()

    def ask(is_over: threading.Event) -> None:
        last_s = time.monotonic()
        while not is_over.is_set():
            try:
                asked.servers[ask_once(lab, host, port)] += 1
            except (OSError, http.client.HTTPException) as error:
                asked.failures.append(f"{type(error).__name__}: {error}")
            now_s = time.monotonic()
            asked.longest_s, last_s = max(asked.longest_s, now_s - last_s), now_s

    with at_work(clients, ask):
        yield asked


@contextmanager
def listener(lab: Lab, role: str, port: int) -> Iterator[socket.socket]:
    """Listen at a port of a node, in this process."""
    with inside(lab.namespace(role)):
        listening = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    with listening:
        listening.settimeout(ANSWER_WITHIN_S)
        yield listening
