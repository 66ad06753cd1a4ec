"""Where keys stand in the program's own hash tables: services in ``front``, addresses in ``vips``.

A key is in one of two buckets of a few ways each; their numbers are parts of one hash (``bpf/xdp/hash.h``)::

    hash of place, 64 bits:   63   57        32            12          0
                              +-----+---------+-------------+-----------+
                              | bit of filters|   first     |           |
                              +-----+---------+-------------+-----------+
                                              |      second -> (bits 12 and up)

To make room for a new key others go to their other bucket, as few as possible.  A reader looks at the
first bucket, then at the second, and must find every key all the while: one that moves stands in both.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from dsrlb.wire.flowhash import CONSTANTS, M64

_K1, _K2, _K3, _K4, _K5 = CONSTANTS[1:6]
_MIX = CONSTANTS[11]
_WORDS = struct.Struct("=5I")  # as they lie in memory
_LOOKED_AT_MOST = 2000  # ways on the search for room; a table that is half full needs a handful


def hash_of_place(key: bytes) -> int:
    """Return the 64-bit hash of an address, or of a service key."""
    a, b, c, d, tail = map(int, _WORDS.unpack(key.ljust(_WORDS.size, b"\0")))
    total = (_K1 * a + _K2 * b + _K3 * c + _K4 * d + _K5 * tail) & M64
    return ((total ^ total >> 32) * _MIX) & M64


def buckets_of(key: bytes, mask: int) -> tuple[int, int]:
    """Return the numbers of the first and the second bucket of a key."""
    hashed = hash_of_place(key)
    return hashed >> 32 & mask, hashed >> 12 & 0xFFFF_FFFF & mask


def filter_of(addresses: Iterable[bytes]) -> tuple[int, int]:
    """Return the 128 bits, as two words, that say of an address outside: it is none of these."""
    words = [0, 0]
    for address in addresses:
        bit = hash_of_place(address) >> 57
        words[bit >> 6] |= 1 << (bit & 63)
    return words[0], words[1]


class Place(NamedTuple):
    """Where a key stands."""

    bucket: int
    way: int


class Move(NamedTuple):
    """A key goes from one place to another; ``before`` is None for a new one."""

    key: bytes
    before: Place | None
    after: Place


class Places:
    """Which key stands where in a table of two-bucket hashing."""

    def __init__(self, buckets: int, ways: int) -> None:
        """Make an empty table; ``buckets`` is a power of two."""
        self.mask, self.ways = buckets - 1, ways
        self.of: dict[bytes, Place] = {}
        self._at: dict[Place, bytes] = {}

    def add(self, key: bytes) -> list[Move] | None:
        """Find a place for a new key; return what moves, in order: each into a free place, the key last.

        None: there is no room.
        """
        path = self._path_to_room(key)
        if path is None:
            return None
        moves = [Move(self._at[at], at, to) for at, to in pairwise(path)][::-1]
        moves.append(Move(key, None, path[0]))
        for moved, before, after in moves:
            self.put(moved, after)
            if before is not None:
                del self._at[before]
        return moves

    def put(self, key: bytes, place: Place) -> None:
        """Say that a key stands there."""
        self.of[key] = place
        self._at[place] = key

    def remove(self, key: bytes) -> Place:
        """Take a key out; return where it stood."""
        place = self.of.pop(key)
        del self._at[place]
        return place

    def _path_to_room(self, key: bytes) -> list[Place] | None:
        """Return places from one of the key's own to a free one; who stands at one moves to the next."""
        came: dict[Place, Place | None] = {}
        own = self._places_in(buckets_of(key, self.mask))
        waiting: deque[tuple[Place, Place | None]] = deque((place, None) for place in own)
        while waiting and len(came) < _LOOKED_AT_MOST:
            place, last = waiting.popleft()
            if place in came:
                continue
            came[place] = last
            holder = self._at.get(place)
            if holder is None:
                return _way_back(place, came)
            others = [one for one in buckets_of(holder, self.mask) if one != place.bucket]
            waiting.extend((other, place) for other in self._places_in(others))
        return None

    def _places_in(self, buckets: Iterable[int]) -> list[Place]:
        return [Place(bucket, way) for bucket in dict.fromkeys(buckets) for way in range(self.ways)]


def _way_back(place: Place, came: dict[Place, Place | None]) -> list[Place]:
    path = [place]
    while (last := came[path[-1]]) is not None:
        path.append(last)
    return path[::-1]


def buckets_for(keys: Iterable[bytes], ways: int) -> int:
    """Return how many buckets hold these keys and, beside them, as many others in no more than half the ways.

    That is so for a reload that replaces all of them, and for one that brings as many again.
    """
    wanted = list(keys)
    buckets = 2
    while buckets * ways < 4 * len(wanted) or not _fits(wanted, buckets, ways):
        buckets *= 2
    return buckets


def _fits(keys: list[bytes], buckets: int, ways: int) -> bool:
    places = Places(buckets, ways)
    return all(places.add(key) is not None for key in keys)
