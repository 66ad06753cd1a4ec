"""What every kind of check shares: whom it asks, what it finds, and how it gets a socket to the server."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from dsrlb.model import Address, Check, ModeOptions

OK = "ok"
# What this host lacks, which says nothing of a server.
LACKS = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EADDRNOTAVAIL)
)
UNDER_WAY = frozenset((errno.EINPROGRESS, errno.EINTR))  # a connection is


@dataclass(frozen=True)
class Subject:
    """One server, and how it is asked."""

    address: Address
    port: int  # 0: the kind of check needs none
    vip: Address
    check: Check
    is_weighed: bool = False  # by how long it takes to answer
    mode: str = ""  # whose path packets take to the VIP there; empty: it is asked at its own address
    options: ModeOptions = field(default_factory=ModeOptions)
    answers_by_us: bool = False  # its clients' answers are to come by this host: by its default route


@dataclass(frozen=True)
class Outcome:
    """What one check found: a word (``OK`` or the reason), and what there is to say beside it."""

    word: str
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether the server passed."""
        return self.word == OK


PASSED = Outcome(OK)


class Failed(Exception):
    """A check found something wrong; the outcome says what."""

    def __init__(self, word: str, detail: str = "") -> None:
        super().__init__(word)
        self.outcome = Outcome(word, detail)


class Unasked(Exception):
    """The server could not be asked, for a reason that lies with this host."""


Open = Callable[[Subject, int, int], Coroutine[Any, Any, socket.socket]]  # type, protocol: connected to it
Ask = Callable[[Subject, Open], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Kind:
    """A kind of check.  ``ask`` returns if the server passes; else it raises Failed, OSError, or goes on."""

    name: str
    ask: Ask
    options: frozenset[str]  # fields of Check that it knows, beside those that every kind has
    needed: frozenset[str] = frozenset()  # of those, what it cannot do without
    has_port: bool = True


async def received(sock: socket.socket, most_bytes: int) -> bytes:
    """Return what comes next on a socket, and let others have their turn before.

    asyncio itself does that only where there is nothing to receive yet: a server that never ceases to send
    would keep the time-out and all other checks from ever happening.
    """
    await asyncio.sleep(0)
    return await asyncio.get_running_loop().sock_recv(sock, most_bytes)


async def connect(
    sock: socket.socket, where: tuple[str, int], begun: Callable[[], None] | None = None
) -> None:
    """Connect a socket that does not block; call ``begun`` if that takes a while.  Raises OSError.

    Not by ``loop.sock_connect``, which costs far more: it takes the address apart, and connects once more.
    """
    error = sock.connect_ex(where)
    if error in UNDER_WAY:
        if begun is not None:
            begun()
        await _writable(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


async def _writable(sock: socket.socket) -> None:
    """Wait until a socket can be written to, or has failed."""
    loop, number = asyncio.get_running_loop(), sock.fileno()
    is_ready = loop.create_future()

    def ready() -> None:
        loop.remove_writer(number)  # at once: the loop may look again before this task has its turn
        if not is_ready.done():
            is_ready.set_result(None)

    loop.add_writer(number, ready)
    try:
        await is_ready
    finally:
        loop.remove_writer(number)


async def probe(ask: Ask, subject: Subject, open_to: Open) -> Outcome:
    """Ask a server once, within the time-out.  Raises Unasked.

    Not by ``asyncio.wait_for``, which before Python 3.12 may lose that its caller was cancelled.
    """
    asking = asyncio.ensure_future(ask(subject, open_to))
    try:
        done, _ = await asyncio.wait({asking}, timeout=subject.check.timeout_s)
    finally:
        asking.cancel()
    if not done:
        await asyncio.wait({asking})  # until what it holds is given back
        return Outcome("no_answer", f"none within {subject.check.timeout_s:g} s")
    try:
        asking.result()
    except Failed as failed:
        return failed.outcome
    except OSError as error:
        return of_error(error)
    return PASSED


def of_error(error: OSError) -> Outcome:
    """Return what an error of a socket says of the server.  Raises Unasked."""
    if error.errno in LACKS and not isinstance(error, ssl.SSLError):
        raise Unasked(error.strerror or str(error)) from None
    match error:
        case ssl.SSLCertVerificationError():
            return Outcome("bad_tls", error.verify_message.lower().rstrip("."))
        case ssl.SSLError():
            return Outcome("bad_tls", (error.reason or str(error)).replace("_", " ").lower())
        case ConnectionRefusedError():
            return Outcome("refused")
        case ConnectionError():
            return Outcome("reset")
        case TimeoutError():
            return Outcome("no_answer")
        case _:
            return Outcome("unreachable", (error.strerror or str(error)).lower())


async def directly(subject: Subject, kind: int, protocol: int) -> socket.socket:
    """Return a socket that is connected to the server's own address, by the host's own routes."""
    family = socket.AF_INET if subject.address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    where = str(subject.address), subject.port
    try:
        await connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


async def close_beside(sock: socket.socket) -> None:
    """Close a packet socket on another thread: that takes some 10 ms (synchronize_net)."""
    await asyncio.shield(asyncio.to_thread(sock.close))


def hearing(address: Address, source: str, protocol: int) -> socket.socket:
    """Return a raw socket that hears what one address says by a protocol to one of this host's."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.bind((source, 0))
        sock.connect((str(address), 0))
    except BaseException:
        sock.close()
        raise
    return sock
