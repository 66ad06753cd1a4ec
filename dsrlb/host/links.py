"""Interfaces of this host: which one to use, what it is, which addresses it carries."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from typing import Any

import netifaces
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.errors import ConfigError
from dsrlb.model import Address

ARPHRD_ETHER = 1  # linux/if_arp.h
IFF_UP, IFF_RUNNING = 0x1, 0x40  # linux/if.h
IFA_F_DADFAILED, IFA_F_TENTATIVE = 0x08, 0x40  # linux/if_addr.h: not (yet) an address to speak from


@dataclass(frozen=True)
class Link:
    """An Ethernet interface as it was when asked; ``up`` means switched on and with a carrier."""

    ifindex: int
    name: str
    mac: bytes
    mtu_bytes: int
    up: bool
    ipv4: tuple[IPv4Interface, ...]
    ipv6: tuple[IPv6Interface, ...]  # without those that are still tentative
    vlan_of: int | None = None  # ifindex of the interface whose tagged frames these are
    kind: str = ""  # veth, vlan, bridge …; empty: hardware
    is_gone: bool = False  # it has been deleted since


@dataclass(frozen=True)
class OwnAddress:
    """An address of this host as it is configured; the text of it is what ``ip addr`` takes."""

    address: Address
    prefix_length: int
    interface: str

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix_length} dev {self.interface}"


def default_interface(option: str = "--interface") -> str:
    """Return the interface of the default route, IPv4's first, then IPv6's.

    Raises ConfigError when this host has no default route: it names the option that gives one.
    """
    routes = netifaces.gateways().get("default", {})
    for family in (netifaces.AF_INET, netifaces.AF_INET6):
        if family in routes:
            return str(routes[family][1])
    raise ConfigError(f"This host has no default route to take the interface from; name it with {option}.")


def link(name: str) -> Link:
    """Return what the kernel says of one Ethernet interface.

    Raises ConfigError when there is no such interface (naming those that exist), or when it is
    the loopback or not Ethernet.
    """
    with IPRoute() as ipr:
        known = {str(message.get_attr("IFLA_IFNAME")): message for message in ipr.get_links()}
        if name not in known:
            raise ConfigError(f"There is no interface {name}; this host has {_listed(known)}.")
        message = known[name]
        if message["ifi_type"] != ARPHRD_ETHER:
            raise ConfigError(
                f"Interface {name} is not an Ethernet interface, so no frame can be sent to a "
                f"server's MAC there; choose one of {_listed(_ethernet(known))}."
            )
        return _link(ipr, message)


def _link(ipr: Any, message: Any) -> Link:
    """Return what a message about an Ethernet interface says, and its addresses."""
    addresses = _addresses(ipr, message["index"])
    return Link(
        ifindex=message["index"],
        name=str(message.get_attr("IFLA_IFNAME")),
        mac=bytes.fromhex(message.get_attr("IFLA_ADDRESS").replace(":", "")),
        mtu_bytes=message.get_attr("IFLA_MTU"),
        up=is_up(message["flags"]),
        ipv4=tuple(a for a in addresses if isinstance(a, IPv4Interface)),
        ipv6=tuple(a for a in addresses if isinstance(a, IPv6Interface)),
        vlan_of=message.get_attr("IFLA_LINK") if _kind(message) == "vlan" else None,
        kind=_kind(message),
    )


def _kind(message: Any) -> str:
    about = message.get_attr("IFLA_LINKINFO")
    return str(about.get_attr("IFLA_INFO_KIND") or "") if about is not None else ""


def link_at(ifindex: int) -> Link | None:
    """Return the link that has an index, whatever its name is now; None when it is gone, or not Ethernet."""
    with contextlib.suppress(OSError, NetlinkError), IPRoute() as ipr:
        (message,) = ipr.link("get", index=ifindex)
        return _link(ipr, message) if message["ifi_type"] == ARPHRD_ETHER else None
    return None


def is_up(flags: int) -> bool:
    """Return whether interface flags say: switched on, and with a carrier."""
    return flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING


def own_addresses(addresses: Iterable[Address]) -> list[OwnAddress]:
    """Return those of the addresses that are configured on this host, once for each interface."""
    wanted = {str(address): address for address in addresses}
    found = []
    with IPRoute() as ipr:
        for message in ipr.get_addr():
            with contextlib.suppress(KeyError, OSError):  # not asked for; or its interface has just gone
                address, name = wanted[_local(message)], socket.if_indextoname(message["index"])
                found.append(OwnAddress(address, message["prefixlen"], name))
    return found


def every_address() -> frozenset[Address]:
    """Return all addresses of this host, whatever interface they are on."""
    with IPRoute() as ipr:
        return frozenset(ip_address(_local(message)) for message in ipr.get_addr())


def _ethernet(known: dict[str, Any]) -> list[str]:
    return [name for name, message in known.items() if message["ifi_type"] == ARPHRD_ETHER]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _local(message: Any) -> str:
    """Return the host's own address; IFA_ADDRESS is the far end on a point-to-point link."""
    return str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))


def _addresses(ipr: Any, ifindex: int) -> list[IPv4Interface | IPv6Interface]:
    return [
        ip_interface(f"{_local(message)}/{message['prefixlen']}")
        for message in ipr.get_addr(index=ifindex)
        if not message["flags"] & (IFA_F_DADFAILED | IFA_F_TENTATIVE)
    ]
