"""Next hops as the kernel knows them: the route to a backend, and the neighbour table."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.errors import DsrlbError
from dsrlb.host import netlink
from dsrlb.model import V4_MAPPED, Address

# Neighbour states and flags, linux/neighbour.h
NUD_NONE, NUD_INCOMPLETE, NUD_REACHABLE, NUD_STALE = 0x00, 0x01, 0x02, 0x04
NUD_DELAY, NUD_PROBE, NUD_FAILED, NUD_NOARP, NUD_PERMANENT = 0x08, 0x10, 0x20, 0x40, 0x80
NUD_USABLE = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP

RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST = 1, 2, 3  # linux/rtnetlink.h
RTM_GETNEIGH = 30
NDMSG_BYTES = 12
NDA_DST, NDA_LLADDR, NDA_CACHEINFO, NDA_IFINDEX = 1, 2, 3, 8
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")  # USER_HZ, in which the kernel counts for user space


@dataclass(frozen=True)
class Route:
    """The way to an address: out of which interface, over which router (None: a neighbour itself)."""

    ifindex: int
    ifname: str
    gateway: Address | None
    source: Address | None
    is_local: bool  # the address is this host's own
    is_broadcast: bool = False
    mtu_bytes: int | None = None  # None: the interface's own


@dataclass(frozen=True)
class Neighbour:
    """An entry of the kernel's neighbour table; ``mac`` is None while it knows none."""

    mac: bytes | None
    state: int
    confirmed_age_s: float  # since the neighbour last proved that it is there

    @property
    def usable(self) -> bool:
        """Whether frames may be sent to ``mac``."""
        return self.mac is not None and bool(self.state & NUD_USABLE)

    @property
    def given(self) -> bytes | None:
        """The MAC that somebody gave the kernel by hand, which it asks nobody about; None: nobody did."""
        return self.mac if self.state & NUD_PERMANENT else None


NeighbourKey = tuple[int, bytes]  # ifindex, 16-byte address


def routes_to(addresses: Iterable[Address]) -> dict[Address, Route | None]:
    """Return the route this host takes to each address, None where it has none.

    Raises DsrlbError when the kernel cannot be asked.
    """
    with IPRoute() as ipr:
        return {address: _route_to(ipr, address) for address in addresses}


def _route_to(ipr: IPRoute, address: Address) -> Route | None:
    try:
        message = next(iter(ipr.route("get", dst=str(address))))
    except NetlinkError as error:
        if error.code in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES):
            return None  # no route; or an unreachable, blackhole or prohibit route
        raise DsrlbError(f"The kernel gave no answer about the route to {address}: {error}.") from error
    if message["type"] not in (RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST):
        return None
    ifindex = message.get_attr("RTA_OIF")
    gateway = message.get_attr("RTA_GATEWAY") or (message.get_attr("RTA_VIA") or {}).get("addr")
    source = message.get_attr("RTA_PREFSRC")
    return Route(
        ifindex=ifindex,
        ifname=socket.if_indextoname(ifindex),
        gateway=ip_address(gateway) if gateway else None,
        source=ip_address(source) if source else None,
        is_local=message["type"] == RTN_LOCAL,
        is_broadcast=message["type"] == RTN_BROADCAST,
        mtu_bytes=_mtu_bytes(message),
    )


def _mtu_bytes(message: Any) -> int | None:
    """Return the MTU that a route is bound to, by hand or by path MTU discovery."""
    metrics = message.get_attr("RTA_METRICS")
    found = metrics.get_attr("RTAX_MTU") if metrics is not None else None
    return found or None


def neighbours(ifindex: int) -> dict[NeighbourKey, Neighbour]:
    """Return the kernel's neighbours on one interface, both families.

    Raises OSError when the kernel cannot be asked.  Read here rather than by pyroute2: this runs four
    times a second beside the packet engine, and 300 entries cost 1 ms so, 20 ms there.
    """
    for _ in range(3):  # a table that changed while it was read may come with a gap: read it again
        found: dict[NeighbourKey, Neighbour] = {}
        interrupted = False
        for flags, message in _dump(ifindex):
            interrupted |= bool(flags & netlink.NLM_F_DUMP_INTR)
            found.update(parse_neighbour(message))
        if not interrupted:
            break
    return found


def _dump(ifindex: int) -> Iterator[tuple[int, bytes]]:
    """Ask for the neighbours of one interface and yield (flags, body) of each message.

    ::

        ndmsg      family (1) | pad (3) | ifindex (4) | state (2) | flags (1) | type (1)
        attribute  length (2) | NDA_IFINDEX (2) | ifindex (4)
    """
    ask = bytes(NDMSG_BYTES) + netlink.attribute(NDA_IFINDEX, struct.pack("=I", ifindex))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(1.0)
        kernel.send(netlink.message(RTM_GETNEIGH, netlink.NLM_F_REQUEST | netlink.NLM_F_DUMP, ask))
        while True:
            for kind, flags, body in netlink.messages(kernel.recv(1 << 16)):
                if kind == netlink.NLMSG_DONE:
                    return
                if kind == netlink.NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", body)[0], "the neighbours could not be read")
                yield flags, body


def parse_neighbour(body: bytes) -> dict[NeighbourKey, Neighbour]:
    """Return the neighbour in an RTM_NEWNEIGH body (ndmsg and attributes); empty when it is not IP."""
    family, ifindex, state = struct.unpack_from("=B3xiH", body)
    address, mac, confirmed = b"", None, 0
    for kind, value in netlink.attributes(body, NDMSG_BYTES):
        if kind == NDA_DST:
            address = value
        elif kind == NDA_LLADDR and len(value) == 6:
            mac = value
        elif kind == NDA_CACHEINFO:  # struct nda_cacheinfo: confirmed, used, updated, refcnt
            (confirmed,) = struct.unpack_from("=I", value)
    if family == socket.AF_INET and len(address) == 4:
        address = V4_MAPPED + address
    if len(address) != 16:
        return {}
    return {(ifindex, address): Neighbour(mac, state, confirmed / CLOCK_TICKS_PER_S)}
