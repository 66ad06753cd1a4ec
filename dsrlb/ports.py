"""Source ports for flows whose client's address is replaced: which are free, and which is next.

Towards one server's address and port, from one source address, in one protocol, there are 64512 ports.
They stand in a ring of one bit each.  The next one taken is the first free one at or behind the head, and
the head moves behind it; so a port given back rests until the head has come round: the server may still be
waiting out (TIME_WAIT) the connection that had it::

              head: taken next, if it is free
              v
    +---+---+---+---+---+---+-- - --+---+---+
    | 1 | 0 | 1 | 1 | 0 | 1 |       | 0 | 1 |     1: in use; this time it is the port at the second 0
    +---+---+---+---+---+---+-- - --+---+---+
      ^ bit 0: the port that the ring began with; behind 65535 comes 1024

A ring costs some 200 bytes at first, and 9 KiB when its head has come round.
With a service for every port it is the client who chooses the server's port, hence the bounds.

*Source*: RFC 6056, section 3.1 (the range), RFC 9293, section 3.6.1 (TIME_WAIT); Linux
include/net/tcp.h (TCP_TIMEWAIT_LEN).
"""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.wire.flowhash import flow_hash

FIRST, LAST = 1024, 65_535
COUNT = LAST - FIRST + 1
MAX_RINGS = 16_384
SWEEP_RINGS = 1024  # looked at in a call of ``expire``
REST_S = 60  # TIME_WAIT of Linux
PORT_AT = 34  # in a reply key: the destination's port
_ALL = (1 << COUNT) - 1


class Ring:
    """The ports of one source towards one server's port."""

    __slots__ = ("first", "head", "idle_s", "used")

    def __init__(self, first: int) -> None:
        self.first = first  # which port bit 0 stands for, counted from FIRST
        self.head = 0  # the bit looked at next
        self.used = 0  # a bit for each port
        self.idle_s: int | None = None  # since when it is known that no port is in use

    def take(self) -> int | None:
        """Return the next free port, which is in use from now on; None: there is none."""
        if self.used == _ALL:
            return None
        at = self.head + _lowest_zero(self.used >> self.head)
        if at >= COUNT:
            at = _lowest_zero(self.used)
        self.used |= 1 << at
        self.head = (at + 1) % COUNT
        self.idle_s = None
        return FIRST + (self.first + at) % COUNT

    def give_back(self, port: int) -> None:
        """Let a port be free again."""
        self.used &= ~(1 << (port - FIRST - self.first) % COUNT)

    def has_rested(self, now_s: int) -> bool:
        """Return whether no port has been in use for as long as a server remembers one."""
        if self.used:
            return False
        if self.idle_s is None:
            self.idle_s = now_s
        return now_s - self.idle_s >= REST_S


def _lowest_zero(bits: int) -> int:
    """Return the place of the lowest bit that is 0; there are zeros above every number."""
    return (~bits & bits + 1).bit_length() - 1


class SourcePorts:
    """One ring for every (server's address and port, source address, protocol) in use; see ``MAX_RINGS``."""

    def __init__(self, by_name: dict[bytes, Ring] | None = None) -> None:
        """``by_name``: where the rings stand, if not in a dictionary of its own."""
        self.by_name: dict[bytes, Ring] = {} if by_name is None else by_name
        self._sweep: Iterator[bytes] = iter(())

    def take(self, reply_key: bytes, now_s: int) -> bytes | None:
        """Return the reply key with a port that no flow has in place of its own; None if there is none.

        Where a new ring begins depends on ``now_s``: after a restart the first ports are not those
        that the servers remember.
        """
        name = _without_port(reply_key)
        ring = self.by_name.get(name)
        if ring is None:
            if len(self.by_name) >= MAX_RINGS:
                return None
            start = flow_hash(reply_key[:PORT_AT] + (now_s & 0xFFFF).to_bytes(2, "big") + reply_key[36:])
            ring = self.by_name[name] = Ring(start % COUNT)
        port = ring.take()
        if port is None:
            return None
        return reply_key[:PORT_AT] + port.to_bytes(2, "big") + reply_key[PORT_AT + 2 :]

    def give_back(self, reply_key: bytes) -> None:
        """Take the port of a reply key back from a flow that is over."""
        ring = self.by_name[_without_port(reply_key)]
        ring.give_back(_port_of(reply_key))

    def rings(self) -> Iterator[tuple[bytes, int, int]]:
        """Yield each ring's name, first port and head: with the ports held, all that it is."""
        for name, ring in self.by_name.items():
            yield name, ring.first, ring.head

    def restore(self, name: bytes, first: int, head: int) -> None:
        """Make a ring that another process had; ValueError if there is no such ring."""
        if not (first < COUNT and head < COUNT and len(self.by_name) < MAX_RINGS):
            raise ValueError(f"no ring begins at {first} with its head at {head}")
        ring = self.by_name[name] = Ring(first)
        ring.head = head

    def hold(self, reply_key: bytes) -> bool:
        """Mark the port of a reply key as in use; return whether it has a ring and was free."""
        ring, port = self.by_name.get(_without_port(reply_key)), _port_of(reply_key)
        bit = 1 << (port - FIRST - ring.first) % COUNT if ring is not None else 0
        if ring is None or port < FIRST or ring.used & bit:
            return False
        ring.used |= bit
        return True

    def expire(self, now_s: int, most: int = SWEEP_RINGS) -> None:
        """Forget rings whose last port was given back ``REST_S`` ago, looking at a bounded number per call.

        A new ring of the same name begins anywhere: no server may remember a port of the old one.
        """
        for _ in range(most):
            name = next(self._sweep, None)
            if name is None:
                self._sweep = iter(list(self.by_name))
                break
            ring = self.by_name.get(name)
            if ring is not None and ring.has_rested(now_s):
                del self.by_name[name]


def _port_of(reply_key: bytes) -> int:
    return int.from_bytes(reply_key[PORT_AT : PORT_AT + 2], "big")


def _without_port(reply_key: bytes) -> bytes:
    return reply_key[:PORT_AT] + reply_key[PORT_AT + 2 :]
