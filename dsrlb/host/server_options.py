"""What the machine says of a set-up where a person leaves it open."""

from __future__ import annotations

from collections.abc import Sequence

from dsrlb.errors import ConfigError, HostError
from dsrlb.host import machine as host
from dsrlb.host.links import default_interface
from dsrlb.host.machine import Machine
from dsrlb.model import Address
from dsrlb.modes.l3dsr import TUNNEL_DEVICES


def outer_versions(machine: Machine) -> tuple[int, ...]:
    """Return the IP versions that a tunnel to this machine can have: 6 only where IPv6 is on."""
    off = host.read_sysctl(machine, "net.ipv6.conf.all.disable_ipv6")
    return (4, 6) if off == "0" else (4,)


def kernel_can(machine: Machine, vips: Sequence[Address], outer: Sequence[int]) -> bool:
    """Say whether the kernel has, or can be given, the tunnel devices for these VIPs; changes nothing."""
    wanted = {TUNNEL_DEVICES[vip.version, version] for vip in vips for version in outer}
    there = host.links(machine)
    return all(device in there or _can_load(machine, module) for module, device in wanted)


def _can_load(machine: Machine, module: str) -> bool:
    if (machine.module_root / module).exists():
        return False  # it is loaded, and brings its device to other network namespaces only
    try:
        machine.run(["modprobe", "-n", "-q", module])
    except HostError:
        return False
    return True


def tunnel_device(machine: Machine, named: str | None) -> str:
    """Return the Ethernet device on which tunnel packets come in: the one named, or the default route's."""
    there = host.links(machine)
    device = named or default_interface("--device")
    if device not in there:
        raise ConfigError(f"There is no device {device}; this machine has {', '.join(sorted(there))}.")
    if there[device][2] != "ether":
        raise ConfigError(f"Device {device} is not an Ethernet device; name with --device one that is.")
    return device


def is_own_link(machine: Machine, network: str) -> bool:
    """Say whether a network is a link of this machine: a route to it would take that link's place."""
    family = "inet6" if ":" in network else "inet"
    return any("proto kernel" in line for line in host.routes(machine, family, network))
