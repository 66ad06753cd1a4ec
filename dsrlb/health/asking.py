"""One question to a server at its VIP, and one at its own address."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol

from dsrlb.health import BY_NAME
from dsrlb.health.base import Outcome, Subject, Unasked, connect, directly, probe
from dsrlb.host.links import Link
from dsrlb.host.probe_path import SO_MARK, Lead, Led, ProbePath
from dsrlb.model import Address, Hop

AGAIN_AFTER_S, SOON_S = 30.0, 1.0  # what this host could not do is tried again
PROTOCOLS: Mapping[int, int] = {socket.SOCK_STREAM: socket.IPPROTO_TCP, socket.SOCK_DGRAM: socket.IPPROTO_UDP}
HOPS = {4: (socket.IPPROTO_IP, socket.IP_TTL, 1), 6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)}

Place = tuple[Address, int]  # a VIP, and the interface (ifindex) that leads to servers


class NotSo(Exception):
    """This host cannot ask by the path: nowhere, or not at a place."""

    def __init__(self, place: Place | None, why: str, for_s: float = AGAIN_AFTER_S) -> None:
        super().__init__(why)
        self.place, self.for_s = place, for_s


class Way(NamedTuple):
    """How one server is asked at its VIP."""

    server: Subject
    at_vip: Subject
    hop: Hop
    link: Link
    source: str  # this host's address that it answers to
    lead: Lead

    @property
    def place(self) -> Place:
        """Where that is."""
        return self.server.vip, self.hop.ifindex


class Opened(Protocol):
    """What has the path, and mends it."""

    async def path(self) -> ProbePath:
        """Return it, opened.  Raises NotSo."""

    def hand_on(self) -> None:
        """Send on what has come."""

    async def mend(self, place: Place) -> NotSo:
        """Set up again what a packet did not come by; return what to say."""


class Asking:
    """One question at a VIP: what becomes of its packets."""

    def __init__(self, way: Way, by: Opened) -> None:
        self._way, self._by = way, by
        self._led: Led | None = None
        self.is_connected = False

    async def open(self, subject: Subject, kind: int, protocol: int) -> socket.socket:
        """Return a socket whose packets go to this server alone, connected to the VIP."""
        path, version = await self._by.path(), subject.vip.version
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, path.mark)
            sock.setsockopt(*HOPS[version])
            _bind(sock, self._way.source)
            number = sock.fileno() & 0xFFFF if kind == socket.SOCK_RAW else sock.getsockname()[1]
            self._led = path.lead(protocol or PROTOCOLS[kind], number, self._way.lead)
            await self._connect(sock, kind, (str(subject.vip), subject.port))
        except BaseException:
            sock.close()
            raise
        return sock

    async def _connect(self, sock: socket.socket, kind: int, where: tuple[str, int]) -> None:
        await connect(sock, where, self._by.hand_on)  # when it has begun, a packet waits at the device
        self.is_connected = kind == socket.SOCK_STREAM

    async def require_came(self) -> None:
        """Raise NotSo if no packet came by the path: whatever answered was not the server."""
        if self._led is not None and not self._led.came:
            self._by.hand_on()
            if not self._led.came:
                raise await self._by.mend(self._way.place)


def _bind(sock: socket.socket, source: str) -> None:
    try:
        sock.bind((source, 0))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:  # all ports are: as if there was no address
            raise OSError(errno.EADDRNOTAVAIL, "no port is free") from None
        raise


async def at_own_address(server: Subject, timeout_s: float) -> Outcome | None:
    """Return what a server says at its own address; None if that could not be asked."""
    try:
        kind = BY_NAME[server.check.kind]  # not one that measures
        in_time = replace(server, check=replace(server.check, timeout_s=timeout_s))
        return await probe(kind.ask, in_time, directly)
    except Unasked:
        return None
