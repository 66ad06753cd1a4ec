"""A service by response time, simulated: servers that take so long, clients and probes that meet them.

A second at a time: clients come in proportion to the weights, probes every two seconds (every half a
second while their times differ), and what both saw is made into the weights of the next second.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from dsrlb.response import Heard, Memory, after
from dsrlb.sampling import BUCKETS, bucket_of

Times = Callable[[int, Sequence[float]], Sequence[float]]  # second, clients a second -> ms, of each server

CLIENTS_MS = 0.3  # their own part of a handshake
SPREAD = 0.1  # of what each server takes
BUSY_MS, OFTEN = 3.0, 0.4  # that this host adds to a probe on average, where it does, and how often


@dataclass
class Simulated:
    """A service; the index of a server is its name."""

    times_ms: Times
    servers: int = 3
    clients_per_s: float = 300
    probes: bool = True
    traffic: bool = True
    is_busy: bool = False  # this host, so that it measures badly
    way_ms: Callable[[random.Random], float] = lambda chance: CLIENTS_MS * chance.random()
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    memories: dict[int, Memory] = field(default_factory=dict)
    second: int = 0
    _probed: dict[int, list[float]] = field(default_factory=dict)  # the last three, ms
    _due: dict[int, float] = field(default_factory=dict)

    @property
    def percents(self) -> list[int]:
        return [self.memories[one].percent if self.memories else 100 for one in range(self.servers)]

    @property
    def shares(self) -> list[float]:
        """Of new flows, in per cent."""
        return [100 * percent / sum(self.percents) for percent in self.percents]

    def run(self, seconds: int) -> list[list[float]]:
        """Let so much time pass; return the shares after each second."""
        seen = []
        for _ in range(seconds):
            rates = [self.clients_per_s * share / 100 for share in self.shares]
            times = self.times_ms(self.second, rates)
            heard = {one: self._heard(one, times[one], rates[one]) for one in range(self.servers)}
            self.second += 1
            self.memories = after(self.memories, heard, self.second)
            seen.append(self.shares)
        return seen

    def _heard(self, server: int, time_ms: float, rate: float) -> Heard:
        is_probed = self._probe(server, time_ms)
        known = self._probed.get(server)
        times = [0] * BUCKETS
        for _ in range(int(rate + self.chance.random()) if self.traffic else 0):
            took_ms = max(0.0, self.way_ms(self.chance) + self.chance.gauss(time_ms, SPREAD * time_ms))
            times[bucket_of(int(1000 * took_ms))] += 1
        return Heard(1000 * median(known) if known else None, is_probed, times, probes=len(known or ()))

    def _probe(self, server: int, time_ms: float) -> bool:
        due, known, before = (
            self._due.get(server, self.chance.random()),
            self._probed.get(server, []),
            self._due,
        )
        while self.probes and due < self.second + 1:
            took_ms = abs(self.chance.gauss(time_ms, SPREAD * time_ms)) + 0.2
            if self.is_busy and self.chance.random() < OFTEN:
                took_ms += self.chance.expovariate(1 / BUSY_MS)
            known = [*known, took_ms][-3:]
            varies = len(known) < 3 or max(known) > 1.5 * min(known)
            due += (0.5 if varies else 2.0) * (1 - 0.1 * self.chance.random())
        is_probed = due != before.get(server) and bool(known)
        self._due[server], self._probed[server] = due, known
        return is_probed


def constant(*times_ms: float) -> Times:
    """Return servers that always take the same time."""
    return lambda _second, _rates: times_ms


def queues(service_ms: Sequence[float], most_per_s: Sequence[float]) -> Times:
    """Return servers whose clients wait for each other (M/M/1): the nearer to the most, the longer."""

    def times(_second: int, rates: Sequence[float]) -> list[float]:
        loads = [min(rate / most, 0.97) for rate, most in zip(rates, most_per_s, strict=True)]
        return [service / (1 - load) for service, load in zip(service_ms, loads, strict=True)]

    return times
