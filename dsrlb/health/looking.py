"""Looks at a server whose checks pass, for what they cannot see: whether packets fit, and come back.

::

    question                                                        no answer, where small ones are answered
    an echo as long as the way to it is said to carry               path_mtu
    a connection: what does its SYN-ACK announce?                   more than fits into the tunnel: mtu
    an echo from an address that only the default route leads to    default_route
    an echo from a neighbour's address that nobody has: the server
    asks for it by ARP; as whom?                                    as the VIP: arp_announce

The third one is asked where servers are to answer by this host (``inline``), from 192.0.2.1 or 100::1, which
are nobody's; the last one where servers are neighbours that have the VIP (``l2dsr``).  All are asked a few
times before they count as unanswered.

*Source*: RFC 5737 (192.0.2.0/24, for documentation), RFC 6666 (100::/64, to be thrown away).
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import socket
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network, ip_address

from dsrlb import modes
from dsrlb.frameio.af_packet import attach_filter
from dsrlb.frameio.filter import (
    ACCEPT,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    JUMP_EQUAL,
    LOAD_ABS_WORD,
    REJECT,
    Program,
)
from dsrlb.health.asking import NotSo, Way
from dsrlb.health.base import Subject, close_beside
from dsrlb.health.echo import (
    HEADERS_BYTES,
    PATIENT_S,
    TOKEN_BYTES,
    TRIES_S,
    asked,
    is_answered,
    is_reply,
    request,
)
from dsrlb.health.naming import setup_line
from dsrlb.health.path import ByPath
from dsrlb.health.remarks import About, Remark, Remarks, claimed_by_asking
from dsrlb.health.seeking import is_on_link
from dsrlb.health.synack import announced_mss
from dsrlb.host.arp_sender import asks_as, spare_address
from dsrlb.host.links import Link
from dsrlb.host.ownership import find_owner
from dsrlb.model import person_mac

LOOK_EVERY_S, AGAIN_AFTER_S = 3.0, 2.0  # while all is well, and while something is remarked
LOOKS_A_SECOND = 50  # of all servers: with more than 150 of them each one's turn comes later
PROVOKED_EVERY_S = 15.0  # a server asks all its neighbours then, three times
AT_ONCE = 20
SPARE_FOR_S = 30.0
HOPS = {True: 1, False: 64}  # by a mode's path as checks have
AFAR = {4: ip_address("192.0.2.1"), 6: ip_address("100::1")}
LEAST_BYTES = {4: 576, 6: 1280}  # what every host takes: RFC 791, RFC 8200
TCP_HEADERS_BYTES = {4: 40, 6: 60}
BY_TCP = frozenset(("tcp", "http", "https"))
WORDS = ("path_mtu", "mtu", "default_route", "arp_announce")
ETHERTYPES = {4: ETHERTYPE_IPV4, 6: ETHERTYPE_IPV6}

log = logging.getLogger("dsrlb")


class Looking:
    """Looks at servers, each in its own time.  The checks' thread's."""

    def __init__(self, by_path: ByPath, remarks: Remarks) -> None:
        self._by_path, self._remarks = by_path, remarks
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._servers = 0  # that are looked at for ever
        self._out: socket.socket | None = None
        # what provoking a server showed, and addresses that nobody has; each with until when that holds
        self._provoked: dict[About, tuple[Remark | None, float]] = {}
        self._spares: dict[IPv4Network, tuple[IPv4Address | None, float]] = {}
        self._choosing = asyncio.Lock()

    def close(self) -> None:
        """Give back what frames were sent by."""
        if self._out is not None:
            self._out.close()

    async def forever(self, server: Subject, passes: Callable[[], bool]) -> None:
        """Look at a server while its checks pass, and remark what is wrong."""
        about = About(server.vip, server.address)
        pause_s = AGAIN_AFTER_S * random.random()  # noqa: S311  (no secret)
        self._servers += 1
        try:
            while True:
                await asyncio.sleep(pause_s)
                found = (await self.look(server) if passes() else None) or []
                for word in WORDS:
                    self._remark(about, word, found)
                pause_s = AGAIN_AFTER_S if found else max(LOOK_EVERY_S, self._servers / LOOKS_A_SECOND)
        finally:
            self._servers -= 1
            for word in WORDS:
                self._remarks.take_back(about, word)

    def _remark(self, about: About, word: str, found: list[Remark]) -> None:
        said = next((one for one in found if one.word == word), None)
        if said is None:
            self._remarks.take_back(about, word)
        else:
            self._remarks.say(about, said)

    async def look(self, server: Subject) -> list[Remark] | None:
        """Return what is wrong; None where that cannot be told."""
        async with self._slots:
            try:
                way = self._by_path.way_of(server)
                return await self._found(way) if way is not None else None
            except (OSError, NotSo) as error:
                log.debug("a look at %s: %s", server.address, error)
        return None

    async def _found(self, way: Way) -> list[Remark] | None:
        if not await self._answers_short(way):
            return None  # it answers no echo: nothing can be told by one that is lost
        found = [await self._width(way)]
        if way.server.mode and way.server.check.kind in BY_TCP and is_wrapped(way):
            found.append(await self._segments(way))
        if way.server.mode and not overhead_bytes(way):
            found.append(await self._sender_of_late(way))
        if way.server.answers_by_us:
            found.append(await self._way_back(way))
        return [one for one in found if one is not None]

    async def _answers_short(self, way: Way) -> bool:
        return await self._answers(way, HEADERS_BYTES[way.at_vip.address.version])

    async def _answers(self, way: Way, size_bytes: int, tries_s: Sequence[float] = TRIES_S) -> bool:
        hops, send = HOPS[bool(way.server.mode)], partial(self._send, way)
        return await is_answered(way.source, way.at_vip.address, send, size_bytes, hops, tries_s)

    def _send(self, way: Way, packet: bytes) -> None:
        """Send a packet to a server as its clients' go, past the routing of this host."""
        if self._out is None:
            self._out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        for frame in way.lead.frames(packet):
            self._out.sendto(frame, (way.link.name, 0))

    async def _width(self, way: Way) -> Remark | None:
        """Return what is wrong with the length of packets that get there."""
        said = fits_bytes(way)
        if await self._answers(way, said) or await self._answers(way, said, PATIENT_S):
            return None
        if not await self._answers_short(way):  # it is gone meanwhile, or all is slow
            return None
        most, less = said, LEAST_BYTES[way.at_vip.address.version]
        while most - less > 1:  # `less` is taken for answered
            half = (most + less) // 2
            most, less = (most, half) if await self._answers(way, half) else (half, less)
        around = overhead_bytes(way)
        said, less = said + around, less + around
        return Remark(
            "path_mtu",
            f"packets of {said} bytes, which {way.link.name} carries, do not arrive, of {less} they do; "
            f"let every link on the way carry {said} bytes, or say what they carry: "
            f"ip route replace {way.server.address} … mtu {less}",
        )

    async def _segments(self, way: Way) -> Remark | None:
        """Return what is wrong with the segments that a server behind a tunnel asks of clients."""
        mss, version = await announced_mss(way, self._by_path), way.server.vip.version
        most = fits_bytes(way) - TCP_HEADERS_BYTES[version]
        if mss is None or mss <= most:
            return None
        return Remark(
            "mtu",
            f"it asks clients for segments of {mss} bytes, {most} fit into the tunnel; "
            f"on the server: {setup_line(way.server.mode, way.server.vip, way.server.options)}, or let the "
            f"links there carry {fits_bytes(way) + overhead_bytes(way) + mss - most} bytes",
        )

    async def _sender_of_late(self, way: Way) -> Remark | None:
        """Return the same of the last time, if that is not long ago."""
        about, now = About(way.server.vip, way.server.address), asyncio.get_running_loop().time()
        remark, until_s = self._provoked.get(about, (None, 0.0))
        if now >= until_s:
            remark = await self._sender(way)
            holds_for_s = PROVOKED_EVERY_S if remark is None else AGAIN_AFTER_S
            self._provoked = {one: it for one, it in self._provoked.items() if it[1] > now}
            self._provoked[about] = remark, now + holds_for_s
        return remark

    async def _sender(self, way: Way) -> Remark | None:
        """Return what is wrong with as whom a server asks by ARP."""
        vip = way.server.vip
        network = next((one.network for one in way.link.ipv4 if way.server.address in one.network), None)
        if not isinstance(vip, IPv4Address) or network is None:
            return None
        spare = await self._spare(network, way.link)
        if spare is None:
            return None
        packet = request(spare, vip, HEADERS_BYTES[4], secrets.token_bytes(TOKEN_BYTES), HOPS[True])
        provoke = partial(self._send, way, packet)
        if await asyncio.to_thread(asks_as, spare, way.hop.dst_mac, way.link, provoke) != vip:
            return None
        return claimed_by_asking(vip, person_mac(way.hop.dst_mac), way.link.name)

    async def _spare(self, network: IPv4Network, link: Link) -> IPv4Address | None:
        """Return an address that nobody has, the same one as long as that holds."""
        now = asyncio.get_running_loop().time()
        async with self._choosing:
            spare, until_s = self._spares.get(network, (None, 0.0))
            if now >= until_s:
                if spare is None or await asyncio.to_thread(find_owner, spare, link) is not None:
                    spare = await asyncio.to_thread(spare_address, network, link)
                self._spares[network] = spare, now + SPARE_FOR_S
        return spare

    async def _way_back(self, way: Way) -> Remark | None:
        """Return what is wrong with a server's answers to clients that are elsewhere."""
        version = way.server.address.version
        token = secrets.token_bytes(TOKEN_BYTES)
        packet = request(AFAR[version], way.server.address, HEADERS_BYTES[version], token, HOPS[False])
        sock = hearing(AFAR[version].packed, way.link.name, version)
        try:
            headers = {4: 20, 6: 40}[version]
            came = await asked(
                sock,
                partial(self._send, way, packet),
                lambda got: is_reply(got[headers:], version, token),
                (*TRIES_S, *PATIENT_S),
            )
        finally:
            await close_beside(sock)
        if came or not await self._answers_short(way):
            return None
        return Remark(
            "default_route",
            f"what it answers to other networks does not come back by {way.link.name}; "
            f"on the server: ip route replace default via {way.source}",
        )


