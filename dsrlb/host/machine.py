"""The machine that becomes a real server, as far as ``steps`` reads and changes it.

Everything goes by sysctl files, by the ``ip`` command, and by the decapsulator's functions, so that a
test can put a pretended machine in its place, and so that a line of the plan is the line that is run.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from typing import Protocol

from dsrlb.errors import HostError
from dsrlb.host import decap, steps_state
from dsrlb.model import Address

Interface = IPv4Interface | IPv6Interface
_SWAP = str.maketrans("./", "/.")
_NOT_WORDS = ("\\", "linkdown", "dead", "offload", "rt_offload", "trap")  # said of a route, not part of it


class Decapsulator(Protocol):
    """What there is of the BPF decapsulator on a device (``host/decap.py``)."""

    def has_hooks(self, device: str) -> bool: ...  # noqa: D102 - see there, for all of them
    def make_hooks(self, device: str) -> None: ...  # noqa: D102
    def remove_hooks(self, device: str) -> bool: ...  # noqa: D102
    def is_attached(self, device: str, gue_port: int) -> bool: ...  # noqa: D102
    def attach(self, device: str, gue_port: int) -> bool: ...  # noqa: D102
    def detach(self, device: str) -> None: ...  # noqa: D102
    def vips(self, device: str) -> frozenset[Address]: ...  # noqa: D102
    def add_vip(self, device: str, vip: Address) -> None: ...  # noqa: D102
    def remove_vip(self, device: str, vip: Address) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class Machine:
    """Where the steps are done."""

    sysctl_root: Path
    module_root: Path
    state: Path  # the record (``steps_state``)
    run: Callable[[Sequence[str]], str]  # a command's output; ``HostError`` with its words when it fails
    decap: Decapsulator


def this_machine() -> Machine:
    """Return the machine (the network namespace) this process runs in."""
    return Machine(Path("/proc/sys"), Path("/sys/module"), steps_state.directory(), run, decap)


def run(words: Sequence[str]) -> str:
    """Run a command and return what it says; raise ``HostError`` with its words when it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    except FileNotFoundError:
        package = {"modprobe": "kmod"}.get(words[0], "iproute2")
        raise HostError(f"there is no {words[0]} command here: install {package}.") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise HostError(f"{' '.join(words)} failed: {said.removeprefix('RTNETLINK answers: ').rstrip('.')}.")
    return done.stdout


def read_sysctl(machine: Machine, key: str) -> str | None:
    """Return the value of a sysctl, or None when this kernel has none of that name."""
    try:
        return (machine.sysctl_root / key.translate(_SWAP)).read_text().strip()
    except FileNotFoundError:
        return None


def write_sysctl(machine: Machine, key: str, value: str) -> None:
    """Set a sysctl."""
    path = machine.sysctl_root / key.translate(_SWAP)
    try:
        path.write_text(f"{value}\n")
    except OSError as error:
        raise HostError(f"cannot set {key}={value} in {path}: {error.strerror}.") from error


def sysctl_devices(machine: Machine, family: str) -> list[str]:
    """Return the names under ``net.FAMILY.conf``: devices, ``all`` and ``default``."""
    return sorted(path.name for path in (machine.sysctl_root / "net" / family / "conf").iterdir())


def device_key(family: str, device: str, name: str) -> str:
    """Return the dotted key of a device's sysctl; a dot in the device's name is a slash in it."""
    return f"net.{family}.conf.{device.translate(_SWAP)}.{name}"


def links(machine: Machine) -> dict[str, tuple[frozenset[str], int, str]]:
    """Return the devices: name -> flags, MTU, kind of link as ``ip`` says it (``ether``)."""
    found = {}
    for line in machine.run(["ip", "-o", "link", "show"]).splitlines():
        words = line.split()
        name = words[1].removesuffix(":").partition("@")[0]
        mtu_bytes = int(words[words.index("mtu") + 1])
        kind = next((word.removeprefix("link/") for word in words if word.startswith("link/")), "")
        found[name] = (frozenset(words[2].strip("<>").split(",")), mtu_bytes, kind)
    return found


def addresses(machine: Machine) -> list[tuple[str, Interface]]:
    """Return every address of the machine: device, address with prefix length."""
    found = []
    for line in machine.run(["ip", "-o", "address", "show"]).splitlines():
        words = line.split()
        at = next(number for number, word in enumerate(words) if word in ("inet", "inet6"))
        found.append((words[1], ip_interface(words[at + 1])))
    return found


def routes(machine: Machine, family: str, network: str) -> list[str]:
    """Return the routes of the main table to exactly this network, each as ``ip route add`` takes it."""
    version = "-6" if family == "inet6" else "-4"
    said = machine.run(["ip", "-o", version, "route", "show", "exact", network])
    lines = (" ".join(w for w in line.split() if w not in _NOT_WORDS) for line in said.splitlines())
    return [line for line in lines if line]
