"""A small HTTP server with a thread of its own: each connection has one request, and little time.

What a client can hold up is its own connection: there are few of them, each is closed after ``WITHIN_S``
whatever it has done by then, or sooner if it has asked nothing and its place is needed; and the control loop
is asked once for all that wait.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from http import HTTPStatus

from dsrlb.metrics.moment import Moment
from dsrlb.metrics.page import PAGES, Page

MOST_CLIENTS = 16
MOST_REQUEST_BYTES = 16_384
WITHIN_S = 10.0  # for a connection, from its first byte to its last
ANSWER_WITHIN_S = 3.0  # for the control loop

Ask = Callable[[], "Future[Moment]"]

log = logging.getLogger("dsrlb")


class Server:
    """Serves a listening socket."""

    def __init__(self, listening: socket.socket, ask: Ask, *, within_s: float = WITHIN_S) -> None:
        self._listening, self._ask, self._within_s = listening, ask, within_s
        self._clients = 0
        self._silent: dict[asyncio.StreamWriter, None] = {}  # who has not asked yet, in order
        self._look: asyncio.Future[Moment] | None = None  # under way
        self._next: dict[str, asyncio.Task[Page]] = {}  # by path: a page that is not begun yet
        self._making = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End all connections, answered or not, and close the socket."""
        with suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            log.warning("the metrics are gone; all else goes on", exc_info=True)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._client, sock=self._listening, limit=MOST_REQUEST_BYTES)
        await self._stop.wait()
        server.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        is_one_too_many = self._clients > MOST_CLIENTS and not self._give_way()
        self._silent[writer] = None
        try:
            exchange = self._exchange(reader, writer, is_one_too_many=is_one_too_many)
            await asyncio.wait_for(exchange, self._within_s)
        except (OSError, EOFError, asyncio.TimeoutError):  # it is gone, or has had its time
            _abort(writer)
        except asyncio.CancelledError:
            _abort(writer)
            raise
        finally:
            self._clients -= 1
            self._silent.pop(writer, None)

    def _give_way(self) -> bool:
        """Cut off who has been silent for longest; return whether there was one."""
        silent = next(iter(self._silent), None)
        if silent is not None:
            del self._silent[silent]
            _abort(silent)
        return silent is not None

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_one_too_many: bool
    ) -> None:
        page = Page(503, b"too many clients at once; try again\n")
        is_head = False
        if not is_one_too_many:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                self._silent.pop(writer, None)
                method, path = _request(head)
                is_head = method == "HEAD"
                page = await self._page(method, path)
            except asyncio.LimitOverrunError:
                page = Page(431, b"a request has 16384 bytes at most\n")
            except ValueError:
                page = Page(400, b"this is no HTTP request\n")
        writer.write(_answer(page, is_head=is_head))
        writer.close()
        await writer.wait_closed()

    async def _page(self, method: str, path: str) -> Page:
        if method not in ("GET", "HEAD"):
            return Page(405, b"only GET and HEAD are here\n")
        if path not in PAGES:
            return Page(404, f"there are {', '.join(PAGES)}\n".encode())
        if path not in self._next:
            self._next[path] = asyncio.create_task(self._make(path))
        return await asyncio.shield(self._next[path])

    async def _make(self, path: str) -> Page:
        """Make a page once for all who wait for it; one at a time, so many readers cost as much as one."""
        async with self._making:
            del self._next[path]  # who asks from now on gets what holds later
            try:
                return await asyncio.to_thread(PAGES[path], await self._moment())
            except asyncio.TimeoutError:
                said = f"the control loop did not answer within {ANSWER_WITHIN_S:g} s\n"
            except Exception as error:  # of one page: told to its readers, and the next one is made anew
                log.debug("traceback", exc_info=True)
                said = f"{type(error).__name__}: {error}; please report this\n"
            return Page(503, said.encode())

    async def _moment(self) -> Moment:
        """Return what holds now; a look that was given up is waited for again, not doubled."""
        if self._look is None or self._look.done():
            self._look = asyncio.wrap_future(self._ask(), loop=self._loop)
        return await asyncio.wait_for(asyncio.shield(self._look), ANSWER_WITHIN_S)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Drop a connection with all that is unsent."""
    with suppress(AttributeError):  # it has just closed by itself, and asyncio has forgotten its loop
        writer.transport.abort()


def _request(head: bytes) -> tuple[str, str]:
    """Return method and path, without a query; ValueError if this is no request line of HTTP/1."""
    method, target, version = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError
    return method, target.partition("?")[0]


def _answer(page: Page, *, is_head: bool) -> bytes:
    lines = (
        f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}",
        f"Content-Type: {page.kind}",
        f"Content-Length: {len(page.body)}",
        "Connection: close",
    )
    head = "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
    return head if is_head else head + page.body
