"""What comes in: the packets of a few clients, of servers and routers, in any order and in any state."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from random import Random

import packets as p
from fuzzing import mutate, seeds
from parity import frames as f
from parity.edges import on_edge
from parity.frames import ICMP, ICMPV6, TCP, UDP, Ip, Link
from parity.rivals import rivals

from dsrlb.model import Action, Reason, Service

Arrival = tuple[bytes, int]  # frame, interface
Verdict = tuple[Action, Reason, int, bytes]

CLIENTS = {4: [f.packed(f"198.18.{net}.{host}") for net in (0, 3) for host in (2, 3, 66)],
           6: [f.packed(f"2001:db8:{net}::{host}") for net in (0, 3) for host in (2, 3)]}  # fmt: skip
ODD_SOURCES = {4: [f.packed(one) for one in ("127.0.0.1", "0.1.2.3", "224.0.0.1", p.VIP, p.SERVERS[0])],
               6: [f.packed(one) for one in ("::1", "::", "ff02::1", p.VIP6, p.SERVERS6[0])]}  # fmt: skip
VIPS = {4: [f.packed(p.VIP)] * 4 + [f.packed(p.OTHER_VIP)], 6: [f.packed(p.VIP6)]}
PORTS = 80, 80, 80, 53, 53, 8080, 9
SPORTS = 4000, 4001, 4002, 40_000
MANY_SPORTS = range(5000, 25_000)
FLAGS = [
    int(p.TCP(flags=word).flags)
    for word in ("S", "S", "S", "A", "A", "A", "A", "PA", "FA", "R", "SA", "F", "")
]
RST = 4
LOADS = 0, 0, 1, 5, 60, 64, 90, 100, 200
LONG = 500, 1200, 1400, 1440, 1460, 1472, 1600, 3000
TTLS = 64, 64, 64, 64, 64, 64, 64, 255, 2, 1, 0
TAGS: list[tuple[int, ...]] = [()] * 60 + [(5,)] * 3 + [(5, 6)] * 3 + [(5, 6, 7)] * 2
MANY_TAGS: list[tuple[int, ...]] = [(), (5,), (7,), (5, 6), (5, 7)]
IDENTS = 7, 8, 9
MSS = bytes((2, 4, 5, 180))  # 1460
OPTIONS = [  # of TCP: nothing to do, the MSS at even and odd places, what cannot be read
    bytes.fromhex(one)
    for one in ("", "0101010801010101", "020405b4", "01020405b4000000", "020401f4", "0204ffff",
                "020305b4", "020400000103030a", "05000204", "0501020405b40000", "00020405b4000000",
                "080a0000000000000000020405b40000", "fe05010203020405b4000000", "0101020405b40101",
                "0205010203000000")
]  # fmt: skip
ERRORS = {4: [(3, code, 0) for code in (0, 1, 2, 3, 5, 13)] + [(11, 0, 0), (11, 1, 0), (12, 0, 0)]
             + [(3, 4, mtu) for mtu in (0, 300, 576, 1300, 1480, 1500)] * 2,
          6: [(1, code, 0) for code in (0, 1, 3, 4)] + [(3, 0, 0), (4, 0, 0), (4, 1, 0)]
             + [(2, 0, mtu) for mtu in (0, 1280, 1300, 1480)] * 2}  # fmt: skip
ROUTERS = {
    4: [f.packed(p.ROUTER), f.packed(p.INNER_ROUTER)],
    6: [f.packed(p.ROUTER6), f.packed(p.INNER_ROUTER6)],
}
QUOTES = 28, 28, 48, 60, 100, 600


@cache
def scapy_seeds() -> list[bytes]:
    """Return valid frames of every kind, made once."""
    return seeds()


class Traffic:
    """A source of frames that knows what became of those before."""

    def __init__(self, rng: Random, services: Sequence[Service]) -> None:
        self._rng = rng
        self._sports: Sequence[int] = SPORTS if rng.random() < 0.75 else MANY_SPORTS
        self._tags = TAGS if rng.random() < 0.85 else MANY_TAGS
        self.aim(services)
        self._asked: deque[tuple[Ip, int, int, int | None]] = deque(maxlen=24)  # header, ports, flags
        self._sent: deque[tuple[bytes, int]] = deque(maxlen=24)  # what left, where
        self._came: deque[Arrival] = deque(maxlen=40)
        self._became: deque[tuple[Arrival, bytes]] = deque(maxlen=24)  # what came, and left
        self._waiting: list[Arrival] = []  # pieces
        self._kinds: list[Callable[[], Arrival]] = []
        for kind, weight in ((self._request, 42), (self._next, 10), (self._piece, 6), (self._mutated, 12),
                             (self._known, 3), (self._error_about_answer, 6), (self._error_about_sent, 6),
                             (self._answer, 14), (self._other, 4), (self._on_edge, 5)):  # fmt: skip
            self._kinds += [kind] * weight

    def aim(self, services: Sequence[Service]) -> None:
        """Let most packets be for one of these."""
        self._aims = [(one.vip.packed, one.port, TCP if one.protocol == "tcp" else UDP) for one in services]

    def next(self) -> Arrival:
        """Return a frame and where it comes in."""
        rng = self._rng
        frame, ifindex = rng.choice(self._kinds)()
        if rng.random() < 0.01:
            ifindex = p.IFINDEX + p.OTHER_IFINDEX - ifindex
        if rng.random() < 0.02:
            frame += rng.randbytes(rng.randrange(1, 40))
        if frame:
            self._came.append((frame, ifindex))
        return frame, ifindex

    def saw(self, verdict: Verdict) -> None:
        """Remember what became of the frame that came last."""
        if verdict[0] >= Action.TX and self._came:
            self._became.append((self._came[-1], verdict[3]))
        if verdict[0] >= Action.TX and verdict[1] in (Reason.FORWARDED, Reason.FRAGMENT_FORWARDED):
            self._sent.append((verdict[3], verdict[2]))

    def _link(self) -> Link:
        rng = self._rng
        if rng.random() < 0.9:
            return Link(tags=rng.choice(self._tags))
        src = p.mac_bytes(rng.choice((p.STRANGER_MAC, "03:00:c6:12:01:00", p.BALANCER_MAC)))
        dst = p.mac_bytes(
            rng.choice((p.BALANCER_MAC, p.BALANCER_MAC, p.STRANGER_MAC, p.INNER_MAC, p.BROADCAST_MAC))
        )
        return Link(dst, src)

    def _head(self, vip: bytes, protocol: int) -> Ip:
        rng, version = self._rng, 4 if len(vip) == 4 else 6
        sources = ODD_SOURCES if rng.random() < 0.03 else CLIENTS
        head = Ip(
            rng.choice(sources[version]), vip, protocol, rng.choice(TTLS),
            rng.choice((0, 0, 0, 0x2E, 0xFF)), rng.choice(IDENTS), rng.random() < 0.5,
        )  # fmt: skip
        if rng.random() < 0.05:
            if version == 4:
                return replace(head, options=rng.choice((bytes(4), bytes(40), bytes((1, 1, 1, 7)))))
            return f.extended(
                head, tuple(rng.choice((0, 60, 60, 44, 43)) for _ in range(rng.choice((1, 1, 2, 9))))
            )
        return head

    def _segment(self) -> tuple[Ip, bytes]:
        rng = self._rng
        vip, dport, protocol = rng.choice(self._aims)
        if rng.random() < 0.07:
            version, protocol = rng.choice((4, 6)), rng.choice((TCP, UDP))
            vip, dport = rng.choice(VIPS[version]), rng.choice(PORTS)
        head = self._head(vip, protocol)
        flags = rng.choice(FLAGS) if protocol == TCP else None
        sport, dport = rng.choice(self._sports), dport or rng.choice(PORTS)
        if flags is not None and rng.random() < 0.15:
            sport = rng.choice(rivals(head.src, head.dst, dport)[:4])
        load = bytes(rng.choice(LONG if rng.random() < 0.04 else LOADS))
        options = b""
        if flags is not None and flags & 2:
            options = MSS if rng.random() < 0.5 else rng.choice(OPTIONS)
        self._asked.append((head, sport, dport, flags))
        made = f.segment(head, sport, dport, flags, load, options)
        if flags is None and rng.random() < 0.2:
            made = made[:6] + b"\0\0" + made[8:]  # no checksum
        return head, made

    def _request(self) -> Arrival:
        head, segment = self._segment()
        version = 4 if len(head.src) == 4 else 6
        return f.link(self._link(), version) + f.packet(head, segment), p.IFINDEX

    def _next(self) -> Arrival:
        """One more packet of a connection that was asked for lately."""
        rng = self._rng
        open_ones = [one for one in self._asked if one[3] is not None and not one[0].chain]
        if not open_ones:
            return self._request()
        head, sport, dport, _ = rng.choice(open_ones)
        made = f.segment(head, sport, dport, rng.choice(FLAGS), bytes(rng.choice(LOADS)))
        return f.link(self._link(), 4 if len(head.src) == 4 else 6) + f.packet(head, made), p.IFINDEX

    def _piece(self) -> Arrival:
        """One piece of a datagram; its pieces come in some order, some twice, some never."""
        rng = self._rng
        if len(self._waiting) < 3:
            head, segment = self._segment()
            link = f.link(self._link(), 4 if len(head.src) == 4 else 6)
            if head.chain:
                head = replace(head, options=b"", chain=0)
            self._waiting += [
                (link + one, p.IFINDEX) for one in f.cut(head, segment, rng.choice((8, 24, 64)))[:6]
            ]
        at = 0 if rng.random() < 0.6 else rng.randrange(len(self._waiting))
        return self._waiting[at] if rng.random() < 0.1 else self._waiting.pop(at)

    def _mutated(self) -> Arrival:
        if self._came and self._rng.random() < 0.7:
            frame, ifindex = self._rng.choice(self._came)
            return mutate(self._rng, [frame]), ifindex
        return mutate(self._rng, scapy_seeds()), p.IFINDEX

    def _on_edge(self) -> Arrival:
        if not self._became:
            return self._request()
        (frame, ifindex), left = self._rng.choice(self._became)
        return on_edge(self._rng, frame, left), ifindex

    def _known(self) -> Arrival:
        return self._rng.choice(self._came) if self._came else self._request()

    def _other(self) -> Arrival:
        """ARP, neighbours, echo; a server as a client."""
        rng = self._rng
        if rng.random() < 0.6:
            return rng.choice(scapy_seeds()), p.IFINDEX
        head = Ip(
            f.packed(p.SERVERS[0]),
            f.packed(rng.choice((p.CLIENT, p.VIP, p.BALANCER_IP))),
            rng.choice((TCP, UDP)),
        )
        segment = f.segment(
            head,
            rng.choice((80, 53, 8080, 5000)),
            rng.choice(PORTS),
            None if head.protocol == UDP else 16,
            b"",
        )
        link = Link(p.mac_bytes(p.INNER_MAC), p.mac_bytes(p.SERVER_MACS[0]))
        return f.link(link, 4) + f.packet(head, segment), p.OTHER_IFINDEX

    def _error(self, head: Ip, quote: bytes, link: Link) -> bytes:
        rng = self._rng
        version = 4 if len(head.src) == 4 else 6
        kind, code, word = rng.choice(ERRORS[version])
        message = f.message(head, kind, code, word, quote[: rng.choice(QUOTES)])
        return f.link(link, version) + f.packet(head, message)

    def _error_about_answer(self) -> Arrival:
        """A router, or the client, on what a server answered."""
        if not self._asked:
            return self._request()
        asked, sport, dport, flags = self._rng.choice(self._asked)
        back = Ip(asked.dst, asked.src, asked.protocol)
        quote = f.packet(back, f.segment(back, dport, sport, None if flags is None else 16, bytes(64)))
        version = 4 if len(asked.src) == 4 else 6
        head = Ip(
            self._rng.choice((ROUTERS[version][0], asked.src)), asked.dst, ICMP if version == 4 else ICMPV6
        )
        return self._error(head, quote, Link()), p.IFINDEX

    def _error_about_sent(self) -> Arrival:
        """A router, or the server, on what the balancer sent."""
        if not self._sent:
            return self._request()
        rng = self._rng
        raw, ifindex = rng.choice(self._sent)
        packet, src, dst = _ends(raw)
        if not packet:
            return self._request()
        version = 4 if len(src) == 4 else 6
        says = rng.choice((*ROUTERS[version], dst, dst))
        head = Ip(says, src, ICMP if version == 4 else ICMPV6)
        link = Link(raw[6:12], rng.choice((raw[:6], f.ROUTER)))
        return self._error(head, packet, link), ifindex

    def _answer(self) -> Arrival:
        """What a server answers to a packet that it got: whole, or in pieces."""
        if not self._sent:
            return self._request()
        rng = self._rng
        raw, ifindex = self._sent[-1] if rng.random() < 0.3 else rng.choice(self._sent)
        packet, src, dst = _ends(raw)
        at = 0 if not packet else (packet[0] & 15) * 4 if len(src) == 4 else 40
        protocol = 0 if not packet else packet[9] if len(src) == 4 else packet[6]
        if protocol not in (TCP, UDP) or len(packet) < at + 4:
            return self._request()
        sport, dport = (int.from_bytes(packet[at + n : at + n + 2], "big") for n in (0, 2))
        head = Ip(dst, src, protocol, rng.choice(TTLS), 0, rng.choice(IDENTS), rng.random() < 0.5)
        flags = rng.choice((*FLAGS, RST, RST)) if protocol == TCP else None
        load = bytes(rng.choice(LONG if rng.random() < 0.04 else LOADS))
        segment = f.segment(head, dport, sport, flags, load)
        link = f.link(Link(raw[6:12], raw[:6]), 4 if len(src) == 4 else 6)
        if len(segment) > 64 and rng.random() < 0.3:
            self._waiting += [(link + one, ifindex) for one in f.cut(head, segment, 64)[:4]]
            return self._waiting.pop()
        return link + f.packet(head, segment), ifindex


def _ends(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the IP packet in a frame that was sent, its source and destination."""
    at = 14
    while raw[at - 2 : at] in (b"\x81\x00", b"\x88\xa8", b"\x91\x00"):
        at += 4
    if raw[at - 2 : at] == b"\x08\x00":
        return raw[at:], raw[at + 12 : at + 16], raw[at + 16 : at + 20]
    if raw[at - 2 : at] == b"\x86\xdd":
        return raw[at:], raw[at + 8 : at + 24], raw[at + 24 : at + 40]
    return b"", b"", b""
