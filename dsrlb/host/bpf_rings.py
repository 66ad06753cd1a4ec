"""BPF ring buffers: what programs hand over, read in order.

*Source*: Documentation/bpf/ringbuf.rst; libbpf.h, ring_buffer__new.
"""

from __future__ import annotations

import ctypes
import errno

from dsrlb.host import libbpf

_HEAR = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Ring:
    """The reading end of a ring buffer."""

    def __init__(self, fd: int) -> None:
        """``fd``: of the map."""
        self._most, self._heard = 0, list[bytes]()
        self._hear = _HEAR(self._hear_one)  # kept, since the library calls it
        what = "read a ring buffer"
        self._pointer: int | None = libbpf.find(what, "ring_buffer__new", fd, self._hear, None, None)

    @property
    def is_open(self) -> bool:
        """Whether it can be read."""
        return self._pointer is not None

    def _hear_one(self, _: int, at: int, size: int) -> int:
        self._heard.append(ctypes.string_at(at, size))
        return -errno.ECANCELED if len(self._heard) >= self._most else 0

    def read(self, most: int) -> list[bytes]:
        """Return what was handed over and not read yet, the oldest first; waits for nothing."""
        if most < 1 or self._pointer is None:
            return []
        self._most, self._heard = most, []
        libbpf.call("read a ring buffer", "ring_buffer__consume", self._pointer, allowed=(errno.ECANCELED,))
        return self._heard

    def close(self) -> None:
        """Read no more; harmless when repeated."""
        if self._pointer is not None:
            libbpf.library().ring_buffer__free(self._pointer)
            self._pointer = None
