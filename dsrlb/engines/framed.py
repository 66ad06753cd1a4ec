"""Bytes that a process leaves for the next one, in a frame that tells whether they are whole, and of what.

::

    0         8        12       16
    +---------+--------+--------+---------------+---------- - - -
    | magic,  | header | CRC 32 | header        | the rest
    | version | bytes  |        | (JSON)        |
    +---------+--------+--------+---------------+---------- - - -
                                 under the CRC

The header says where and when they were left.  Whole seconds are those of CLOCK_MONOTONIC: they mean
something until the next boot.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any

_HEAD = Struct("<8sII")


class BrokenRecords(Exception):
    """Bytes that are not what they should be, or not whole; the words say why."""


@dataclass(frozen=True)
class Framed:
    """What was in a frame."""

    header: Mapping[str, Any]
    rest: memoryview

    @property
    def where(self) -> str:
        """What tells boot and network, as the process saw them that left it."""
        return str(self.header["where"])

    @property
    def saved_s(self) -> int:
        """When it was left."""
        return int(self.header["saved_s"])


def framed(magic: bytes, header: Mapping[str, Any], parts: Iterable[bytes]) -> bytes:
    """Return a header, with ``where`` and ``saved_s``, and what belongs to it; ``magic``: 8 bytes."""
    head = json.dumps(header).encode()
    body = b"".join((head, *parts))
    return _HEAD.pack(magic, len(head), zlib.crc32(body)) + body


def unframed(magic: bytes, packed: bytes) -> Framed:
    """Return what was framed.  BrokenRecords: it is something else, of another version, or damaged."""
    if len(packed) < _HEAD.size:
        raise BrokenRecords("it is too short")
    there, size, crc = _HEAD.unpack_from(packed)
    if there != magic:
        raise BrokenRecords("another version wrote it" if there[:7] == magic[:7] else "it holds no records")
    body = memoryview(packed)[_HEAD.size :]
    if zlib.crc32(body) != crc:
        raise BrokenRecords("its checksum is wrong")
    try:
        found = Framed(json.loads(bytes(body[:size])), body[size:])
        _ = found.where, found.saved_s
    except (ValueError, KeyError, TypeError) as error:
        raise unfit(error) from error
    return found


def unfit(error: Exception) -> BrokenRecords:
    """Return what is to be said of bytes whose parts do not fit together."""
    return BrokenRecords(f"it does not fit together ({error})")
