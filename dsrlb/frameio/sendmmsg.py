"""Send many frames by one system call.

Python's cost per frame is one length and a place in one joined buffer; the message headers are laid out
once, and only addresses and lengths change.

*Source*: sendmmsg(2), packet(7).
"""

from __future__ import annotations

import ctypes
import errno
import select
import socket
from array import array
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import NamedTuple

from dsrlb.frameio.vnet import VNET_BYTES

BATCH = 256  # frames a call
WAIT_MS, WAITS_MAX = 1, 10  # for room in the socket's send buffer: this long, so often, per ``send_all``


class Sent(NamedTuple):
    """What became of frames: sent; larger than the interface's MTU; refused for another reason."""

    sent: int
    too_big: int
    failed: int


class _Header(ctypes.Structure):
    """``struct msghdr``."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """``struct mmsghdr``."""

    _fields_ = (("header", _Header), ("sent_bytes", ctypes.c_uint))


class SendBatch:
    """The message headers for one socket, prepared once."""

    def __init__(self, descriptor: int) -> None:
        """Prepare for a bound packet socket with PACKET_VNET_HDR."""
        self._descriptor = descriptor
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)
        self._vectors = array("L", (0, 0) * BATCH)  # struct iovec: base, length
        first, step = self._vectors.buffer_info()[0], 2 * self._vectors.itemsize
        self._messages = (_Message * BATCH)(
            *(_Message(_Header(vectors=first + i * step, vector_count=1)) for i in range(BATCH))
        )
        self._first = ctypes.addressof(self._messages)
        self._sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)

    def send_all(self, frames: Sequence[tuple[bytes, bytes]]) -> Sent:
        """Send (vnet header, frame) pairs in order; a frame that fails does not hold back the next.

        Waits up to 10 ms in all for a full send buffer; what still does not fit then has failed.
        Never raises for what the network does.
        """
        sent = too_big = failed = waits = 0
        for start in range(0, len(frames), BATCH):
            batch = frames[start : start + BATCH]
            joined = self._lay_out(batch)  # must live until the last call
            at, count = 0, len(batch)
            while at < count:
                done = self._call(at, count - at)
                if done > 0:
                    sent += done
                    at += done
                    continue
                problem = ctypes.get_errno()
                if problem in (errno.EAGAIN, errno.EINTR) and waits < WAITS_MAX:
                    waits += 1
                    self._writable.poll(WAIT_MS)
                    continue
                too_big += problem == errno.EMSGSIZE
                failed += problem != errno.EMSGSIZE
                at += 1
            del joined
        return Sent(sent, too_big, failed)

    def _lay_out(self, batch: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Join headers and frames to one buffer and point the vectors into it."""
        joined = b"".join(chain.from_iterable(batch))
        base = ctypes.cast(ctypes.c_char_p(joined), ctypes.c_void_p).value or 0
        lengths = [VNET_BYTES + len(frame) for _, frame in batch]
        end = 2 * len(batch)
        self._vectors[0:end:2] = array("L", accumulate(lengths[:-1], initial=base))
        self._vectors[1:end:2] = array("L", lengths)
        return joined

    def _call(self, at: int, count: int) -> int:
        first = self._first + at * ctypes.sizeof(_Message)
        done: int = self._sendmmsg(self._descriptor, first, count, socket.MSG_DONTWAIT)
        return done
