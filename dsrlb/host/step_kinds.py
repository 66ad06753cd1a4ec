"""What each kind of ``HostStep`` means: the line that does it, the line that takes it back, how to see it.

The *state* of a step is one line of text: what the machine has in the place that the step is about
("0", "absent", "down", a whole route).  It is what goes on record before the step is done.
``scripts/backend-setup`` has the same table in sh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_interface
from types import MappingProxyType

from dsrlb.bpf.compile import FOLDER, object_of
from dsrlb.errors import HostError
from dsrlb.host import machine as host
from dsrlb.host.decap import HANDLE, PRIORITY, PROGRAM
from dsrlb.host.machine import Interface, Machine
from dsrlb.host.step_routes import ADVMSS, ROUTE
from dsrlb.host.step_states import DOWN, UP, Kind, here
from dsrlb.model import HostStep, wire_address

# --- sysctls --------------------------------------------------------------------------------------


def _rp_key(device: str) -> str:
    return host.device_key("ipv4", device, "rp_filter")


def _rp_fits(machine: Machine, step: HostStep, state: str) -> bool:
    """The kernel takes the greater of ``conf.all`` and the device's own: 2, loose, wins over 1, strict."""
    everywhere = host.read_sysctl(machine, "net.ipv4.conf.all.rp_filter") or "0"
    return max(state, everywhere) != "1"


SYSCTL = Kind(
    command=lambda step: f"sysctl -w {step.target}={step.value}",
    back=lambda step, former: f"sysctl -w {step.target}={former}",
    words=lambda step: f"{step.target}={step.value}",
    read=lambda machine, step: host.read_sysctl(machine, step.target),
    fits=lambda machine, step, state: state == step.value,
    do=lambda machine, step: host.write_sysctl(machine, step.target, step.value),
    take_back=lambda machine, step, former: host.write_sysctl(machine, step.target, former),
    shows_state=True,
)
RP_FILTER = Kind(
    command=lambda step: f"sysctl -w {_rp_key(step.target)}={step.value}",
    back=lambda step, former: f"sysctl -w {_rp_key(step.target)}={former}",
    words=lambda step: f"no strict rp_filter on {step.target}",
    read=lambda machine, step: host.read_sysctl(machine, _rp_key(step.target)),
    fits=_rp_fits,
    do=lambda machine, step: host.write_sysctl(machine, _rp_key(step.target), step.value),
    take_back=lambda machine, step, former: host.write_sysctl(machine, _rp_key(step.target), former),
    shows_state=True,
)

# --- addresses and devices ------------------------------------------------------------------------


def interface_of(step: HostStep) -> Interface:
    """Return the address of an ``address`` step."""
    return ip_interface(step.value.split()[0])


def _read_address(machine: Machine, step: HostStep) -> str:
    return here((step.target, interface_of(step)) in host.addresses(machine))


def _add_address(step: HostStep) -> str:
    address, *options = step.value.split()
    return " ".join(["ip address add", address, "dev", step.target, *options])


def _read_device(machine: Machine, step: HostStep) -> str | None:
    found = host.links(machine).get(step.target)
    return None if found is None else UP if "UP" in found[0] else DOWN


def _read_tunnel(machine: Machine, step: HostStep) -> str | None:
    """``ip -d link show ip6tnl0`` says ``... ip6tnl ip6ip6 remote any ...``, where ip6ip6 is the mode."""
    if step.target not in host.links(machine):
        return None
    words = machine.run(["ip", "-d", "-o", "link", "show", "dev", step.target]).split()
    return words[words.index("ip6tnl") + 1] if "ip6tnl" in words else None


def _set_tunnel(step: HostStep, mode: str) -> str:
    """By way of the older interface: ``ip link`` may not change the device that the module brings."""
    return f"ip -6 tunnel change {step.target} mode {mode}"


