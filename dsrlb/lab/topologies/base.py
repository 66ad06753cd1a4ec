"""What a lab's network is made of, as data: interfaces, cables, switches, routes.

Every address names its network and its place there, ``at(21, 2)`` is ::

    198.18.21.2/24        2001:db8:21::2/64        02:00:c6:12:21:02

network 21, host 2, in both families; the MAC address ends in the same digits (``c6:12`` is 198.18).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import TYPE_CHECKING

from dsrlb.model import Address

if TYPE_CHECKING:
    from dsrlb.lab.topology import Lab

DIRECT = "the answers went straight from the servers to the client: Direct Server Return"
Interface = IPv4Interface | IPv6Interface
OUTSIDE, FRONT, BACK = 0, 1, 2  # networks: client and router; router and balancer; balancer and its servers
ROUTER_HOST, CLIENT_HOST, LB_HOST, MORE_CLIENT_HOSTS = 1, 2, 10, range(32, 40)
PROXY_HOST = 90  # px1 is host 91
ANYWHERE = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class End:
    """One end of a cable: an interface of a node, with its addresses, a family's first one its own."""

    role: str
    device: str
    mac: str = ""  # empty: whatever the kernel gives
    addresses: tuple[Interface, ...] = ()


@dataclass(frozen=True)
class Cable:
    """A link between two interfaces, both of the same MTU."""

    one: End
    other: End
    mtu_bytes: int


@dataclass(frozen=True)
class Route:
    """A route of a node: packets to ``network`` go by way of ``gateway``, a neighbour."""

    role: str
    network: str
    gateway: Address
    source: Address | None = None  # of what the node itself sends that way
    beside: tuple[Address, ...] = ()  # more gateways: each flow goes by one of them (ECMP)


@dataclass(frozen=True)
class Network:
    """All of a lab: what is to be built."""

    cables: tuple[Cable, ...]
    routes: tuple[Route, ...]
    switches: tuple[str, ...]  # roles whose interfaces form one bridge, br0
    routers: tuple[str, ...]  # roles whose kernel forwards

    def ends(self, role: str) -> tuple[End, ...]:
        """Return the interfaces of a node, in the order of the cables."""
        ends = (end for cable in self.cables for end in (cable.one, cable.other))
        return tuple(end for end in ends if end.role == role)

    def beyond(self, end: End) -> End:
        """Return the other end of an interface's cable."""
        both = ((cable.one, cable.other) for cable in self.cables)
        return next(there for pair in both for here, there in (pair, pair[::-1]) if here == end)

    def peers(self, role: str) -> tuple[End, ...]:
        """Return the other ends of a node's cables."""
        return tuple(self.beyond(end) for end in self.ends(role))


@dataclass(frozen=True)
class Topology:
    """A mode's network."""

    mode: str
    vips: tuple[Address, Address]  # IPv4, IPv6
    network: Callable[[Lab], Network]
    server_note: str  # what a server is here, said to a person; {vip} is filled in
    replies: str  # by which way the answers go, said to a person
    crosses: str  # what tcpdump sees at the balancer, said to a person
    watch: str  # ... its interface and filter; {vip} is filled in
    setup: tuple[str, ...] | None  # flags of ``dsrlb backend setup`` beside mode and VIPs; None: not needed
    forwards: str = ""  # the mode of the balancer, if the lab's word is none: it stands before proxies


def at(network: int, *hosts: int) -> tuple[Interface, ...]:
    """Return the addresses of hosts in a numbered network, IPv4 first."""
    forms = f"198.18.{network}.{{}}/24", f"2001:db8:{network}::{{}}/64"
    return tuple(ip_interface(form.format(host)) for form in forms for host in hosts)


def end(role: str, device: str, network: int, host: int, *more_hosts: int) -> End:
    """Return an interface with its addresses in a numbered network."""
    return End(role, device, mac_at(network, host), at(network, host, *more_hosts))


def mac_at(network: int, host: int) -> str:
    """Return the MAC address of a host in a numbered network; both have at most two digits."""
    return f"02:00:c6:12:{network:02d}:{host:02d}"


def row(roles: Iterable[str], device: str, network: int, after: int) -> list[End]:
    """Return an interface of each role in a numbered network, with the hosts ``after`` that one, in order."""
    return [end(role, device, network, after + k) for k, role in enumerate(roles, 1)]


def routers(lab: Lab) -> tuple[str, ...]:
    """Return the roles whose kernel forwards: the router, and the balancers where they are to."""
    return "router", *(lab.balancer_names if lab.lb_forwards else ())


def outside(lab: Lab) -> Cable:
    """Return the cable from the client to the router; the client has addresses to choose from."""
    client = end("client", "c0", OUTSIDE, CLIENT_HOST, *MORE_CLIENT_HOSTS)
    return Cable(client, end("router", "c1", OUTSIDE, ROUTER_HOST), lab.client_mtu_bytes)


def plugged(ends: Iterable[End], switch: str, lab: Lab) -> Iterator[Cable]:
    """Yield a cable from each interface to a port of the switch, named for the node: ``p-rs1``."""
    for one in ends:
        yield Cable(one, End(switch, f"p-{one.role}"), lab.link_mtu_bytes(one.role))


def gateway(of: End, to: Interface, network: str | None = None) -> Route:
    """Return the route of a node by way of a gateway's address, to everywhere if no network is named."""
    source = next(address.ip for address in of.addresses if address.version == to.version)
    return Route(of.role, network or ANYWHERE[to.version == 6], to.ip, source)


def gateways(of: End, to: End) -> Iterator[Route]:
    """Yield a node's default routes by way of another's interface."""
    for version in (4, 6):
        yield gateway(of, next(address for address in to.addresses if address.version == version))
