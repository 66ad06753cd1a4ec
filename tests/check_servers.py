"""Servers for checks, good and hostile ones, on loopback inside the test; and how a check asks them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from dsrlb.health import BY_NAME
from dsrlb.health.base import Outcome, Subject, directly, probe
from dsrlb.model import Check

LOOPBACK = ip_address("127.0.0.1")
VIP = ip_address("198.18.1.100")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def subject(kind: str, port: int, address: Any = LOOPBACK, **fields: Any) -> Subject:
    check = Check(kind, **{"timeout_s": 5.0, **fields})  # type: ignore[arg-type]
    return Subject(address, port, VIP, check)


async def ask(kind: str, port: int, **fields: Any) -> Outcome:
    one = subject(kind, port, **fields)
    return await probe(BY_NAME[kind].ask, one, directly)


def asked(kind: str, handler: Handler, tls: Any = None, **fields: Any) -> Outcome:
    """Return what a check finds at a TCP server that does this with each connection."""

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.transport.abort()

    async def run() -> Outcome:
        server = await asyncio.start_server(handled, "127.0.0.1", 0, ssl=tls)
        try:
            return await ask(kind, server.sockets[0].getsockname()[1], **fields)
        finally:
            server.close()

    return asyncio.run(run())


def asked_datagrams(kind: str, answers: Callable[[bytes], list[bytes]], **fields: Any) -> Outcome:
    """Return what a check finds at a UDP server that answers a datagram with these."""

    class Answering(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            for one in answers(data):
                self.transport.sendto(one, addr)

    async def run() -> Outcome:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Answering, ("127.0.0.1", 0))
        try:
            return await ask(kind, transport.get_extra_info("sockname")[1], **fields)
        finally:
            transport.close()

    return asyncio.run(run())


def says(*pieces: bytes) -> Handler:
    """A server that reads a request's first piece, says this, and is gone."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        await reader.read()

    return handler


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port at which nobody listens."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def eventually(true: Callable[[], object], within_s: float = 10.0) -> bool:
    """Wait for a condition with a deadline."""
    until = time.monotonic() + within_s
    while not (seen := true()) and time.monotonic() < until:
        time.sleep(0.01)
    return bool(seen)
