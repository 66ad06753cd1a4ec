"""What tests in the lab share: a step into a namespace, one balancer's flags and counters, plain sockets.

Nothing of dsrlb's own frame code is used to send frames, or to read them.
"""

from __future__ import annotations

import ctypes
import os
import re
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.counters import checksum_errors, kernel_counters
from dsrlb.lab.topology import CLIENT, CLIENT6, MORE_CLIENTS, MORE_CLIENTS6, VIP, VIP6, Lab, mac, run
from dsrlb.lab.topology import inside as command_inside

# Not the prefix of a lab that a person may have standing, and another one for each worker of pytest-xdist:
# whatever a test puts where others can see it (namespaces, files under /run) has a name that begins with it.
TEST_PREFIX = os.environ.get("DSRLB_TEST_PREFIX", "dsrlbt-")
if "PYTEST_XDIST_WORKER" in os.environ:
    TEST_PREFIX += f"{os.environ['PYTEST_XDIST_WORKER']}-"

GUEST_MAC = "02:00:c6:12:01:99"  # of the fixture ``guest``
PACKET_OUTGOING, ETH_P_ALL = 4, 3
SOL_PACKET, PACKET_AUXDATA = 263, 8
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 16, 64
SO_RCVBUFFORCE, TAP_BYTES = 33, 64 << 20


TO_BALANCER = Ether(src=mac("router"), dst=mac("lb"))
LB_MAC = bytes.fromhex(mac("lb").replace(":", ""))
SERVERS = {bytes.fromhex(mac(name).replace(":", "")): name for name in ("rs1", "rs2", "rs3")}
SOURCES = {VIP: (CLIENT, *MORE_CLIENTS), VIP6: (CLIENT6, *MORE_CLIENTS6)}
# The reasons for which frames are left to the host: a program at XDP counts all of them, not only a VIP's.
HOSTS_OWN = frozenset(("not_vip", "not_ip", "not_for_us", "arp_other", "nd_other"))
Inject = Callable[..., list[bytes]]  # puts frames on the wire and returns their bytes


def enter(namespace: TextIO) -> None:
    """Move this thread into a network namespace, an open file (os.setns came with Python 3.12)."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
        raise OSError(ctypes.get_errno(), f"cannot enter {namespace.name}")


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Run the body of a with statement in a namespace."""
    with Path("/proc/thread-self/ns/net").open() as home, Path("/run/netns", namespace).open() as there:
        enter(there)
        try:
            yield
        finally:
            enter(home)


def eventually(true: Callable[[], object], within_s: float) -> bool:
    """Wait for a condition with a deadline."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.01)
    return bool(true())


def soon(took_s: Callable[[int], float], promised_s: float, tries: int = 5) -> None:
    """Require that something takes no longer than is promised, at the best of several tries.

    ``took_s(number)`` does it and says how long it took.  A machine that is busy with other things is late
    now and then; what is late each time breaks its promise.
    """
    seen: list[float] = []
    while len(seen) < tries and not any(one < promised_s for one in seen):
        seen.append(took_s(len(seen)))
    print(f"took {seen} s")
    assert seen[-1] < promised_s, f"took {seen} s, not {promised_s:g} s, in any of {tries} tries"


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


def about_vips(counted: Counter[str]) -> set[str]:
    """The words that were counted, without those of the host's own traffic."""
    return set(counted) - HOSTS_OWN


@contextmanager
def forwarding(lab: Lab, value: int) -> Iterator[None]:
    """Turn the routing of the balancer's own kernel on or off; off again afterwards."""
    keys = "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"
    command = command_inside(lab.namespace("lb"), "sysctl", "-qw")
    run([*command, *(f"{key}={value}" for key in keys)])
    try:
        yield
    finally:
        run([*command, *(f"{key}=0" for key in keys)])


@contextmanager
def narrow(lab: Lab, role: str, mtu_bytes: int, device: str = "e0") -> Iterator[None]:
    """Give the link at a node's interface a smaller MTU, at both its ends.

    What hosts have learned of their paths is forgotten before and after: it would hide, or outlive, the
    narrow link.
    """
    cable = next(one for one in lab.network.cables for end in (one.one, one.other)
                 if (end.role, end.device) == (role, device))  # fmt: skip

    def set_to(wanted_bytes: int) -> None:
        for end in (cable.one, cable.other):
            run(["ip", "-n", lab.namespace(end.role), "link", "set", end.device, "mtu", str(wanted_bytes)])
        for name in ("client", *lab.server_names):
            for family in ("-4", "-6"):
                run(["ip", "-n", lab.namespace(name), family, "route", "flush", "cache"])

    set_to(mtu_bytes)
    try:
        yield
    finally:
        set_to(cable.mtu_bytes)


