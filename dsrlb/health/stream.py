"""A TCP connection to a server for one check, in clear or by TLS: send, receive, and gone at the end."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache

from dsrlb.health.base import Failed, Open, Subject, received

PIECE_BYTES = 16 << 10
MOST_BYTES = 64 << 10  # that are read of an answer, however long it is
MOST_TLS_BYTES = 512 << 10  # that are read by TLS: those, certificates, and what the library keeps to itself
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closed by a reset, so that no port waits for a minute


class Stream:
    """An open connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._loop = sock, asyncio.get_running_loop()

    async def send(self, content: bytes) -> None:
        """Send all of it."""
        await self._loop.sock_sendall(self._sock, content)

    async def receive(self) -> bytes:
        """Return what came; nothing at the end."""
        return await received(self._sock, PIECE_BYTES)

    async def receive_until(self, is_all: Callable[[bytes], bool], got: bytes = b"") -> bytes:
        """Return what came, behind what was there, once it is all, has ended, or is too much."""
        while not is_all(got) and len(got) < MOST_BYTES:
            piece = await self.receive()
            if not piece:
                break
            got = (got + piece)[:MOST_BYTES]
        return got


class TlsStream(Stream):
    """The same by TLS, over memory: the socket carries what the library wants sent."""

    def __init__(self, sock: socket.socket, name: str, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._came_bytes = 0
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name or None)

    async def shake_hands(self) -> None:
        """Agree on keys.  Raises ssl.SSLError."""
        await self._until_done(self._tls.do_handshake)

    async def send(self, content: bytes) -> None:
        """Send all of it."""
        await self._until_done(lambda: self._tls.write(content))

    async def receive(self) -> bytes:
        """Return what came; nothing at the end, also at one without a word."""
        try:
            return await self._until_done(lambda: self._tls.read(PIECE_BYTES))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def _until_done(self, do: Callable[[], bytes | int | None]) -> bytes:
        while True:
            try:
                done = do()
            except ssl.SSLWantReadError:
                await self._flush()
                piece = await super().receive()
                self._came_bytes += len(piece)
                if self._came_bytes > MOST_TLS_BYTES:
                    raise Failed("bad_tls", f"more than {MOST_TLS_BYTES >> 10} KiB") from None
                self._in.write(piece) if piece else self._in.write_eof()
                continue
            except ssl.SSLError:
                await self._flush()  # the alert that tells the server why
                raise
            await self._flush()
            return done if isinstance(done, bytes) else b""

    async def _flush(self) -> None:
        if self._out.pending:
            await super().send(self._out.read())


def _any_certificate() -> ssl.SSLContext:
    """Return a client's settings that take whatever certificate a server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_CONTEXT = _any_certificate()


@cache
def _verifying() -> ssl.SSLContext:
    """Return a client's settings that take a right certificate only, by the authorities of this host."""
    return ssl.create_default_context()


@asynccontextmanager
async def connected(subject: Subject, open_to: Open, tls_name: str | None = None) -> AsyncIterator[Stream]:
    """Give a connection to the server; with a name (it may be empty) by TLS.  Raises OSError, Failed."""
    sock = await open_to(subject, socket.SOCK_STREAM, 0)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        if tls_name is None:
            yield Stream(sock)
            return
        context = _verifying() if subject.check.verify else _CONTEXT
        stream = TlsStream(sock, tls_name, context)
        await stream.shake_hands()
        yield stream
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):  # which one depends on who was sooner
        raise Failed("bad_tls", "closed in the middle") from None
    finally:
        sock.close()