def _load_module(machine: Machine, step: HostStep) -> None:
    machine.run(MODULE.command(step).split())
    if step.value not in host.links(machine):
        raise HostError(
            f"module {step.target} is loaded, but brings no {step.value} to this network namespace "
            "(see net.core.fb_tunnels_only_for_init_net): use --decap bpf."
        )


ADDRESS = Kind(
    command=_add_address,
    back=lambda step, former: f"ip address del {interface_of(step)} dev {step.target}",
    words=lambda step: f"{interface_of(step)} on {step.target}",
    read=_read_address,
)
MODULE = Kind(
    command=lambda step: f"modprobe {step.target}",
    back=None,  # others may use it by now, and a device that is down does nothing
    words=lambda step: f"module {step.target}",
    read=lambda machine, step: here(step.value in host.links(machine)),
    do=_load_module,
)
DEVICE = Kind(
    command=lambda step: f"ip link set dev {step.target} up",
    back=lambda step, former: f"ip link set dev {step.target} down",
    words=lambda step: f"{step.target} up",
    read=_read_device,
    fits=lambda machine, step, state: state == UP,
)
TUNNEL = Kind(
    command=lambda step: _set_tunnel(step, step.value),
    back=_set_tunnel,
    words=lambda step: f"{step.target} mode {step.value}",
    read=_read_tunnel,
    fits=lambda machine, step, state: state == step.value,
    shows_state=True,
)

# --- the BPF decapsulator -------------------------------------------------------------------------


def _place(step: HostStep) -> str:
    return f"dev {step.target} ingress pref {PRIORITY} handle {HANDLE}"


def _gue_port(step: HostStep) -> int:
    return int(step.value.split()[1])


def _add_filter(step: HostStep) -> str:
    return f"tc filter add {_place(step)} bpf da obj {object_of(FOLDER / 'decap.bpf.c')} sec tc"


def _key(step: HostStep) -> str:
    return f"name vips key hex {wire_address(ip_address(step.value)).hex(' ')}"


QDISC = Kind(
    command=lambda step: f"tc qdisc add dev {step.target} clsact",
    back=lambda step, former: f"tc qdisc del dev {step.target} clsact",
    words=lambda step: f"clsact on {step.target}",
    read=lambda machine, step: _on_device(machine, step, lambda: machine.decap.has_hooks(step.target)),
    do=lambda machine, step: machine.decap.make_hooks(step.target),
    take_back=lambda machine, step, former: machine.decap.remove_hooks(step.target),
)
FILTER = Kind(
    command=_add_filter,
    back=lambda step, former: f"tc filter del {_place(step)} bpf",
    words=lambda step: f"{PROGRAM} on {step.target}",
    read=lambda machine, step: _on_device(
        machine, step, lambda: machine.decap.is_attached(step.target, _gue_port(step))
    ),
    do=lambda machine, step: machine.decap.attach(step.target, _gue_port(step)),
    take_back=lambda machine, step, former: machine.decap.detach(step.target),
)
ENTRY = Kind(
    command=lambda step: f"bpftool map update {_key(step)} value hex 01 00 00 00",
    back=lambda step, former: f"bpftool map delete {_key(step)}",
    words=lambda step: f"{step.value} in {PROGRAM} on {step.target}",
    read=lambda machine, step: _on_device(
        machine, step, lambda: ip_address(step.value) in machine.decap.vips(step.target)
    ),
    do=lambda machine, step: machine.decap.add_vip(step.target, ip_address(step.value)),
    take_back=lambda machine, step, former: machine.decap.remove_vip(step.target, ip_address(step.value)),
)


def _on_device(machine: Machine, step: HostStep, present: Callable[[], bool]) -> str | None:
    return here(present()) if step.target in host.links(machine) else None


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "sysctl": SYSCTL,
        "rp_filter": RP_FILTER,
        "module": MODULE,
        "tunnel": TUNNEL,
        "device": DEVICE,
        "address": ADDRESS,
        "route": ROUTE,
        "advmss": ADVMSS,
        "qdisc": QDISC,
        "program": FILTER,
        "entry": ENTRY,
    }
)
