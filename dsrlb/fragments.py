"""Keeping the pieces of a datagram together.

Only the first piece of a fragmented datagram has ports.  It is forwarded like any packet, and
the backend that it went to is remembered under (source, destination, identification,
protocol).  Later pieces follow it there; pieces that overtook it are held, in bounded memory
and time, until it comes.

*Source*: RFC 791 section 3.2, RFC 8200 section 4.5; the 30 s are Linux's ``ipfrag_time``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dsrlb.wire.packet import Arrival

REMEMBER_S = 30
HOLD_S = 3
MAX_DATAGRAMS = 16_384
MAX_HELD_BYTES = 4 << 20
HELD_OVERHEAD_BYTES = 512  # what a held piece costs beside its bytes
MAX_HELD_PIECES = 64  # of one datagram: 64 KiB in pieces of an Ethernet frame's size are 45


@dataclass(slots=True)
class Datagram:
    """What is known of one datagram: where its first piece went, or the pieces that wait for it."""

    until_s: int
    owner: tuple[bytes, bytes] | None = None  # service key, backend key
    held: list[Arrival] = field(default_factory=list)


class FragmentTable:
    """Datagrams in pieces, by key."""

    def __init__(
        self,
        max_datagrams: int = MAX_DATAGRAMS,
        max_held_bytes: int = MAX_HELD_BYTES,
        datagrams: dict[bytes, Datagram] | None = None,
    ) -> None:
        """``datagrams``: where they stand, if not in a dictionary of its own."""
        self._datagrams: dict[bytes, Datagram] = {} if datagrams is None else datagrams
        self.get = self._datagrams.get
        self.max_datagrams = max_datagrams
        self.max_held_bytes = max_held_bytes
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._datagrams)

    def owner(self, key: bytes, now_s: int) -> tuple[bytes, bytes] | None:
        """Return (service key, backend key) of the datagram's first piece, if it has been seen."""
        datagram = self._datagrams.get(key)
        return datagram.owner if datagram is not None and now_s <= datagram.until_s else None

    def remember(self, key: bytes, owner: tuple[bytes, bytes], now_s: int) -> list[Arrival]:
        """Note where a first piece went; return the pieces that waited for it."""
        waiting = self._datagrams.pop(key, None)
        if len(self._datagrams) < self.max_datagrams:
            self._datagrams[key] = Datagram(now_s + REMEMBER_S, owner)
        return self._release(waiting) if waiting is not None else []

    def hold(self, key: bytes, held: Arrival, now_s: int) -> bool:
        """Keep a piece whose first piece has not come; return whether there was room."""
        datagram = self._datagrams.get(key)
        if self.held_bytes + _cost(held) > self.max_held_bytes:
            return False
        if datagram is None or datagram.owner is not None:
            if datagram is None and len(self._datagrams) >= self.max_datagrams:
                return False
            datagram = self._datagrams[key] = Datagram(now_s + HOLD_S)
        elif now_s > datagram.until_s:  # over, though not swept yet: its identification is used again
            datagram.until_s = now_s + HOLD_S
        if len(datagram.held) >= MAX_HELD_PIECES:
            return False
        datagram.held.append(held)
        self.held_bytes += _cost(held)
        return True

    def expire(self, now_s: int) -> int:
        """Forget datagrams whose time is up; return how many held pieces were given up."""
        over = [key for key, datagram in self._datagrams.items() if now_s > datagram.until_s]
        return sum(len(self._release(self._datagrams.pop(key))) for key in over)

    def _release(self, datagram: Datagram) -> list[Arrival]:
        self.held_bytes -= sum(map(_cost, datagram.held))
        return datagram.held


def _cost(held: Arrival) -> int:
    return len(held.frame) + HELD_OVERHEAD_BYTES
