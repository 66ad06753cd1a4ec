"""The way by which this host's own packets come into our hands: a mark, a rule, a table, a device.

::

    socket with mark M  ──►  11: from all fwmark M lookup T  ──►  T: default dev dsrlb-p0  ──►  read here
                                                                  T: prohibit default, should it be gone

Each packet is found by its protocol and source port (echo requests: identifier), given to whoever ``led``
that port, and what that makes of it goes out as frames, past the host's routing.  Answers to such sockets
come in as any packet does.

Each process has a number of its own, and by it a mark, a table and a device, so that several do not meet.
The device and with it the routes go when the process ends, however it does; rules of processes that are
gone are taken back by the next.

*Source*: Linux Documentation/networking/tuntap.rst; ip-rule(8); socket(7), SO_MARK.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.errors import HostError
from dsrlb.host.links import IFF_UP
from dsrlb.host.policy_rules import PROTOCOL, families
from dsrlb.host.probe_rules import MARK, change, claim_number, remove_stale_or_fail, take_back
from dsrlb.wire import icmp, ipv6

MTU_BYTES = 1280  # the least that IPv6 has: with any tunnel's header it fits into any link
TUN, TUNSETIFF, IFF_TUN, IFF_NO_PI = "/dev/net/tun", 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
SIOCGIFFLAGS = 0x8913  # linux/sockios.h
SO_MARK = 36  # asm-generic/socket.h
RTN_UNICAST, RTN_PROHIBIT, SCOPE_LINK = 1, 8, 253  # linux/rtnetlink.h
LAST_METRIC = 4096
ECHO = (bytes((icmp.ICMP,)), bytes((icmp.ICMPV6,)))
READ_AT_ONCE, MOST_BYTES = 256, 1 << 16


class Lead(NamedTuple):
    """Where packets of a port go: out of which interface, as which frames."""

    ifindex: int
    frames: Callable[[bytes], Sequence[bytes]]


class Led:
    """Packets from one port: where they go, and whether any has come by here."""

    __slots__ = ("came", "lead")

    def __init__(self, lead: Lead) -> None:
        self.lead, self.came = lead, False


class ProbePath:
    """The way, while it is open.  One thread's, but for ``keep`` and ``close``."""

    def __init__(self) -> None:
        """Set everything up.  Raises HostError, with nothing left behind, where that cannot be."""
        self._number, self._claim = claim_number()
        self._gate = threading.Lock()  # nothing is set any more once it is closed
        self._led: dict[bytes, Led] = {}
        self._out: dict[int, socket.socket] = {}
        self._piece: tuple[bytes, Led | None] = b"", None  # of which datagram the last one was
        self.mark = MARK + self._number
        self._tun = -1
        try:
            self._tun = _open_tun(self.name)
            remove_stale_or_fail()
            self._set_up()
            self.restore()
        except (OSError, NetlinkError, HostError) as error:
            self.close()
            raise HostError(_sentence(error)) from error

    @property
    def name(self) -> str:
        """The device's name."""
        return f"dsrlb-p{self._number}"

    def fileno(self) -> int:
        """Return the descriptor that is readable when ``hand_on`` has something to do."""
        return self._tun

    def lead(self, protocol: int, port: int, lead: Lead) -> Led:
        """Send what comes from a port (echo requests: with an identifier) that way from now on.

        What was led before by this port is forgotten; until then it may still have packets on their way.
        """
        led = self._led[bytes((protocol,)) + port.to_bytes(2, "big")] = Led(lead)
        return led

    def hand_on(self) -> None:
        """Send on what has come.  Raises OSError when the device is gone."""
        for _ in range(READ_AT_ONCE):
            try:
                packet = os.read(self._tun, MOST_BYTES)
            except BlockingIOError:
                return
            led = self._led_of(packet)
            if led is not None:
                led.came = True
                self._send(led.lead.ifindex, led.lead.frames(packet))

    def _led_of(self, packet: bytes) -> Led | None:
        """Return whose packet it is; pieces of a datagram come in a row, the one with ports first."""
        key, piece = key_of(packet)
        if key:
            led = self._led.get(key)
            self._piece = piece, led
            return led
        return self._piece[1] if piece == self._piece[0] else None

    def _send(self, ifindex: int, frames: Sequence[bytes]) -> None:
        """Send frames; an interface that is down or gone is as if nobody answered."""
        try:
            out = self._out.get(ifindex) or self._open_out(ifindex)
            for frame in frames:
                out.send(frame)
        except OSError:
            if broken := self._out.pop(ifindex, None):
                broken.close()

    def _open_out(self, ifindex: int) -> socket.socket:
        """Return a socket that sends by an interface and hears nothing."""
        out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            out.bind((socket.if_indextoname(ifindex), 0))
        except OSError:
            out.close()
            raise
        self._out[ifindex] = out
        return out

    def _set_up(self) -> None:
        for name, value in (("accept_ra", "0"), ("addr_gen_mode", "1")):  # 1: no address of its own
            with suppress(OSError):  # a host without IPv6, or whose settings may not be written
                Path(f"/proc/sys/net/ipv6/conf/{self.name}/{name}").write_text(value, encoding="ascii")
        with IPRoute() as ipr:
            ipr.link("set", index=socket.if_nametoindex(self.name), mtu=MTU_BYTES, state="up")

    def restore(self) -> None:
        """Set routes and rules, also again."""
        with self._gate, IPRoute() as ipr:
            for family in families(ipr) if self._tun >= 0 else ():
                # A host may have IPv6 switched off by sysctl: then no check is by IPv6.
                with suppress(*(() if family == socket.AF_INET else (NetlinkError,))):
                    self._set_routes(ipr, family)
        self.keep()

    def _set_routes(self, ipr: Any, family: int) -> None:
        common = {"family": family, "dst": "default", "table": self.mark, "proto": PROTOCOL}
        scope = {"scope": SCOPE_LINK} if family == socket.AF_INET else {}
        index = socket.if_nametoindex(self.name)
        ipr.route("replace", oif=index, type=RTN_UNICAST, **scope, **common)
        ipr.route("replace", type=RTN_PROHIBIT, priority=LAST_METRIC, **common)

    def is_up(self) -> bool:
        """Return whether the device is there and switched on."""
        asked = struct.pack("16s24x", self.name.encode())
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            (flags,) = struct.unpack_from("=H", fcntl.ioctl(any_socket, SIOCGIFFLAGS, asked), 16)
            return bool(flags & IFF_UP)
        return False

    def keep(self) -> None:
        """Set the rules again if somebody flushed them."""
        with self._gate, IPRoute() as ipr:
            for family in families(ipr) if self._tun >= 0 else ():
                change(ipr, "add", family, self.mark)

    def close(self) -> None:
        """Take everything back; harmless when repeated."""
        if self._tun >= 0:
            os.close(self._tun)
            self._tun = -1
        for out in self._out.values():
            out.close()
        self._out.clear()
        with suppress(OSError, NetlinkError), self._gate, IPRoute() as ipr:
            take_back(ipr, self.mark)
        self._claim.close()


