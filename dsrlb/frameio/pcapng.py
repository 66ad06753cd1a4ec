"""Frames to a pcapng file, each with its interface, its direction and a comment.

::

    0       4        8      12      16     20      24       28
    +-------+--------+------+-------+------+-------+--------+-------+----------+---------+--------+
    | 6     | length | if # | time  | time | kept  | whole  | frame | comment  | way     | length |
    |       |        |      | (high)| (low)| bytes | bytes  |       | (1)      | (2)     |        |
    +-------+--------+------+-------+------+-------+--------+-------+----------+---------+--------+

*Source*: draft-ietf-opsawg-pcapng, sections 4.1 to 4.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from dsrlb.frameio.pcap import LINKTYPE_ETHERNET, STANDARD, opened, written

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER = 0x1A2B3C4D
_COMMENT, _NAME, _RESOLUTION, _FLAGS = 1, 2, 9, 2  # options; some numbers mean another thing in each block
_NANOSECONDS = b"\x09"
_IN, _OUT = 1, 2
_HEAD = struct.Struct("<5I")


class Capture:
    """A file that is being written; whole after each ``flush``."""

    def __init__(self, path: str | Path) -> None:
        """Open it; the path ``"-"`` is standard output.  ConfigError: it cannot be written."""
        self._name = "standard output" if path == STANDARD else path
        self._interfaces: dict[str, int] = {}
        self._stream: IO[bytes] = opened(path, "wb")
        with written(self._name):
            self._block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1))
            self._stream.flush()

    def __enter__(self) -> Capture:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        with written(self._name):
            self._stream.close()

    def frame(
        self, interface: str, at_ns: int, frame: bytes, whole_bytes: int, comment: str, *, is_sent: bool
    ) -> None:
        """Write a frame, or as much of it as is kept.  ``at_ns``: since 1970.  ConfigError: no room."""
        with written(self._name):
            number = self._number_of(interface)
            at = at_ns >> 32, at_ns & 0xFFFF_FFFF
            options = _option(_COMMENT, comment.encode())
            options += _option(_FLAGS, struct.pack("<I", _OUT if is_sent else _IN))
            head = _HEAD.pack(number, *at, len(frame), whole_bytes)
            self._block(_PACKET, head + _padded(frame) + options + _option(0, b""))

    def flush(self) -> None:
        """Let whoever reads the file see all of it.  ConfigError: it cannot be written."""
        with written(self._name):
            self._stream.flush()

    def _number_of(self, interface: str) -> int:
        if interface not in self._interfaces:
            self._interfaces[interface] = len(self._interfaces)
            options = _option(_NAME, interface.encode()) + _option(_RESOLUTION, _NANOSECONDS)
            self._block(_INTERFACE, struct.pack("<HHI", LINKTYPE_ETHERNET, 0, 0) + options + _option(0, b""))
        return self._interfaces[interface]

    def _block(self, kind: int, body: bytes) -> None:
        length = struct.pack("<I", 12 + len(body))
        self._stream.write(struct.pack("<I", kind) + length + body + length)


@contextmanager
def capture(path: str | None) -> Iterator[Capture | None]:
    """Open a file to write, if there is to be one."""
    if path is None:
        yield None
        return
    with Capture(path) as made:
        yield made


def _option(number: int, value: bytes) -> bytes:
    return struct.pack("<HH", number, len(value)) + _padded(value)


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)
