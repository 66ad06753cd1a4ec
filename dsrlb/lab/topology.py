"""The lab's network: what it looks like, and how it is built and removed.

::

                198.18.0.0/24                        198.18.1.0/24
                2001:db8:0::/64                      2001:db8:1::/64

    client .2 ───────────── .1 router .1 ────┬──── switch ────┬──── lb  .10    (balancer)
           c0               c1        e0     │   (bridge br0) ├──── rs1 .11 ┐
                                             │                ├──── rs2 .12 ├─ VIP 198.18.1.100 on lo
                                             └────────────────┴──── rs3 .13 ┘

IPv6 addresses end in the same digits, and so do the MAC addresses: rs1 is 198.18.1.11,
2001:db8:1::11 and 02:00:c6:12:01:11.  Every node is a network namespace whose name is a prefix
and the node's role: ``dsrlb-rs1``.  Nothing outside of these namespaces is touched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from dsrlb.errors import DsrlbError, HostError, UsageError
from dsrlb.model import Address

VIP: Address = ip_address("198.18.1.100")
VIP6: Address = ip_address("2001:db8:1::100")
CLIENT: Address = ip_address("198.18.0.2")
CLIENT6: Address = ip_address("2001:db8::2")
# The client has these as well: sources to choose from.
MORE_CLIENTS = tuple(ip_address(f"198.18.0.{n}") for n in range(32, 40))
MORE_CLIENTS6 = tuple(ip_address(f"2001:db8::{n}") for n in range(32, 40))
DEFAULT_PREFIX = "dsrlb-"
LB_HOST = 10
SERVERS_MAX = 80  # rs80 is .90; .100 is the VIP
NAMESPACES = Path("/run/netns")
INODES = (
    "inodes"  # file in the run directory: numbers of the servers' namespaces, for when their names are gone
)
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

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", self.prefix):
            raise UsageError(f"lab prefix {self.prefix!r}: use up to 20 of a-z, 0-9 and '-', a letter first")
        if not 1 <= self.servers <= SERVERS_MAX:
            raise UsageError(f"a lab has 1 to {SERVERS_MAX} servers, not {self.servers}")

    @property
    def server_names(self) -> tuple[str, ...]:
        """The servers' roles: ``("rs1", "rs2", "rs3")``."""
        return tuple(f"rs{k}" for k in range(1, self.servers + 1))

    @property
    def roles(self) -> tuple[str, ...]:
        """Every node of the lab."""
        return ("client", "router", "switch", "lb", *self.server_names)

    @property
    def vips(self) -> tuple[Address, ...]:
        """The VIPs that the servers hold."""
        return (VIP, VIP6) if self.ipv6 else (VIP,)

    @property
    def run_directory(self) -> Path:
        """Where the lab keeps its files, logs and process records."""
        return RUN_ROOT / self.prefix

    def namespace(self, role: str) -> str:
        """Return the name of a node's network namespace."""
        return f"{self.prefix}{role}"

    def address(self, role: str, version: int = 4) -> Address:
        """Return a node's own address; the router's is the one on the servers' side."""
        if role == "client":
            return CLIENT if version == 4 else CLIENT6
        base = "198.18.1." if version == 4 else "2001:db8:1::"
        return ip_address(f"{base}{host_number(role)}")

    def server_addresses(self, version: int = 4) -> tuple[Address, ...]:
        """Return the servers' own addresses, rs1 first."""
        return tuple(self.address(name, version) for name in self.server_names)


def host_number(role: str) -> int:
    """Return the last digits of a node's addresses on the servers' segment."""
    if role in ("router", "lb"):
        return 1 if role == "router" else LB_HOST
    return LB_HOST + int(role.removeprefix("rs"))


def mac(role: str) -> str:
    """Return the MAC address of a node's ``e0``."""
    return f"02:00:c6:12:01:{host_number(role):02d}"


def require_root() -> None:
    """Raise HostError unless namespaces can be made here."""
    if os.geteuid() != 0:
        raise HostError("the lab builds network namespaces and needs root: run it with sudo")
    missing = [tool for tool in ("ip", "sysctl") if shutil.which(tool) is None]
    if missing:
        raise HostError(f"the lab needs {' and '.join(missing)}: install the packages iproute2 and procps")


def inside(namespace: str, *command: str) -> list[str]:
    """Return the command that runs ``command`` in a namespace."""
    return ["ip", "netns", "exec", namespace, *command]


