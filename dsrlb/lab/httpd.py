"""A small real server for the lab: HTTP/1.1 and a UDP echo, IPv4 and IPv6; standard library only.

``GET /`` answers ``rs1 198.18.0.2``; ``GET /file/20m`` a file; ``GET /pattern?bytes=N&rate=R``
N bytes of :func:`pattern` at R bytes a second at most (0: as fast as it goes); ``PUT`` and ``POST``, to
any path, take a body and answer ``{"server": …, "bytes": …, "sha256": …}``.  Every answer has the
header ``X-Server``.
The echo answers the server's name, a space and the datagram, from the address it was sent to.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from urllib.parse import parse_qs, urlsplit

IP_PKTINFO = 8  # linux/in.h; the socket module has no name for it before Python 3.14
CYCLE = bytes(range(251))  # a prime length: a lost or doubled segment cannot go unseen
CHUNK_BYTES = 16 << 10


def pattern(start: int, length: int) -> bytes:
    """Return ``length`` bytes of the endless known sequence from offset ``start`` on."""
    skip = start % len(CYCLE)
    return (CYCLE * ((skip + length) // len(CYCLE) + 1))[skip : skip + length]


class Handler(BaseHTTPRequestHandler):
    """Answers one connection; class attributes are the server's own facts."""

    protocol_version = "HTTP/1.1"
    name = ""
    files = Path()

    def do_GET(self) -> None:
        """Answer by path."""
        url = urlsplit(self.path)
        if url.path == "/pattern":
            query = parse_qs(url.query)
            self._pattern(int(query["bytes"][0]), int(query.get("rate", ["0"])[0]))
        elif url.path.startswith("/file/"):
            self._file(url.path.removeprefix("/file/"))
        else:
            self._answer(f"{self.name} {self.client_address[0].removeprefix('::ffff:')}\n".encode())

    def do_PUT(self) -> None:
        """Take a body and answer its checksum."""
        left = total = int(self.headers["Content-Length"])
        digest = hashlib.sha256()
        while left:
            piece = self.rfile.read(min(left, CHUNK_BYTES))
            if not piece:
                return
            digest.update(piece)
            left -= len(piece)
        self._answer(json.dumps({"server": self.name, "bytes": total, "sha256": digest.hexdigest()}).encode())

    do_POST = do_PUT

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: the log of a thousand requests helps nobody."""

    def _head(self, length: int, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("X-Server", self.name)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, body: bytes, status: int = 200) -> None:
        self._head(len(body), status)
        self.wfile.write(body)

    def _file(self, name: str) -> None:
        offered = {path.name: path for path in self.files.iterdir()}
        if name not in offered:
            self._answer(b"no such file\n", 404)
            return
        with offered[name].open("rb") as file:
            self._head(os.fstat(file.fileno()).st_size)
            self.connection.sendfile(file)

    def _pattern(self, total: int, rate: int) -> None:
        self._head(total)
        began = time.monotonic()
        for at in range(0, total, CHUNK_BYTES):
            self.wfile.write(pattern(at, min(CHUNK_BYTES, total - at)))
            if rate:
                time.sleep(max(0.0, began + at / rate - time.monotonic()))


class Server(ThreadingHTTPServer):
    """One listening socket of one family."""

    request_queue_size = 512

    def server_bind(self) -> None:
        """Bind without the name look-up of http.server, which waits for a DNS server that is not there."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is its own business."""


class Server6(Server):
    """The same for IPv6."""

    address_family = socket.AF_INET6


def open_echo(family: socket.AddressFamily, port: int) -> socket.socket:
    """Open a datagram socket that is told which address each datagram was sent to."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    sock.bind(("", port))
    return sock


def echo_forever(name: str, sock: socket.socket) -> None:
    """Answer every datagram from the address it was sent to."""
    while True:
        payload, ancillary, _, peer = sock.recvmsg(65535, 256)
        with contextlib.suppress(OSError):
            sock.sendmsg([name.encode() + b" " + payload], [_from_same(item) for item in ancillary], 0, peer)


def _from_same(item: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    """Turn "it came to this address" into "send from this address".

    ``struct in_pktinfo``, ip(7)::

        0          4             8          12
        +----------+-------------+----------+
        | ifindex  | spec_dst    | addr     |     received: addr is the header's destination
        +----------+-------------+----------+     sent: spec_dst is the source; ifindex 0 = by route

    ``struct in6_pktinfo`` is 16 bytes of address and the ifindex: the same both ways, with ifindex 0.
    """
    level, kind, body = item
    if level == socket.IPPROTO_IP:
        return level, kind, bytes(4) + body[8:12] + bytes(4)
    return level, kind, body[:16] + bytes(4)


def main(argv: list[str]) -> None:
    """Serve until killed: NAME, directory of files, echo port, HTTP ports."""
    Handler.name, Handler.files, echo_port = argv[0], Path(argv[1]), int(argv[2])
    ipv6 = Path("/proc/net/if_inet6").exists()
    kinds: list[type[Server]] = [Server, Server6] if ipv6 else [Server]
    for kind in kinds:  # bound before the TCP ports open: those are what a starter waits for
        sock = open_echo(socket.AddressFamily(kind.address_family), echo_port)
        threading.Thread(target=echo_forever, args=(Handler.name, sock), daemon=True).start()
    servers = [kind(("", int(port)), Handler) for port in argv[3:] for kind in kinds]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
