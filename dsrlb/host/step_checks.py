"""What can be wrong with a real server although every step is in effect.

Each is one line that names the thing, says what comes of it, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dsrlb.host import machine as host
from dsrlb.host.machine import Interface, Machine
from dsrlb.host.step_kinds import interface_of
from dsrlb.host.steps import is_present
from dsrlb.host.steps_state import Setup


def problems(machine: Machine, setups: Sequence[Setup], device: str | None = None) -> list[str]:
    """Return a line for each thing that is wrong; ``device``: where the balancer's packets come in."""
    known = host.addresses(machine)
    found = [line for setup in setups for line in _of_addresses(machine, setup, known)]
    found += [line for setup in setups for line in _of_order(machine, setup)]
    devices = {one.options.device for one in setups if one.options.decap == "bpf"}
    if device is not None:
        devices.add(device)
    if any(setup.vip.version == 4 for setup in setups):
        found += [line for one in sorted(devices) for line in _of_rp_filter(machine, one)]
    return list(dict.fromkeys(found))


def _of_addresses(machine: Machine, setup: Setup, known: Sequence[tuple[str, Interface]]) -> Iterator[str]:
    wanted = {(step.target, interface_of(step)) for step in setup.steps if step.kind == "address"}
    places = {device for device, _ in wanted}
    links = host.links(machine)
    for device, address in known:
        if address.ip != setup.vip or (device, address) in wanted:
            continue
        mend = f"ip address del {address} dev {device}"
        flags, _, kind = links.get(device, (frozenset(), 0, ""))
        if device in places:
            yield f"{address} on {device} has the wrong prefix length; the VIP stands alone: {mend}"
        elif kind == "ether" and "NOARP" not in flags:
            asks = "ARP" if address.version == 4 else "neighbour discovery"
            yield f"{address} is on {device} as well, which answers {asks} for it: {mend}"


def _of_order(machine: Machine, setup: Setup) -> Iterator[str]:
    """A VIP that stood here before ARP was quiet may be in the router's cache with the server's MAC."""
    quiet = [step for step in setup.steps if step.kind == "sysctl"]
    there = any(is_present(machine, step) for step in setup.steps if step.kind == "address")
    if there and not all(is_present(machine, step) for step in quiet):
        yield (
            f"{setup.vip} stands here while ARP is not quiet about it: after setup clear the router's entry "
            f"for it, ip neighbour flush to {setup.vip}"
        )


def _of_rp_filter(machine: Machine, device: str) -> Iterator[str]:
    """Strict reverse-path filtering drops what does not come in by the way that leads back."""
    values = [
        host.read_sysctl(machine, key) or "0"
        for key in ("net.ipv4.conf.all.rp_filter", host.device_key("ipv4", device, "rp_filter"))
    ]
    if max(values) != "1":
        return
    ways = {_device_of(line) for line in host.routes(machine, "inet", "default")}
    if ways and device not in ways:
        key = host.device_key("ipv4", device, "rp_filter")
        yield (
            f"{key} is 1 in effect, and the default route leaves by {', '.join(sorted(ways))}: packets of "
            f"clients that come in by {device} are dropped: sysctl -w {key}=2"
        )


def _device_of(route: str) -> str:
    words = route.split()
    return words[words.index("dev") + 1] if "dev" in words[:-1] else "several devices"
