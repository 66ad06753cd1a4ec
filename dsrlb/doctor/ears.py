"""Servers that say by ICMP that they do not unwrap, heard while they are asked.

A dsrlb that runs hears them by its engine (``tunnel.py``); beside it, or without one, two raw sockets do.

*Source*: raw(7), ICMP_FILTER; RFC 3542, section 3.2, ICMP6_FILTER; net/ipv4/ip_input.c,
ip_protocol_deliver_rcu, and net/ipv6/ip6_input.c: who has no use for a protocol says so.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import ExitStack
from ipaddress import ip_address

from dsrlb.control.backends import is_of_a_look
from dsrlb.model import Address
from dsrlb.wire import icmp, l4

ICMP_FILTER, ICMP6_FILTER = 1, 1  # linux/icmp.h (level SOL_RAW), linux/icmpv6.h
SOL_RAW = 255
MOST_AT_ONCE, MOST_BYTES = 64, 2048
# Kinds and codes: no such protocol, no such port; by IPv6 no such port, no such header.
USELESS = {4: frozenset(((3, 2), (3, 3))), 6: frozenset(((1, 4), (4, 1)))}
# Of the quoted header: where protocol and destination stand, and how long it is.
_QUOTED = {4: (9, 16, 4, 20), 6: (6, 24, 16, 40)}


class Ears:
    """Hears until its block ends."""

    def __init__(self) -> None:
        """Open the sockets.  Raises OSError without CAP_NET_RAW."""
        self.refused_at: dict[Address, float] = {}  # server -> when (monotonic) it refused what is wrapped
        self.refused_own_at: dict[Address, float] = {}  # the same of what was for its own address inside
        self._stack = ExitStack()
        with ExitStack() as opened:
            self._sockets = [opened.enter_context(one) for one in (_ipv4(), *_ipv6())]
            self._stack = opened.pop_all()

    def __enter__(self) -> Ears:
        """Hear until the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the sockets."""
        self._stack.close()

    def listen(self) -> None:
        """Take what has come."""
        for one in self._sockets:
            for _ in range(MOST_AT_ONCE):
                try:
                    packet, sender = one.recvfrom(MOST_BYTES)
                except BlockingIOError:
                    break
                self._take(packet, ip_address(sender[0].partition("%")[0]))

    def _take(self, packet: bytes, sender: Address) -> None:
        message = packet[(packet[0] & 15) * 4 :] if sender.version == 4 else packet
        if refuses_tunnel(message, sender):
            # A raw socket of IPv6 gives no header; with the sender's address before it is as by IPv4.
            whole = packet if sender.version == 4 else sender.packed + packet
            heard = self.refused_own_at if is_of_a_look(whole, sender) else self.refused_at
            heard[sender] = time.monotonic()


def refuses_tunnel(message: bytes, sender: Address) -> bool:
    """Return whether an ICMP message says that its sender has no use for a tunnel that leads to it.

    ::

        type, code, checksum, 4 more bytes | header that led to the sender: IP in IP, or UDP of GUE | ...
    """
    quoted = message[icmp.HEADER_BYTES :]
    protocol_at, to_at, address_bytes, header_bytes = _QUOTED[sender.version]
    if len(quoted) < header_bytes or tuple(message[:2]) not in USELESS[sender.version]:
        return False
    is_tunnel = quoted[protocol_at] in (socket.IPPROTO_IPIP, socket.IPPROTO_IPV6, l4.UDP)
    return is_tunnel and quoted[to_at : to_at + address_bytes] == sender.packed


def _ipv4() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
    sock.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", ~(1 << icmp.UNREACHABLE) & 0xFFFFFFFF))
    return sock


def _ipv6() -> list[socket.socket]:
    """Return a socket for both kinds of error; none on a host without IPv6."""
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    except PermissionError:
        raise
    except OSError:
        return []
    blocked = 0xFFFFFFFF & ~(1 << 1 | 1 << 4)
    sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", blocked, *[0xFFFFFFFF] * 7))
    return [sock]
