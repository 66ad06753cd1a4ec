"""What a lab looks like: its nodes, their names and addresses; the networks are in ``topologies``.

Every node is a network namespace whose name is a prefix and the node's role: ``dsrlb-rs1``.
Nothing outside of these namespaces is touched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from dsrlb.errors import UsageError
from dsrlb.lab.commands import inside, require_root, run
from dsrlb.lab.counters import LinkBytes, link_bytes
from dsrlb.lab.topologies import BY_MODE, Topology
from dsrlb.lab.topologies.base import (
    CLIENT_HOST,
    FRONT,
    LB_HOST,
    MORE_CLIENT_HOSTS,
    OUTSIDE,
    ROUTER_HOST,
    Network,
    at,
    mac_at,
)
from dsrlb.lab.topologies.l2dsr import VIPS
from dsrlb.model import Address

VIP, VIP6 = VIPS  # of l2dsr and inline; a lab of any mode has ``vips``
CLIENT, CLIENT6 = (one.ip for one in at(OUTSIDE, CLIENT_HOST))
# The client has these as well: sources to choose from.
MORE_CLIENTS = tuple(one.ip for one in at(OUTSIDE, *MORE_CLIENT_HOSTS) if one.version == 4)
MORE_CLIENTS6 = tuple(one.ip for one in at(OUTSIDE, *MORE_CLIENT_HOSTS) if one.version == 6)
DEFAULT_PREFIX = "dsrlb-"
BALANCERS_MAX = 9  # lb9 is in network 198.18.9.0/24
PROXIES_MAX = 9  # px9 is 198.18.1.99
SERVERS_MAX = 79  # rs79 is 198.18.1.89, or in network 198.18.99.0/24
NAMESPACES = Path("/run/netns")
RUN_ROOT = Path("/run/dsrlb-lab")  # not /run/dsrlb: systemd empties that one when the service stops


def _host_has_ipv6() -> bool:
    return Path("/proc/sys/net/ipv6").is_dir()


@dataclass(frozen=True)
class Lab:
    """What a lab looks like; every name and address in it follows from these few values."""

    prefix: str = DEFAULT_PREFIX
    servers: int = 3
    mtu_bytes: int = 1500
    client_mtu_bytes: int = 1500  # of the link between client and router
    offloads: bool = True  # False: whole segments with finished checksums only, as on a plain wire
    ipv6: bool = field(default_factory=_host_has_ipv6)
    mode: str = "l2dsr"
    one_armed: bool = False  # inline: servers on the balancer's own segment
    snat: bool = False  # inline: the balancer replaces the source too, so the servers' gateway is the router
    lb_forwards: bool = (
        False  # the kernel of the balancer's node is a router: carries the servers' other packets
    )
    balancers: int = 1  # l3dsr: among so many the router divides the flows for the VIPs
    proxies: int = 3  # two-tier: so many are between balancer and servers
    xdp: bool = False  # the balancer can have native XDP, and keep what is pinned
    narrow_links: tuple[
        tuple[str, int], ...
    ] = ()  # role and MTU in bytes, of links that differ: ("rs2", 1400)

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", self.prefix):
            raise UsageError(f"lab prefix {self.prefix!r}: use up to 20 of a-z, 0-9 and '-', a letter first")
        if not 1 <= self.servers <= SERVERS_MAX:
            raise UsageError(f"a lab has 1 to {SERVERS_MAX} servers, not {self.servers}")
        if self.mode not in BY_MODE:
            raise UsageError(f"there is no lab for mode {self.mode!r}: take one of {', '.join(BY_MODE)}")
        if self.mode != "inline" and (self.one_armed or self.snat):
            raise UsageError(f"one-armed and snat are layouts of mode inline, not of {self.mode}")
        if self.snat and not self.one_armed:
            raise UsageError(
                "snat is for the one-armed layout: two-armed, the servers reply by the balancer anyway"
            )
        if not 1 <= self.balancers <= BALANCERS_MAX:
            raise UsageError(f"a lab has 1 to {BALANCERS_MAX} balancers, not {self.balancers}")
        if self.mode != "l3dsr" and self.balancers > 1:
            raise UsageError(f"several balancers are a layout of mode l3dsr, not of {self.mode}")
        if not 1 <= self.proxies <= PROXIES_MAX:
            raise UsageError(f"a lab has 1 to {PROXIES_MAX} proxies, not {self.proxies}")
        for role, _ in self.narrow_links:
            if role not in ("router", *self.balancer_names, *self.proxy_names, *self.server_names):
                raise UsageError(
                    f"narrow link of {role!r}: this lab has router, lb and rs1 to rs{self.servers}"
                )

    @property
    def topology(self) -> Topology:
        """The mode's network, and what is said of it."""
        return BY_MODE[self.mode]

    @property
    def network(self) -> Network:
        """Every interface, cable, address and route."""
        return _network(self)

    @property
    def server_names(self) -> tuple[str, ...]:
        """The servers' roles: ``("rs1", "rs2", "rs3")``."""
        return tuple(f"rs{k}" for k in range(1, self.servers + 1))

    @property
    def balancer_names(self) -> tuple[str, ...]:
        """The balancers' roles: ``("lb",)``, or ``("lb", "lb2")``."""
        return ("lb", *(f"lb{k}" for k in range(2, self.balancers + 1)))

    @property
    def proxy_names(self) -> tuple[str, ...]:
        """The roles of the proxies between balancer and servers: ``("px1", "px2")``; of most labs none."""
        return tuple(f"px{k}" for k in range(1, self.proxies + 1)) if self.topology.forwards else ()

    @property
    def backend_names(self) -> tuple[str, ...]:
        """The roles of those that the balancer sends to."""
        return self.proxy_names or self.server_names

    @property
    def forwards(self) -> str:
        """The mode of the balancer."""
        return self.topology.forwards or self.mode

    @property
    def roles(self) -> tuple[str, ...]:
        """Every node of the lab."""
        ours = (*self.balancer_names, *self.proxy_names, *self.server_names)
        return ("client", "router", *self.network.switches, *ours)

    @property
    def vips(self) -> tuple[Address, ...]:
        """The VIPs: those that the balancer answers for."""
        return self.topology.vips if self.ipv6 else self.topology.vips[:1]

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The balancer's interfaces."""
        return tuple(end.device for end in self.network.ends("lb"))

    @property
    def run_directory(self) -> Path:
        """Where the lab keeps its files, logs and process records."""
        return RUN_ROOT / self.prefix

    @property
    def bpf_fs(self) -> Path:
        """Where a BPF file system is mounted, with ``xdp``: ``ip netns exec`` hides the one in /sys."""
        return self.run_directory / "bpf"

    def namespace(self, role: str) -> str:
        """Return the name of a node's network namespace."""
        return f"{self.prefix}{role}"

    def address(self, role: str, version: int = 4, device: str = "") -> Address:
        """Return a node's address on an interface; not named, it is the client's c0, everyone else's e0."""
        device = device or ("c0" if role == "client" else "e0")
        addresses = next(end.addresses for end in self.network.ends(role) if end.device == device)
        return next(one.ip for one in addresses if one.version == version)

    def server_addresses(self, version: int = 4) -> tuple[Address, ...]:
        """Return the servers' own addresses, rs1 first."""
        return tuple(self.address(name, version) for name in self.server_names)

    def mac(self, role: str, device: str = "e0") -> str:
        """Return the MAC address of a node's interface."""
        return next(end.mac for end in self.network.ends(role) if end.device == device)

    def link_mtu_bytes(self, role: str) -> int:
        """Return the MTU of the link between a node's ``e0`` and whatever it is plugged into."""
        return dict(self.narrow_links).get(role, self.mtu_bytes)


@lru_cache(maxsize=32)
def _network(lab: Lab) -> Network:
    return lab.topology.network(lab)


def mac(role: str) -> str:
    """Return the MAC address of a node's ``e0`` in the lab of l2dsr; a lab of any mode has ``mac``."""
    hosts = {"router": ROUTER_HOST, "lb": LB_HOST}
    return mac_at(FRONT, hosts[role] if role in hosts else LB_HOST + int(role.removeprefix("rs")))


__all__ = [
    "CLIENT", "CLIENT6", "DEFAULT_PREFIX", "MORE_CLIENTS", "MORE_CLIENTS6", "NAMESPACES", "RUN_ROOT",
    "SERVERS_MAX", "VIP", "VIP6", "Lab", "LinkBytes", "inside", "link_bytes", "mac", "require_root", "run",
]  # fmt: skip
