"""Clients, servers and the watch over their handshakes in simulated time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import balancer
from packets import BACKEND_MACS, IFINDEX

from dsrlb.control.passive import Passive
from dsrlb.model import Check, Service
from dsrlb.sampling import HandshakeTable
from dsrlb.standing import AS_CONFIGURED, Change, Names, after, named
from dsrlb.table import compile_table
from dsrlb.wire.l4 import ACK, RST, SYN

LOOK_S = 0.25
GIVES_UP_S = 3.5


@dataclass
class Server:
    """How a server answers."""

    takes_s: float | None = 0.001  # from SYN to the client's ACK; None: it is dead
    lost: float = 0.0  # this share of handshakes, at its first try


@dataclass
class World:
    """A service, and what goes on there; ``said`` is every change, with its time."""

    service: Service
    seed: int = 1
    resets: bool = False  # who is dead refuses, which is seen
    now_s: float = 1000.0
    said: list[tuple[float, int, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names: list[Names] = [names for names, _ in named(self.service)]
        self.servers = [Server() for _ in self.names]
        self.standings = dict.fromkeys(self.names, AS_CONFIGURED)
        self.table = compile_table(
            [self.service], balancer.hops(self.service.backends), {IFINDEX: balancer.BALANCER}
        )
        self.passive = Passive([self.service])
        self.seen = HandshakeTable()
        self.random = random.Random(self.seed)
        self.order = count()
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.on_look: list[Callable[[], None]] = []
        self.at(0.1, self.look)

    def at(self, after_s: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.due, (self.now_s + after_s, next(self.order), do))

    def run(self, for_s: float) -> None:
        until_s = self.now_s + for_s
        while self.due and self.due[0][0] <= until_s:
            self.now_s, _, do = heapq.heappop(self.due)
            do()
        self.now_s = until_s

    def look(self) -> None:
        seen = self.seen.seen(int(self.now_s * 1e6))
        self.hear(self.passive.look(seen, self.standings, self.table, self.now_s))
        for do in self.on_look:
            do()
        self.at(LOOK_S, self.look)

    def hear(self, changes: Iterable[tuple[Names, Change]]) -> None:
        for names, change in changes:
            self.standings[names] = after(self.standings[names], change)
            self.said.append((self.now_s, self.names.index(names), self.standings[names].ejected))

    @property
    def taking(self) -> list[int]:
        return [one for one, names in enumerate(self.names) if self.standings[names].is_well]

    @property
    def out(self) -> set[int]:
        return {number for number, names in enumerate(self.names) if self.standings[names].ejected}

    def traffic(self, a_second: float, at: int | None = None, dead: bool = False) -> None:
        """Let clients come at a rate from now on (``dead``: that never answer), to all or to one server."""

        def come() -> None:
            self.connect(at, dead)
            self.at(self.random.expovariate(a_second), come)

        self.at(self.random.expovariate(a_second), come)

    def clients(self, count: int, pause_s: float) -> None:
        """Let so many clients connect again and again, each waiting until it is answered, and a pause."""

        def one() -> None:
            number = self.random.choice(self.taking)
            key = self.random.randbytes(36) + bytes((6, 0, 0, 0))

            def ask() -> None:
                at = number if number in self.taking else self.random.choice(self.taking)
                self.packet(key, at, SYN)
                if self.servers[at].takes_s is None:
                    return self.at(1, ask)
                self.packet(key, at, ACK)
                return self.at(pause_s, one)

            ask()

        for _ in range(count):
            self.at(self.random.random() * pause_s, one)

    def connect(self, at: int | None = None, dead: bool = False) -> None:
        number = self.random.choice(self.taking) if at is None else at
        key = self.random.randbytes(36) + bytes((6, 0, 0, 0))
        self.packet(key, number, SYN)
        if dead:
            return
        server = self.servers[number]
        is_lost = self.random.random() < server.lost
        if server.takes_s is not None and not is_lost and server.takes_s < 1:
            self.at(server.takes_s, lambda: self.packet(key, number, ACK))
        elif server.takes_s is None and self.resets:
            self.at(0.001, lambda: self.packet(key, number, RST))
        else:
            self.at(1, lambda: self.again(key, number))

    def again(self, key: bytes, number: int) -> None:
        self.packet(key, number, SYN)
        takes_s = self.servers[number].takes_s
        if takes_s is not None:
            self.at(takes_s, lambda: self.packet(key, number, ACK))

    def packet(self, key: bytes, number: int, flags: int) -> None:
        self.seen.request(key, self.names[number], flags, int(self.now_s * 1e6))


def service_of(servers: int = 4, **fields: Any) -> Service:
    """Return a service of so many servers."""
    macs = BACKEND_MACS
    texts = [f"198.18.1.{11 + one},mac={macs[one % len(macs)]}" for one in range(servers)]
    (made,) = balancer.services(["198.18.1.100:80"], texts)
    return replace(made, **{"check": Check("tcp"), **fields})