@contextmanager
def no_wrong_checksums(lab: Lab) -> Iterator[None]:
    """Require that no client and no server threw a packet away for a wrong checksum meanwhile."""
    receivers = ("client", *lab.server_names)
    before = {role: kernel_counters(lab, role) for role in receivers}
    yield
    wrong = {role: checksum_errors(kernel_counters(lab, role) - before[role]) for role in receivers}
    assert wrong == {role: {} for role in receivers}


def socket_in(lab: Lab, role: str) -> socket.socket:
    """A packet socket, still unbound, in a node's namespace."""
    with inside(lab.namespace(role)):
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)


class Tap:
    """All frames that a node's ``e0`` receives and sends, whole, with their VLAN tags.

    ``beyond``: heard at the other end of its cable, since what XDP takes no socket of the node hears.
    """

    def __init__(self, lab: Lab, role: str, beyond: bool = False) -> None:
        end = next(one for one in lab.network.ends(role) if one.device == "e0")
        if beyond:
            end = lab.network.beyond(end)
        self.socket = socket_in(lab, end.role)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, TAP_BYTES)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.bind((end.device, ETH_P_ALL))
        self.received: list[bytes] = []
        self.sent: list[bytes] = []
        self._out, self._in = (self.received, self.sent) if beyond else (self.sent, self.received)

    def read(self, wait_s: float) -> bool:
        """Take all that is there, waiting for the first; False if nothing came."""
        if not select.select([self.socket], [], [], wait_s)[0]:
            return False
        for _ in range(100_000):
            try:
                frame, ancillary, _, where = self.socket.recvmsg(1 << 17, 256, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            (self._out if where[2] == PACKET_OUTGOING else self._in).append(with_tag(frame, ancillary))
        return True

    def until(self, true: Callable[[], object], deadline_s: float = 60) -> None:
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


def ip4(**fields: object) -> Packet:
    return TO_BALANCER / IP(src=str(CLIENT), dst=str(VIP), **fields)


def ip6(**fields: object) -> Packet:
    return TO_BALANCER / IPv6(src=str(CLIENT6), dst=str(VIP6), **fields)


def marker(number: int) -> Packet:
    """A datagram that is forwarded for sure: once it is out, all frames before it have met their fate."""
    return ip4() / UDP(sport=40_000 + number, dport=9) / Raw(b"marker %5d" % number)


def settle(tap: Tap, inject: Inject, number: int = 0) -> None:
    """Wait until the balancer has dealt with all that was injected; its ring may have been full."""
    end = time.monotonic() + 60
    tail = inject(marker(number))[0][12:]
    while not any(frame[12:] == tail for frame in tap.sent):
        assert time.monotonic() < end, "the balancer forwards nothing any more"
        if not tap.read(0.5):
            inject(marker(number))


def to_vip(frames: Sequence[bytes]) -> list[bytes]:
    """Those for a VIP, behind whatever VLAN tags; by scapy, which knows nothing of dsrlb."""
    parsed = [(frame, Ether(frame)) for frame in frames]
    layers = [(frame, packet.getlayer(IP) or packet.getlayer(IPv6)) for frame, packet in parsed]
    return [frame for frame, layer in layers if layer is not None and layer.dst in (str(VIP), str(VIP6))]


def server_of(frame: bytes) -> str:
    return SERVERS[frame[:6]]


def is_neighbourly(frame: bytes) -> bool:
    """Whether a frame is what any host may say on its own: neighbour discovery, group membership."""
    kinds = ARP, ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6MLReport2
    return any(map(Ether(frame).haslayer, kinds))


def forwarded(tap: Tap) -> list[bytes]:
    """What left the balancer for the VIP, but for markers."""
    return [frame for frame in to_vip(tap.sent) if b"marker" not in frame]


def forwarded_to(server: Tap) -> list[bytes]:
    """What a server got for the VIP, but for markers."""
    return [frame for frame in to_vip(server.received) if b"marker" not in frame]


def routed_by_the_host(lab: Lab, forget: bool = False) -> str:
    """What the balancer's own kernel knows of the VIPs as neighbours: it asks for one that it routes to.

    Seconds later it would tell the client that the VIP is unreachable.  ``forget``: let it know nothing.
    """
    neighbour = ["ip", "-n", lab.namespace("lb"), "neighbour"]
    known = {vip: run([*neighbour, "show", str(vip), "nud", "all"]) for vip in (VIP, VIP6)}
    for vip in known if forget else ():
        if known[vip]:
            run([*neighbour, "del", str(vip), "dev", "e0"])
    return "".join(known.values())
