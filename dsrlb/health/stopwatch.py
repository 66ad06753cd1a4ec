"""How long a server takes for a probe, without what this host's own business adds to it.

A process that does much else hears late of a connection that is there.  The kernel knows when the answer
to its SYN came::

               SYN        SYN-ACK         heard of    asked          answered
    this host   |------------|- - - - - - - -|----------|----------------|
                 counts, by     does not                     counts, by
                 the kernel      count                      this process
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from dsrlb.health.base import Kind, Open, Subject

# struct tcp_info: tcpi_rtt (microseconds, of the SYN alone so far) and tcpi_total_retrans.
# *Source*: include/uapi/linux/tcp.h.
_RTT, _RETRANSMITTED, _LENGTH = 68, 100, 104


class Stopwatch:
    """The time of one probe: let it ``ask`` in place of the kind of check."""

    def __init__(self, kind: Kind, now_s: Callable[[], float]) -> None:
        """Take the kind of check, and a clock."""
        self._ask_by, self._now_s = kind.ask, now_s
        self.took_s = 0.0  # until the kind of check had all that it wants
        self.connected_s: float | None = None  # of that, until a TCP connection was there

    async def ask(self, subject: Subject, open_to: Open) -> None:
        """Ask as the kind of check does, and take the time."""
        late_s, began_s = 0.0, self._now_s()

        async def opened(subject: Subject, kind: int, protocol: int) -> socket.socket:
            nonlocal late_s
            opens_s = self._now_s()
            sock = await open_to(subject, kind, protocol)
            if kind == socket.SOCK_STREAM:
                heard_s = self._now_s() - opens_s
                self.connected_s = min(heard_s, round_trip_s(sock) or heard_s)
                late_s += heard_s - self.connected_s
            return sock

        try:
            await self._ask_by(subject, opened)
        finally:
            self.took_s = self._now_s() - began_s - late_s


def round_trip_s(sock: socket.socket) -> float | None:
    """Return how long the SYN of a TCP connection was on its way; None if the kernel cannot tell."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LENGTH)
    except OSError:
        return None
    if len(info) < _LENGTH or struct.unpack_from("=I", info, _RETRANSMITTED)[0]:
        return None
    return struct.unpack_from("=I", info, _RTT)[0] / 1e6 or None
