"""Source ports for flows whose client's address is replaced: which are free, and which was freed first.

Towards one server's address and port, from one source address, in one protocol, there are 64512 ports.
They stand in a ring; the next one is taken at the head, and one given back goes to the tail, so a port
rests for as long as there are others: the server may still be waiting out (TIME_WAIT) the
connection that had it::

          head: next to be taken           tail: last given back
          v                                v
    +-----+-----+-----+-- - --+-----+-----+-----+-----+
    | used| free| free|       | free| free| used| used|      each step costs the same, however few are left
    +-----+-----+-----+-- - --+-----+-----+-----+-----+

On the first lap the head meets ports in an order that is known beforehand, so only those given back are
written down, 2 bytes each: a ring costs some 300 bytes at first, and 126 KiB when all have come back.
With a service for every port it is the client who chooses the server's port, hence the bounds.

*Source*: RFC 6056, section 3.1 (the range), RFC 9293, section 3.6.1 (TIME_WAIT); Linux
include/net/tcp.h (TCP_TIMEWAIT_LEN).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from dsrlb.wire.flowhash import flow_hash

FIRST, LAST = 1024, 65_535
COUNT = LAST - FIRST + 1  # 2**10 * 3**2 * 7
STRIDE = 40_961  # has no factor of COUNT: a walk meets every port once, and neighbours in time are far apart
MAX_RINGS = 16_384
SWEEP_RINGS = 1024  # looked at in a call of ``expire``
REST_S = 60  # TIME_WAIT of Linux
PORT_AT = 34  # in a reply key: the destination's port


class _Ring:
    """The ports of one source towards one server's port, the next one first."""

    __slots__ = ("given_back", "idle_s", "ports", "start", "taken")

    def __init__(self, start: int) -> None:
        self.start = start
        self.taken = self.given_back = 0  # since the ring was made
        self.ports = array("H")  # given back; a lap long at most
        self.idle_s: int | None = None  # since when it is known that no port is in use

    def take(self) -> int | None:
        if self.taken - self.given_back == COUNT:
            return None
        if self.taken < COUNT:
            port = FIRST + (self.start + self.taken) * STRIDE % COUNT
        else:
            port = self.ports[self.taken % COUNT]
        self.taken += 1
        self.idle_s = None
        return port

    def give_back(self, port: int) -> None:
        if self.given_back < COUNT:
            self.ports.append(port)
        else:
            self.ports[self.given_back % COUNT] = port
        self.given_back += 1

    def has_rested(self, now_s: int) -> bool:
        """Return whether no port has been in use for as long as a server remembers one."""
        if self.taken != self.given_back:
            return False
        if self.idle_s is None:
            self.idle_s = now_s
        return now_s - self.idle_s >= REST_S


class SourcePorts:
    """One ring for every (server's address and port, source address, protocol) in use; see ``MAX_RINGS``."""

    def __init__(self) -> None:
        self._rings: dict[bytes, _Ring] = {}
        self._sweep: Iterator[bytes] = iter(())

    def take(self, reply_key: bytes, now_s: int) -> bytes | None:
        """Return the reply key with a port that no flow has in place of its own; None if there is none.

        Where a new ring begins depends on ``now_s``: after a restart the first ports are not those
        that the servers remember.
        """
        name = _without_port(reply_key)
        ring = self._rings.get(name)
        if ring is None:
            if len(self._rings) >= MAX_RINGS:
                return None
            start = flow_hash(reply_key[:PORT_AT] + (now_s & 0xFFFF).to_bytes(2, "big") + reply_key[36:])
            ring = self._rings[name] = _Ring(start)
        port = ring.take()
        if port is None:
            return None
        return reply_key[:PORT_AT] + port.to_bytes(2, "big") + reply_key[PORT_AT + 2 :]

    def give_back(self, reply_key: bytes) -> None:
        """Take the port of a reply key back from a flow that is over."""
        ring = self._rings[_without_port(reply_key)]
        ring.give_back(int.from_bytes(reply_key[PORT_AT : PORT_AT + 2], "big"))

    def expire(self, now_s: int, most: int = SWEEP_RINGS) -> None:
        """Forget rings whose last port was given back ``REST_S`` ago, looking at a bounded number per call.

        A new ring of the same name begins anywhere: no server may remember a port of the old one.
        """
        for _ in range(most):
            name = next(self._sweep, None)
            if name is None:
                self._sweep = iter(list(self._rings))
                break
            ring = self._rings.get(name)
            if ring is not None and ring.has_rested(now_s):
                del self._rings[name]


def _without_port(reply_key: bytes) -> bytes:
    return reply_key[:PORT_AT] + reply_key[PORT_AT + 2 :]
