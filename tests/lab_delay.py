"""Servers of the lab that answer slowly: what they send from the VIP is held back for a while.

::

    server's kernel --(rule: from the VIP)--> TUN device --> here, for ``delay_s`` --> raw socket --> e0

The kernel's own means for this, netem, is not in every kernel.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread

from lab_wire import inside

from dsrlb.lab.topology import VIP, Lab, run

# Source: linux/if_tun.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x4004_54CA, 0x0001, 0x1000
DEVICE, TABLE = "slow0", "7007"
LOOK_S = 0.1
MOST_BYTES = 1 << 16


class Slow:
    """Holds back what a server answers; ``delay_s`` may be changed at any time."""

    def __init__(self, delay_s: float) -> None:
        """Make a TUN device and a way out in the namespace that this thread is in."""
        self.delay_s = delay_s
        self._tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self._tun, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        self._out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._over, self._thread = Event(), Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the server answer as it likes."""
        self._over.set()
        self._thread.join()
        self._out.close()
        os.close(self._tun)  # the device goes with it

    def _run(self) -> None:
        held: deque[tuple[float, bytes]] = deque()
        while not self._over.is_set():
            wait_s = held[0][0] + self.delay_s - time.monotonic() if held else LOOK_S
            if select.select([self._tun], [], [], min(max(wait_s, 0), LOOK_S))[0]:
                held.append((time.monotonic(), os.read(self._tun, MOST_BYTES)))
            while held and time.monotonic() >= held[0][0] + self.delay_s:
                packet = held.popleft()[1]
                self._out.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))


@contextmanager
def slow(lab: Lab, role: str, delay_s: float, sources: Sequence[object] = (VIP,)) -> Iterator[Slow]:
    """Let a server answer from IPv4 addresses, the VIP, so much later."""
    namespace = lab.namespace(role)
    with inside(namespace):
        made = Slow(delay_s)
    try:
        run(["ip", "-n", namespace, "link", "set", DEVICE, "up"])
        run(["ip", "-n", namespace, "route", "replace", "default", "dev", DEVICE, "table", TABLE])
        for source in sources:
            run(["ip", "-n", namespace, "rule", "add", "from", str(source), "lookup", TABLE])
        yield made
    finally:
        away = ["ip", "-n", namespace, "rule", "del", "lookup", TABLE]
        for _ in sources:
            subprocess.run(away, capture_output=True, check=False)
        made.close()
