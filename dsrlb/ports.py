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

*Source*: RFC 6056, section 3.1 (the range), RFC 9293, section 3.6.1 (TIME_WAIT).
"""

from __future__ import annotations

from array import array

import numpy as np

from dsrlb.wire.flowhash import flow_hash

FIRST, LAST = 1024, 65_535
COUNT = LAST - FIRST + 1  # 2**10 * 3**2 * 7
STRIDE = 40_961  # has no factor of COUNT: a walk meets every port once, and neighbours in time are far apart
MAX_IDLE_RINGS = 256
PORT_AT = 34  # in a reply key: the destination's port

_WALK = (np.arange(COUNT) * STRIDE % COUNT + FIRST).astype("u2").tobytes()


class _Ring:
    """The ports of one source towards one server's port, the next one first."""

    __slots__ = ("free", "head", "ports")

    def __init__(self, start: int) -> None:
        self.ports = array("H", _WALK)
        self.head, self.free = start % COUNT, COUNT

    def take(self) -> int:
        port = self.ports[self.head]
        self.head = (self.head + 1) % COUNT
        self.free -= 1
        return port

    def give_back(self, port: int) -> None:
        self.ports[(self.head + self.free) % COUNT] = port
        self.free += 1


class SourcePorts:
    """One ring of 126 KiB for every (server's address and port, source address, protocol) in use."""

    def __init__(self) -> None:
        self._rings: dict[bytes, _Ring] = {}

    def take(self, reply_key: bytes, now_s: int) -> bytes | None:
        """Return the reply key with a port that no flow has in place of its own; None if there is none.

        Where a new ring begins depends on ``now_s``: after a restart the first ports are not those
        that the servers remember.
        """
        name = _without_port(reply_key)
        ring = self._rings.get(name)
        if ring is None:
            self._forget_idle()
            start = flow_hash(reply_key[:PORT_AT] + (now_s & 0xFFFF).to_bytes(2, "big") + reply_key[36:])
            ring = self._rings[name] = _Ring(start)
        if not ring.free:
            return None
        return reply_key[:PORT_AT] + ring.take().to_bytes(2, "big") + reply_key[PORT_AT + 2 :]

    def give_back(self, reply_key: bytes) -> None:
        """Take the port of a reply key back from a flow that is over."""
        ring = self._rings[_without_port(reply_key)]
        ring.give_back(int.from_bytes(reply_key[PORT_AT : PORT_AT + 2], "big"))

    def _forget_idle(self) -> None:
        """Forget rings that nobody uses, once there are many: servers come and go."""
        if len(self._rings) >= MAX_IDLE_RINGS:
            self._rings = {name: ring for name, ring in self._rings.items() if ring.free < COUNT}


def _without_port(reply_key: bytes) -> bytes:
    return reply_key[:PORT_AT] + reply_key[PORT_AT + 2 :]
