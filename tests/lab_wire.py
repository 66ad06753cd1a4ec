"""What tests in the lab share: one balancer's flags and counters, and plain sockets on the lab's wires.

Nothing of dsrlb's own frame code is used to send frames, or to read them.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pyroute2 import netns

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import VIP, VIP6, Lab, inside, run

PACKET_OUTGOING, ETH_P_ALL = 4, 3
SOL_PACKET, PACKET_AUXDATA = 263, 8
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 16, 64
SO_RCVBUFFORCE, TAP_BYTES = 33, 64 << 20


def both(port: str) -> tuple[str, str]:
    """The same port on the VIP of each family."""
    return f"{VIP}:{port}", f"[{VIP6}]:{port}"


def flags(lab: Lab, *vips: str, scheduler: str = "maglev", weights: Sequence[int] = (1, 1, 1)) -> list[str]:
    """The flags of one balancer for several VIPs; MACs know no family, so IPv4 backends do for IPv6 too."""
    line = ["--mode", "l2dsr", "--interface", "e0", "--scheduler", scheduler]
    line += [word for vip in vips for word in ("--vip", vip)]
    for address, weight in zip(lab.server_addresses(), weights, strict=True):
        line += ["--backend", f"{address},weight={weight}"]
    return line


def counters(balancer: Balancer) -> Counter[str]:
    """Stop a balancer and return the frames that it counted by Reason."""
    assert balancer.stop() == 0
    reasons, _, _ = balancer.stdout.partition("\n\n")
    return Counter({word: int(frames) for word, frames in re.findall(r"^(\w+) +(\d+)$", reasons, re.M)})


@contextmanager
def forwarding(lab: Lab, value: int) -> Iterator[None]:
    """Turn the routing of the balancer's own kernel on or off; off again afterwards."""
    keys = "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"
    command = inside(lab.namespace("lb"), "sysctl", "-qw")
    run([*command, *(f"{key}={value}" for key in keys)])
    try:
        yield
    finally:
        run([*command, *(f"{key}=0" for key in keys)])


def socket_in(lab: Lab, role: str) -> socket.socket:
    """A packet socket, still unbound, in a node's namespace."""
    netns.pushns(lab.namespace(role))
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    finally:
        netns.popns()


class Tap:
    """All frames that a node's ``e0`` receives and sends, whole, with their VLAN tags."""

    def __init__(self, lab: Lab, role: str) -> None:
        self.socket = socket_in(lab, role)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, TAP_BYTES)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.bind(("e0", ETH_P_ALL))
        self.received: list[bytes] = []
        self.sent: list[bytes] = []

    def read(self, wait_s: float) -> bool:
        """Take all that is there, waiting for the first; False if nothing came."""
        if not select.select([self.socket], [], [], wait_s)[0]:
            return False
        for _ in range(100_000):
            try:
                frame, ancillary, _, where = self.socket.recvmsg(1 << 17, 256, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            (self.sent if where[2] == PACKET_OUTGOING else self.received).append(with_tag(frame, ancillary))
        return True

    def until(self, true: Callable[[], object], deadline_s: float = 10) -> None:
        """Read until the condition holds."""
        end = time.monotonic() + deadline_s
        self.read(0)
        while not true():
            assert time.monotonic() < end, "the frames that were awaited did not come"
            self.read(0.05)


def with_tag(frame: bytes, ancillary: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Put a VLAN tag back that the kernel took off (struct tpacket_auxdata, linux/if_packet.h)."""
    for level, kind, body in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", body)
            if status & TP_STATUS_VLAN_VALID:
                tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
    return frame
