"""Plan, apply, verify and undo what a mode asks of a real server (``HostStep``).

The order of ``apply`` is what makes it safe to interrupt: first everything is written to the
record (``steps_state``), then the steps are done in the mode's order.  ``undo`` goes the other
way: addresses off, sysctls back, record forgotten.  An address that is there already is left with
the lifetime it has.

The kernel takes the greater of ``conf.all`` and ``conf.DEVICE`` for ``arp_ignore`` and
``arp_announce``, so a device whose own value is greater than the one wanted needs a step of its
own; ``for_machine`` finds them.

``scripts/backend-setup`` is the same in sh; tests/lab/test_backend_setup.py holds them together.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.errors import HostError
from dsrlb.host import steps_state as record
from dsrlb.model import Address, HostStep

Interface = IPv4Interface | IPv6Interface
StepsOf = Callable[[Address], tuple[HostStep, ...]]
_SWAP = str.maketrans("./", "/.")


@dataclass(frozen=True)
class Machine:
    """Where the steps are done: its sysctl files, its record, its addresses."""

    sysctl_root: Path
    state: Path
    addresses: Callable[[str], frozenset[Interface]]  # of a device
    add_address: Callable[[HostStep], None]
    remove_address: Callable[[HostStep], None]


@dataclass(frozen=True)
class Reversal:
    """A step that was done, and what was there before (``steps_state``: the line on record)."""

    step: HostStep
    former: str


def this_machine() -> Machine:
    """Return the machine (the network namespace) this process runs in."""
    return Machine(Path("/proc/sys"), record.directory(), _addresses, _add_address, _remove_address)


def for_vips(vips: Sequence[Address], steps_of: StepsOf) -> tuple[HostStep, ...]:
    """Return the steps for all ``vips`` in order, each once."""
    return tuple(dict.fromkeys(step for vip in vips for step in steps_of(vip)))


def for_machine(machine: Machine, steps: Sequence[HostStep]) -> tuple[HostStep, ...]:
    """Return ``steps`` with one more for each device whose own value overrules ``conf.all``."""
    found: list[HostStep] = []
    for step in steps:
        found.append(step)
        if step.kind == "sysctl" and ".conf.all." in step.target:
            found.extend(_overruling(machine, step))
    return tuple(found)


def command(step: HostStep) -> str:
    """Return the step as a line to paste into a root shell."""
    if step.kind == "sysctl":
        return f"sysctl -w {step.target}={step.value}"
    address, *options = step.value.split()
    return " ".join(["ip address add", address, "dev", step.target, *options])


def undo_command(reversal: Reversal) -> str | None:
    """Return the reversal as a line to paste, or None when there is nothing to take back."""
    step = reversal.step
    if step.kind == "sysctl":
        return f"sysctl -w {step.target}={reversal.former}"
    if reversal.former == record.PRESENT:
        return None
    return f"ip address del {_interface(step)} dev {step.target}"


def is_present(machine: Machine, step: HostStep) -> bool:
    """Say whether the step is in effect."""
    if step.kind == "sysctl":
        return _read_sysctl(machine, step.target) == step.value
    return _interface(step) in machine.addresses(step.target)


def apply(machine: Machine, steps: Sequence[HostStep]) -> Iterator[str]:
    """Do every step that is missing; yield a line for each as it is done.

    Twice is once: what is in effect is left alone, and its first record kept.
    Raises ``HostError`` when the kernel refuses.
    """
    missing = [step for step in steps if not is_present(machine, step)]
    for kind in ("address", "sysctl"):  # the VIP first: without its record undo would not look further
        for step in steps:
            if step.kind == kind:
                _remember(machine, step, overwrite=step in missing)
    for step in steps:
        if step in missing:
            _do(machine, step)
        yield f"{'done' if step in missing else 'already':<8} {command(step)}"


def verify(machine: Machine, steps: Sequence[HostStep]) -> list[tuple[bool, str]]:
    """Return for each step whether it is in effect, and the line that says so; no root needed."""
    return [_verdict(machine, step) for step in steps]


def reversals(machine: Machine, vips: Sequence[Address], steps_of: StepsOf) -> tuple[Reversal, ...]:
    """Return what undoing ``vips`` means here, in order; a VIP without a record means nothing.

    The sysctls are part of it when no VIP that stays needs any.
    """
    recorded = record.vips(machine.state)
    going = [vip for vip in vips if vip in recorded]
    staying = [vip for vip in recorded if vip not in going]
    found = [
        Reversal(step, record.read(_record_of(machine, step)) or record.PRESENT)
        for step in for_vips(going, steps_of)
        if step.kind == "address"
    ]
    if any(step.kind == "sysctl" for step in for_vips(staying, steps_of)) or not going:
        return tuple(found)
    for key in record.sysctls(machine.state):
        former = record.read(record.sysctl_file(machine.state, key))
        if former is not None:
            found.append(Reversal(HostStep("sysctl", key, former, "as it was before setup"), former))
    return tuple(found)


def unrecorded(machine: Machine, vips: Sequence[Address]) -> list[str]:
    """Return a sentence for each VIP that was not set up here."""
    known = record.vips(machine.state)
    return [
        f"nothing  to undo for {vip}: no setup of it is recorded in {machine.state}"
        for vip in vips
        if vip not in known
    ]


def undo(machine: Machine, taken_back: Sequence[Reversal]) -> Iterator[str]:
    """Take every step back, then forget the record; yield a line for each as it is done."""
    for reversal in taken_back:
        yield _take_back(machine, reversal)
    for reversal in reversed(taken_back):  # a VIP's record goes last: until then undo can be repeated
        record.forget(_record_of(machine, reversal.step))


def _overruling(machine: Machine, step: HostStep) -> Iterator[HostStep]:
    family, name = step.target.split(".conf.all.")
    folder = machine.sysctl_root / family.replace(".", "/") / "conf"
    for device in sorted(path.name for path in folder.iterdir()):
        key = f"{family}.conf.{device.translate(_SWAP)}.{name}"
        if device in ("all", "lo"):
            continue
        if int(_read_sysctl(machine, key) or 0) > int(step.value):
            yield HostStep("sysctl", key, step.value, f"{device}'s own value overrules conf.all")


def _remember(machine: Machine, step: HostStep, overwrite: bool) -> None:
    path = _record_of(machine, step)
    if not overwrite and record.read(path) is not None:
        return
    if step.kind == "sysctl":
        former = _read_sysctl(machine, step.target)
        if former is None:
            raise HostError(f"this kernel has no sysctl {step.target}: nothing was changed.")
    else:
        former = record.ABSENT if overwrite else record.PRESENT
    try:
        record.write(path, former)
    except OSError as error:
        raise HostError(f"cannot record in {path}, so nothing was changed: {error.strerror}.") from error


def _do(machine: Machine, step: HostStep) -> None:
    if step.kind == "sysctl":
        _write_sysctl(machine, step.target, step.value)
    else:
        machine.add_address(step)


def _take_back(machine: Machine, reversal: Reversal) -> str:
    step, line = reversal.step, undo_command(reversal)
    if line is None:
        return f"kept     {_words(step)}: it was there before setup"
    if step.kind == "sysctl":
        if _read_sysctl(machine, step.target) is None:
            return f"gone     {step.target}: there is no such sysctl any more"
        _write_sysctl(machine, step.target, reversal.former)
    elif not is_present(machine, step):
        return f"gone     {_words(step)}: it was not there any more"
    else:
        machine.remove_address(step)
    return f"done     {line}"


def _verdict(machine: Machine, step: HostStep) -> tuple[bool, str]:
    if is_present(machine, step):
        return True, f"present  {_words(step)}"
    now = f" (now {_read_sysctl(machine, step.target)})" if step.kind == "sysctl" else ""
    return False, f"missing  {_words(step)}{now}: {command(step)}"


def _words(step: HostStep) -> str:
    return f"{step.target}={step.value}" if step.kind == "sysctl" else f"{_interface(step)} on {step.target}"


def _record_of(machine: Machine, step: HostStep) -> Path:
    if step.kind == "sysctl":
        return record.sysctl_file(machine.state, step.target)
    return record.vip_file(machine.state, _interface(step).ip)


def _interface(step: HostStep) -> Interface:
    return ip_interface(step.value.split()[0])


def _read_sysctl(machine: Machine, key: str) -> str | None:
    try:
        return (machine.sysctl_root / key.translate(_SWAP)).read_text().strip()
    except FileNotFoundError:
        return None


def _write_sysctl(machine: Machine, key: str, value: str) -> None:
    path = machine.sysctl_root / key.translate(_SWAP)
    try:
        path.write_text(f"{value}\n")
    except OSError as error:
        raise HostError(f"cannot set {key}={value} in {path}: {error.strerror}.") from error


def _addresses(device: str) -> frozenset[Interface]:
    with IPRoute() as netlink:
        messages = list(netlink.get_addr(index=socket.if_nametoindex(device)))
    own = [(m.get_attr("IFA_LOCAL") or m.get_attr("IFA_ADDRESS"), m["prefixlen"]) for m in messages]
    return frozenset(ip_interface(f"{address}/{length}") for address, length in own)


def _add_address(step: HostStep) -> None:
    options = step.value.split()[1:]
    pairs = zip(options[::2], options[1::2], strict=True)
    lifetimes = {name.removesuffix("_lft"): int(seconds) for name, seconds in pairs}
    # pyroute2 up to 0.8 reads the lifetimes from cacheinfo, later ones from the arguments before it
    _change_address("add", step, {**lifetimes, "cacheinfo": lifetimes} if lifetimes else {})


def _remove_address(step: HostStep) -> None:
    _change_address("del", step, {})


def _change_address(verb: str, step: HostStep, lifetimes: Mapping[str, object]) -> None:
    wanted = _interface(step)
    try:
        with IPRoute() as netlink:
            netlink.addr(
                verb,
                index=socket.if_nametoindex(step.target),
                address=str(wanted.ip),
                prefixlen=wanted.network.prefixlen,
                **lifetimes,
            )
    except NetlinkError as error:
        off = wanted.version == 6 and error.code == errno.EACCES
        hint = " (is IPv6 switched off? see net.ipv6.conf.lo.disable_ipv6)" if off else ""
        raise HostError(f"cannot {verb} {_words(step)}: {os.strerror(error.code)}{hint}.") from error
