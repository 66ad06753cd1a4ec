"""A lab's namespaces, built from its network and removed again."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dsrlb.lab import xdp
from dsrlb.lab.commands import inside, run
from dsrlb.lab.topologies.base import End
from dsrlb.lab.topology import NAMESPACES, Lab

INODES = (
    "inodes"  # file in the run directory: the servers' namespaces by number, for when their names are gone
)
_ROLE = r"(client|router|switch[0-9]*|lb[0-9]*|px[0-9]+|rs[0-9]+)"


def present(prefix: str) -> list[str]:
    """Return the namespaces that a lab of this prefix has, whatever its mode and state."""
    ours = re.compile(re.escape(prefix) + _ROLE)
    names = (entry.name for entry in NAMESPACES.iterdir()) if NAMESPACES.is_dir() else iter(())
    return sorted(name for name in names if ours.fullmatch(name))


def build(lab: Lab) -> None:
    """Make namespaces, links, addresses and routes; nothing of this prefix may be there yet."""
    for role in lab.roles:
        run(["ip", "netns", "add", lab.namespace(role)])
    inodes = (str((NAMESPACES / lab.namespace(role)).stat().st_ino) for role in lab.backend_names)
    (lab.run_directory / INODES).write_text("\n".join(inodes))
    for role in lab.roles:
        run(inside(lab.namespace(role), "sysctl", "-qew", *_settings(lab, role)))
    run(["ip", "-batch", "-"], "\n".join(_links(lab)))
    for role in lab.roles:
        run(["ip", "-n", lab.namespace(role), "-batch", "-"], "\n".join(_lines(lab, role)))
    if not lab.offloads:
        _plain_wires(lab)
    if lab.xdp:
        xdp.make_ready(lab)


def remove(prefix: str) -> None:
    """Delete the namespaces of a prefix, and with them every link; the processes must be gone before."""
    for namespace in present(prefix):
        run(["ip", "netns", "del", namespace])


def _settings(lab: Lab, role: str) -> Iterable[str]:
    """Say everything that matters: a new namespace inherits the IPv4 settings of the machine's own."""
    forwards, scopes = int(role in lab.network.routers), ("all", "default")
    yield f"net.ipv4.ip_forward={forwards}"
    for scope in scopes:
        for key in ("rp_filter", "arp_ignore", "arp_announce", "arp_filter"):
            yield f"net.ipv4.conf.{scope}.{key}=0"
        # A packet that goes out where it came in is no mistake here: one-armed, everything does.
        yield f"net.ipv4.conf.{scope}.send_redirects=0"
    by_ports = int(lab.balancers > 1)  # by which way a packet goes where there are several: one for a flow
    yield f"net.ipv4.fib_multipath_hash_policy={by_ports}"
    yield "net.bridge.bridge-nf-call-iptables=0"
    yield "net.bridge.bridge-nf-call-ip6tables=0"
    if not lab.ipv6:
        return
    yield f"net.ipv6.conf.all.forwarding={forwards}"
    yield f"net.ipv6.fib_multipath_hash_policy={by_ports}"
    for scope in scopes:
        yield f"net.ipv6.conf.{scope}.disable_ipv6={int(role in lab.network.switches)}"
        yield f"net.ipv6.conf.{scope}.accept_dad=0"  # link-local addresses usable at once
        yield f"net.ipv6.conf.{scope}.accept_ra=0"
        yield f"net.ipv6.conf.{scope}.accept_redirects=0"  # IPv6 has no send_redirects


def _links(lab: Lab) -> Iterable[str]:
    for cable in lab.network.cables:
        one, other = (_device(lab, end, cable.mtu_bytes) for end in (cable.one, cable.other))
        yield f"link add {one} type veth peer {other}"


def _device(lab: Lab, end: End, mtu_bytes: int) -> str:
    mac = f"address {end.mac} " if end.mac else ""
    return f"name {end.device} {mac}mtu {mtu_bytes} netns {lab.namespace(end.role)}"


def _lines(lab: Lab, role: str) -> Iterable[str]:
    """Yield the ``ip`` lines of one node."""
    yield "link set lo up"
    ends = lab.network.ends(role)
    if role in lab.network.switches:
        yield f"link add br0 mtu {lab.mtu_bytes} type bridge mcast_snooping 0 stp_state 0 forward_delay 0"
        yield "link set br0 up"
    for end in ends:
        yield f"link set {end.device}" + (" master br0" if role in lab.network.switches else "") + " up"
        for address in end.addresses:
            if lab.ipv6 or address.version == 4:
                yield f"addr add {address} dev {end.device}" + (" nodad" if address.version == 6 else "")
    for route in lab.network.routes:
        if route.role == role and (lab.ipv6 or route.gateway.version == 4):
            source = f" src {route.source}" if route.source else ""
            ways = "".join(f" nexthop via {one}" for one in (route.gateway, *route.beside))
            yield f"route add {route.network}" + (ways if route.beside else f" via {route.gateway}{source}")


def _plain_wires(lab: Lab) -> None:
    off = ("tx", "off", "tso", "off", "gso", "off")
    for role in lab.roles:
        for end in lab.network.ends(role):
            run(inside(lab.namespace(role), "ethtool", "-K", end.device, *off))
