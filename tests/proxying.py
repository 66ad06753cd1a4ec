"""HAProxy with the configuration of a file, on loopback, between a test and servers that tell what they got.

::

    test ──► 127.0.0.1, a port for each service ──► HAProxy ──► Server rs1, rs2, … (a port each)
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from check_servers import eventually
from golden_haproxy import PROGRAM, rendered

from dsrlb.config import config_in
from dsrlb.model import Service
from dsrlb.standing import Effective, named

LOOPBACK = ip_address("127.0.0.1")
WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class Handler(BaseHTTPRequestHandler):
    """Answers every request with what it got, as JSON; of ``/die`` the first one gets no answer."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one piece
    server: Server

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(self.path)
        if self.headers.get("Upgrade") == "websocket":
            return self.echo()
        if self.path == "/die" and self.server.dies:
            self.server.dies = False
            self.close_connection = True
            return None
        told = {"server": self.server.name, "path": self.path, "version": self.request_version}
        body = json.dumps({**told, "headers": [list(one) for one in self.headers.items()]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)
        return None

    def echo(self) -> None:
        """Accept a WebSocket, and send back all that comes."""
        key = hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + WEBSOCKET).digest()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
            self.send_header(name, value)
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(key).decode())
        self.end_headers()
        self.wfile.flush()
        while piece := self.connection.recv(4096):
            self.connection.sendall(piece)
        self.close_connection = True

    do_GET = do_POST = do_HEAD = do_PUT = do_OPTIONS = answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server of a name; what it was asked for."""

    daemon_threads = True

    def __init__(self, name: str, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name, self.requests, self.dies = name, list[str](), True
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        """A client that is gone, or speaks no TLS, is no failure of the server's."""


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def server(self) -> str:
        return str(self.told["server"])

    def got(self, name: str) -> list[str]:
        """Return what a field of the request was when the server got it."""
        return [value for one, value in self.told["headers"] if one.lower() == name.lower()]


@dataclass(frozen=True)
class Running:
    """Where each service listens, by its name; and its servers, by theirs."""

    ports: Mapping[str, int]
    servers: Mapping[str, Server]

    def connect(
        self, service: str, tls: ssl.SSLContext | None = None, name: str = ""
    ) -> http.client.HTTPConnection:
        """Return a connection; with TLS if that is given, and a name to ask for."""
        raw = socket.create_connection(("127.0.0.1", self.ports[service]), 10)
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[service], timeout=10)
        connection.sock = raw if tls is None else tls.wrap_socket(raw, server_hostname=name or None)
        return connection

    def ask(self, service: str, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        """Return the answer to a request on a connection of its own; ``_`` in a field's name is ``-``."""
        with contextlib.closing(self.connect(service)) as connection:
            return ask(connection, path, method, **headers)


def ask(
    connection: http.client.HTTPConnection, path: str = "/", method: str = "GET", **headers: str
) -> Answer:
    """Return the answer to one more request on a connection."""
    connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if method in ("POST", "PUT"):
        connection.putheader("Content-Length", "0")
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    is_told = response.status == 200 and body.startswith(b"{")
    return Answer(response.status, dict(response.getheaders()), body, json.loads(body) if is_told else {})


@contextlib.contextmanager
def running(
    toml: str,
    at: Path,
    tls: ssl.SSLContext | None = None,
    server_bind: str | None = None,
    all_down: bool = False,
    elsewhere: Mapping[str, int] | None = None,
) -> Iterator[Running]:
    """Run HAProxy for the services of a file, each of its backends a server here.

    server_bind: the servers are HAProxy's own, with these words behind ``bind``; they tell HTTP's version.
    elsewhere: ports of loopback where servers are already, by their names.
    """
    at_work = elsewhere or {}
    services = config_in(toml.encode(), "dsrlb.toml").proxied
    with contextlib.ExitStack() as undo:
        servers: dict[str, Server] = {}
        for one in (backend for service in services for backend in service.backends):
            if one.label in at_work:
                continue
            servers[one.label] = server = Server(one.label, tls)
            undo.callback(server.server_close)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            undo.callback(server.shutdown)
        free = _free_ports(len(services))
        ports = {name: server.server_address[1] for name, server in servers.items()} | at_work
        moved = [_moved(service, port, ports) for service, port in zip(services, free, strict=True)]
        file = at / "haproxy.cfg"
        down = (
            frozenset(names for service in moved for names, _ in named(service)) if all_down else frozenset()
        )
        text = rendered(moved, Effective(down=down))
        if server_bind is not None:
            text = _with_own_servers(text, moved, server_bind)
        file.write_text(text.replace("/etc/dsrlb/", f"{at}/").replace("/run/dsrlb/default-haproxy", str(at)))
        process = subprocess.Popen([str(PROGRAM), "-f", str(file)], stderr=subprocess.PIPE, text=True)
        undo.callback(_end, process)
        listening = {one.label: one.port for one in moved}
        assert eventually(lambda: process.poll() is not None or all(map(_listens, listening.values())), 20)
        assert eventually(lambda: process.poll() is not None or _takes_commands(at / "runtime.sock"), 20)
        assert process.poll() is None, process.communicate()[1]
        yield Running(listening, servers)


def _free_ports(count: int) -> list[int]:
    """Return so many ports of loopback that are free, each another one."""
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in several:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in several]


def _moved(service: Service, port: int, ports: Mapping[str, int]) -> Service:
    """Return a service on loopback, at this port, with the servers at these that stand in for its own."""
    here = tuple(replace(one, address=LOOPBACK, port=ports[one.label]) for one in service.backends)
    return replace(service, vip=LOOPBACK, port=port, backends=here)


def _with_own_servers(text: str, services: list[Service], words: str) -> str:
    """Return a configuration in which HAProxy itself answers in place of each server."""
    for backend in (one for service in services for one in service.backends):
        at = f"abns@dsrlb-test-{backend.port}"  # a Unix socket without a file
        text = text.replace(f"ipv4@{LOOPBACK}:{backend.port} weight", f"{at} weight")
        text += (
            f"\nfrontend server{backend.port}\n    mode http\n    timeout client 5s\n    bind {at} {words}\n"
        )
        text += '    http-request return status 200 content-type text/plain lf-string "%[fc_http_major]"\n'
    return text


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _takes_commands(at: Path) -> bool:
    """Whether somebody listens there: a socket has its file a moment before."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(at)) == 0


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()