def is_wrapped(way: Way) -> bool:
    """Return whether packets go to a server by a tunnel, through a router: its MSS is for others, too."""
    return overhead_bytes(way) > 0 and not is_on_link(way.server.address, way.link)


def overhead_bytes(way: Way) -> int:
    """Return what a mode puts before packets."""
    if not way.server.mode:
        return 0
    return modes.BY_NAME[way.server.mode].overhead_bytes(way.server.options, way.server.address.version)


def fits_bytes(way: Way) -> int:
    """Return how long packets may be, as far as this host knows the way."""
    return (way.hop.mtu_bytes or way.link.mtu_bytes) - overhead_bytes(way)


def hearing(to: bytes, device: str, version: int) -> socket.socket:
    """Return a socket that hears packets to one address that come in by an interface.

    ::

        classic BPF, from the IP header on: the last four bytes of the destination, and its first ones
    """
    words = ((16, to),) if version == 4 else ((24, to[:4]), (36, to[12:]))
    program: Program = []
    for number, (at, word) in enumerate(words):
        past = 2 * (len(words) - number - 1) + 1  # instructions to the refusal
        program += [(LOAD_ABS_WORD, 0, 0, at), (JUMP_EQUAL, 0, past, int.from_bytes(word, "big"))]
    program += [ACCEPT, REJECT]
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    try:
        attach_filter(sock, program)
        sock.bind((device, ETHERTYPES[version]))
    except BaseException:
        sock.close()
        raise
    return sock
