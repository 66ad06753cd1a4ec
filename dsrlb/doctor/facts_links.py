"""The interfaces by which frames come in and leave, and what this host's stack would do with them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.doctor.scene import Scene
from dsrlb.errors import DsrlbError
from dsrlb.host import bpf_attach
from dsrlb.host.links import Link
from dsrlb.host.offloads import Offloads, offloads
from dsrlb.host.xdp_features import XdpFeature, xdp_features

SYSCTLS = Path("/proc/sys/net")


@dataclass(frozen=True)
class LinkFacts:
    """One interface."""

    link: Link
    is_front: bool  # clients' frames come in there
    offloads: Offloads
    xdp: Literal["native", "generic"] | None  # the program that is on it, whosever
    features: XdpFeature | None  # of its driver; None: the kernel does not tell
    bridge: str  # the bridge that it is, or is a port of; empty: none


@dataclass(frozen=True)
class StackFacts:
    """Settings of the host, by key; those of a device by ``ipv4/conf/e0/rp_filter``."""

    sysctls: dict[str, int]

    def value(self, key: str) -> int:
        """Return a setting; 0 where this kernel has none."""
        return self.sysctls.get(key, 0)

    def device(self, name: str, device: str, family: str = "ipv4") -> tuple[int, int]:
        """Return a setting of all devices, and a device's own."""
        return (self.value(f"{family}/conf/all/{name}"), self.value(f"{family}/conf/{device}/{name}"))


def link_facts(scene: Scene) -> list[LinkFacts]:
    """Ask this host about each interface, those where clients' frames come in first."""
    fronts = {one.ifindex for one in scene.ground.links}
    links = [*scene.ground.links, *(way.link for way in scene.ground.ways.values())]
    each = {one.ifindex: one for one in links}.values()
    return [
        LinkFacts(
            link=one,
            is_front=one.ifindex in fronts,
            offloads=offloads(one.name),
            xdp=_xdp(one.ifindex),
            features=xdp_features(one.ifindex),
            bridge=_bridge(one),
        )
        for one in each
    ]


def _xdp(ifindex: int) -> Literal["native", "generic"] | None:
    try:
        there = bpf_attach.on_xdp(ifindex)
    except DsrlbError:  # no libbpf: then nothing of ours is there, and who else's is no matter
        return None
    return None if there is None else there.mode


def _bridge(link: Link) -> str:
    if link.kind == "bridge":
        return link.name
    with suppress(NetlinkError, OSError), IPRoute() as ipr:
        (message,) = ipr.link("get", index=link.ifindex)
        master = message.get_attr("IFLA_MASTER")
        if master is not None:
            (above,) = ipr.link("get", index=master)
            about = above.get_attr("IFLA_LINKINFO")
            is_bridge = about is not None and about.get_attr("IFLA_INFO_KIND") == "bridge"
            return str(above.get_attr("IFLA_IFNAME")) if is_bridge else ""
    return ""


def stack_facts(links: list[LinkFacts]) -> StackFacts:
    """Read the settings of this host that matter to frames of others."""
    names = ("all", *(one.link.name for one in links))
    keys = [
        f"ipv4/conf/{name}/{key}" for name in names for key in ("rp_filter", "send_redirects", "accept_local")
    ]
    keys += ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]
    keys += ["bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables"]
    found: dict[str, int] = {}
    for key in keys:
        with suppress(OSError, ValueError):
            found[key] = int((SYSCTLS / key).read_text(encoding="ascii"))
    return StackFacts(found)