def key_of(packet: bytes) -> tuple[bytes, bytes]:
    """Return protocol and source port (of an echo request: its identifier), as ``lead`` took them.

    Beside it, of a piece, its datagram's identification; of later pieces that alone.
    """
    if packet[0] == 0x45:  # IPv4 without options
        at, protocol, is_later = 20, packet[9:10], (packet[6] & 0x1F or packet[7]) != 0
        piece = packet[4:6]
    elif packet[0] >> 4 == 6 and packet[6] == ipv6.FRAGMENT:
        at, protocol, is_later = 48, packet[40:41], (packet[42] or packet[43] >> 3) != 0
        piece = packet[44:48]
    else:
        at, protocol, is_later, piece = 40, packet[6:7], packet[0] >> 4 != 6, b""
    if is_later:
        return b"", piece
    if protocol in ECHO:
        at += 4
    return protocol + packet[at : at + 2], piece


def _open_tun(name: str) -> int:
    tun = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    except OSError:
        os.close(tun)
        raise
    return tun


def _sentence(error: Exception) -> str:
    code = error.code if isinstance(error, NetlinkError) else getattr(error, "errno", None)
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"there is no {TUN} here (a container needs the device, a kernel CONFIG_TUN)"
    if code in (errno.EPERM, errno.EACCES):
        return f"{TUN} and policy rules need CAP_NET_ADMIN, and the unit's DeviceAllow={TUN}"
    return str(error)