def run(command: Sequence[str], stdin: str = "") -> str:
    """Run a command and return what it printed; DsrlbError with its own words if it fails."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())
        raise DsrlbError(f"the lab's command '{' '.join(command)}' failed: {words}")
    return done.stdout


def present(prefix: str) -> list[str]:
    """Return the namespaces that a lab of this prefix has, whatever state it is in."""
    ours = re.compile(re.escape(prefix) + r"(client|router|switch|lb|rs[0-9]+)")
    names = (entry.name for entry in NAMESPACES.iterdir()) if NAMESPACES.is_dir() else iter(())
    return sorted(name for name in names if ours.fullmatch(name))


def build(lab: Lab) -> None:
    """Make namespaces, links, addresses and routes; nothing of this prefix may be there yet."""
    for role in lab.roles:
        run(["ip", "netns", "add", lab.namespace(role)])
    inodes = (str((NAMESPACES / lab.namespace(name)).stat().st_ino) for name in lab.server_names)
    (lab.run_directory / INODES).write_text("\n".join(inodes))
    for role in lab.roles:
        run(inside(lab.namespace(role), "sysctl", "-qew", *_settings(lab, role)))
    run(["ip", "-batch", "-"], "\n".join(_links(lab)))
    for role in lab.roles:
        run(["ip", "-n", lab.namespace(role), "-batch", "-"], "\n".join(_lines(lab, role)))
    if not lab.offloads:
        _plain_wires(lab)


def remove(prefix: str) -> None:
    """Delete the namespaces of a prefix, and with them every link; the processes must be gone before."""
    for namespace in present(prefix):
        run(["ip", "netns", "del", namespace])


def _settings(lab: Lab, role: str) -> Iterable[str]:
    """Say everything that matters: a new namespace inherits the IPv4 settings of the machine's own."""
    router = int(role == "router")
    yield f"net.ipv4.ip_forward={router}"
    for scope in ("all", "default"):
        for key in ("rp_filter", "arp_ignore", "arp_announce", "arp_filter"):
            yield f"net.ipv4.conf.{scope}.{key}=0"
    yield "net.bridge.bridge-nf-call-iptables=0"
    yield "net.bridge.bridge-nf-call-ip6tables=0"
    if not lab.ipv6:
        return
    yield f"net.ipv6.conf.all.forwarding={router}"
    for scope in ("all", "default"):
        yield f"net.ipv6.conf.{scope}.disable_ipv6={int(role == 'switch')}"
        yield f"net.ipv6.conf.{scope}.accept_dad=0"  # link-local addresses usable at once
        yield f"net.ipv6.conf.{scope}.accept_ra=0"


def _links(lab: Lab) -> Iterable[str]:
    mtu = lab.client_mtu_bytes
    yield (
        f"link add c0 address 02:00:c6:12:00:02 mtu {mtu} netns {lab.namespace('client')}"
        f" type veth peer name c1 address 02:00:c6:12:00:01 mtu {mtu} netns {lab.namespace('router')}"
    )
    for role in ("router", "lb", *lab.server_names):
        yield (
            f"link add e0 address {mac(role)} mtu {lab.mtu_bytes} netns {lab.namespace(role)}"
            f" type veth peer name p-{role} mtu {lab.mtu_bytes} netns {lab.namespace('switch')}"
        )


def _lines(lab: Lab, role: str) -> Iterable[str]:
    """Yield the ``ip`` lines of one node."""
    yield "link set lo up"
    if role == "switch":
        yield f"link add br0 mtu {lab.mtu_bytes} type bridge mcast_snooping 0 stp_state 0 forward_delay 0"
        yield "link set br0 up"
        for port in ("router", "lb", *lab.server_names):
            yield f"link set p-{port} master br0"
            yield f"link set p-{port} up"
        return
    addresses = _addresses(role)
    for device in sorted({device for device, _ in addresses}):
        yield f"link set {device} up"
    for device, address in addresses:
        if lab.ipv6 or ":" not in address:
            yield f"addr add {address} dev {device}" + (" nodad" if ":" in address else "")
    if role != "router":
        subnet = 0 if role == "client" else 1
        yield f"route add default via 198.18.{subnet}.1 src {lab.address(role)}"
        if lab.ipv6:
            yield f"route add ::/0 via 2001:db8:{subnet}::1 src {lab.address(role, 6)}"


def _addresses(role: str) -> list[tuple[str, str]]:
    client_side = "198.18.0.{}/24", "2001:db8:0::{}/64"
    server_side = "198.18.1.{}/24", "2001:db8:1::{}/64"
    if role == "client":
        return [("c0", form.format(n)) for form in client_side for n in (2, *range(32, 40))]
    own = [("e0", form.format(host_number(role))) for form in server_side]
    return own + ([("c1", form.format(1)) for form in client_side] if role == "router" else [])


def _plain_wires(lab: Lab) -> None:
    ports = [f"p-{role}" for role in ("router", "lb", *lab.server_names)]
    devices = {"client": ["c0"], "router": ["c1", "e0"], "switch": ports}
    off = ("tx", "off", "tso", "off", "gso", "off")
    for role in lab.roles:
        for device in devices.get(role, ["e0"]):
            run(inside(lab.namespace(role), "ethtool", "-K", device, *off))


@dataclass(frozen=True)
class LinkBytes:
    """What crossed an interface so far, in bytes, as the node's kernel counts."""

    received: int
    sent: int

    def __sub__(self, earlier: LinkBytes) -> LinkBytes:
        """Return what crossed since ``earlier``."""
        return LinkBytes(self.received - earlier.received, self.sent - earlier.sent)


def link_bytes(lab: Lab, role: str, device: str = "e0") -> LinkBytes:
    """Read the byte counters of a node's interface."""
    shown = run(["ip", "-j", "-s", "-n", lab.namespace(role), "link", "show", "dev", device])
    counters = json.loads(shown)[0]["stats64"]
    return LinkBytes(counters["rx"]["bytes"], counters["tx"]["bytes"])
