"""As whom a neighbour asks by ARP when it answers from one of its addresses: as itself, or as that address.

::

    this host ── a packet from X, whom nobody has, to the VIP ──►  server
    this host ◄──────────────── ARP: who has X?  tell …  ──────────┘   its own address, or the VIP

A server with ``arp_announce`` 0 names the VIP, and all who hear it believe that the VIP is there.

*Source*: net/ipv4/arp.c, arp_solicit; RFC 826.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network

from dsrlb.host.descriptors import readable
from dsrlb.host.links import Link
from dsrlb.host.ownership import ETH_P_ARP, find_owner

TRIES, ASKED_WITHIN_S = 2, 0.4
LEAST_HOSTS = 8  # in a smaller network there may be nobody to spare
CANDIDATES = 3
_REQUEST = b"\0\1"


def spare_address(network: IPv4Network, link: Link) -> IPv4Address | None:
    """Return an address of a network that nobody has, as far as ARP tells; None if there was none at hand."""
    if network.num_addresses < LEAST_HOSTS:
        return None
    for _ in range(CANDIDATES):
        one = network[random.randrange(1, network.num_addresses - 1)]  # noqa: S311  (no secret)
        if one not in {own.ip for own in link.ipv4} and find_owner(one, link) is None:
            return one
    return None


def asks_as(spare: IPv4Address, mac: bytes, link: Link, provoke: Callable[[], None]) -> IPv4Address | None:
    """Return as whom the neighbour at a MAC asks for an address when provoked; None if it does not ask.

    ::

        Ethernet 0: destination  6: source  12: type  ARP 20: op  22: sender MAC  28: sender IP  38: target IP
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as hearing:
        hearing.bind((link.name, ETH_P_ARP))
        for _ in range(TRIES):
            provoke()
            until = time.monotonic() + ASKED_WITHIN_S
            while (left_s := until - time.monotonic()) > 0 and readable([hearing], left_s):
                frame = hearing.recv(2048)
                if frame[20:22] == _REQUEST and frame[22:28] == mac and frame[38:42] == spare.packed:
                    return IPv4Address(frame[28:32])
    return None
