"""A marked handshake to each VIP through each server, by the ways of the health checks (``health/path.py``).

::

    dsrlb doctor ─► socket with a mark ─► the mode's forward ─► server: the VIP ─► its listener
          ▲                                                                            │
          └───────────────── its answer; by ICMP, that it does not unwrap ─────────────┘

Where it comes about, the server is looked at more closely, as checks look (``health/looking.py``): whether
long packets arrive, whether what it asks clients for fits, whether its answers to clients come this way.
The path is the doctor's own, beside that of a dsrlb that runs, and is taken back.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dsrlb import modes
from dsrlb.config import Config
from dsrlb.control.backends import Backends
from dsrlb.control.reload import wait_for_macs
from dsrlb.doctor.ears import Ears
from dsrlb.errors import HostError
from dsrlb.health.base import Open, Outcome, Subject, Unasked
from dsrlb.health.looking import Looking
from dsrlb.health.naming import SILENT
from dsrlb.health.path import ByPath
from dsrlb.health.remarks import Remark, Remarks
from dsrlb.health.stream import AT_ONCE
from dsrlb.model import ANY_PORT, Address, Backend, Check, Hop, Service
from dsrlb.preflight import Ground
from dsrlb.table import stand_in

WITHIN_S = 2.0  # a SYN that is lost is sent again after a second
AT_ONCE_MOST = 64
Key = tuple[Address, str]  # a server's address, a service's name

logging.getLogger("dsrlb").addHandler(logging.NullHandler())  # what the path says is in a finding


@dataclass(frozen=True)
class Shake:
    """What became of a handshake, and of the looks behind it."""

    service: Service
    outcome: Outcome | None  # None: this host could not ask
    not_so: str = ""  # why it was asked at its own address only, or not at all
    looked: tuple[Remark, ...] | None = None  # None: it was not looked at
    by_check: bool = False  # it is what a check of the running dsrlb found


def hops_of(config: Config, ground: Ground) -> dict[Address, Hop | None]:
    """Return the next hop to each server that there is a way to; None: nobody answers for its MAC."""
    backends = Backends(config, ground, queue.SimpleQueue())
    try:
        return backends.hops(backends.macs(wait_for_macs(backends.resolver, lambda: False)))
    finally:
        backends.resolver.close()


def shake_all(config: Config, ground: Ground, hops: Mapping[Address, Hop | None]) -> dict[Key, Shake]:
    """Shake hands with every server for each TCP service of one port.  Raises HostError."""
    try:
        with Ears() as ears:
            by_path = ByPath(ears.refused_at, ears.refused_own_at)
            by_path.see(hops, {address: way.link for address, way in ground.ways.items()})
            try:
                return asyncio.run(_all(config, ground, by_path, ears))
            finally:
                by_path.close()
    except PermissionError:
        raise HostError("hearing what servers answer takes root (CAP_NET_RAW): run it with sudo.") from None


async def _all(config: Config, ground: Ground, by_path: ByPath, ears: Ears) -> dict[Key, Shake]:
    looking, turns = Looking(by_path, Remarks()), asyncio.Semaphore(AT_ONCE_MOST)
    listening = asyncio.ensure_future(_listen(ears))

    async def shake(service: Service, backend: Backend) -> Shake:
        async with turns:
            return await _shake(by_path, looking, service, backend)

    try:
        asked = [pair for pair in _pairs(config.forwarded) if pair[1].address in ground.ways]
        shakes = await asyncio.gather(*(shake(*pair) for pair in asked))
        pairs = zip(asked, shakes, strict=True)
        return {(backend.address, service.name): one for (service, backend), one in pairs}
    finally:
        listening.cancel()
        looking.close()


async def _listen(ears: Ears) -> None:
    """Let the ears take what comes, before the kernel has no room for it."""
    while True:
        ears.listen()
        await asyncio.sleep(0.02)


def _pairs(services: Iterable[Service]) -> list[tuple[Service, Backend]]:
    return [
        (service, backend)
        for service in services
        if service.protocol == "tcp" and service.port != ANY_PORT
        for backend in service.backends
    ]


async def _shake(by_path: ByPath, looking: Looking, service: Service, backend: Backend) -> Shake:
    """Shake hands, once more if nothing comes of it; look more closely where that came about."""
    at_vip = not modes.BY_NAME[service.mode].sees_replies
    subject = Subject(
        backend.address,
        service.port if at_vip else backend.port or service.port,
        service.vip,
        Check("tcp", timeout_s=WITHIN_S),
        mode=service.mode if at_vip else "",
        options=service.options if at_vip else type(service.options)(),
        answers_by_us=not at_vip and stand_in(service) is None,
    )
    try:
        outcome = await by_path.probe(_handshake, subject)
        if outcome.word in SILENT:  # a packet may be lost, and a machine be busy
            outcome = await by_path.probe(_handshake, subject)
    except Unasked as error:
        return Shake(service, None, str(error))
    looked = await looking.look(subject) if outcome.ok else None
    return Shake(service, outcome, by_path.barred(service.vip), None if looked is None else tuple(looked))


async def _handshake(subject: Subject, open_to: Open) -> None:
    with await open_to(subject, socket.SOCK_STREAM, 0) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
