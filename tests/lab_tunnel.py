"""A tunnel device of a server, tunl0, like the kernel's: where there is none, a thread unwraps for it.

::

    IP-in-IP ──► raw socket, protocol 4 ──► outer header off ──► a tun device, tunl0 ──► the server's stack

The kernel checks sources on it as on any device: ``rp_filter``.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lab_wire import inside

from dsrlb.host.probe_path import IFF_NO_PI, IFF_TUN, TUN, TUNSETIFF
from dsrlb.lab.topology import run

DEVICE = "tunl0"


@contextmanager
def tunnel(namespace: str, vip: object) -> Iterator[None]:
    """Have it in a namespace, with a VIP of IPv4 on it, and sources checked loosely."""
    with inside(namespace):
        wrapped = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IPIP)
        tun = os.open(TUN, os.O_RDWR)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    ends, stop = os.pipe()
    thread = threading.Thread(target=_unwrap, args=(wrapped, tun, ends), daemon=True)
    try:
        run(["ip", "netns", "exec", namespace, "sysctl", "-qw", f"net.ipv4.conf.{DEVICE}.rp_filter=2"])
        run(["ip", "-n", namespace, "addr", "add", f"{vip}/32", "dev", DEVICE])
        run(["ip", "-n", namespace, "link", "set", DEVICE, "up"])
        thread.start()
        yield
    finally:
        os.write(stop, b".")
        if thread.ident is not None:
            thread.join()
        for one in (ends, stop, tun):
            os.close(one)
        wrapped.close()


def _unwrap(wrapped: socket.socket, tun: int, stop: int) -> None:
    while True:
        ready, _, _ = select.select([wrapped, tun, stop], [], [])
        if stop in ready:
            return
        if tun in ready:  # nothing is sent by it on purpose
            os.read(tun, 1 << 16)
        if wrapped in ready:
            packet = wrapped.recv(1 << 16)
            os.write(tun, packet[(packet[0] & 15) * 4 :])
