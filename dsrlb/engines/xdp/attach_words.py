"""Why the program cannot be on an interface, as sentences."""

from __future__ import annotations

import errno
import os

from dsrlb.errors import ConfigError, HostError
from dsrlb.host import bpf, bpf_attach
from dsrlb.host.libbpf import Refused
from dsrlb.host.links import Link

ENTRY = "dsrlb_xdp"
OTHER_THERE = (errno.EBUSY, errno.EEXIST)


def occupied(link: Link, program_id: int) -> str:
    """Return what to say of an interface that has an XDP program already."""
    try:
        with bpf.program_by_id(program_id) as program:
            name = program.name
    except HostError:
        name = "of a name that the kernel does not tell"
    if name == ENTRY:
        return (
            f"Interface {link.name} has the program of another instance of dsrlb (id {program_id}); stop "
            "that one, and if no process runs it any more: dsrlb detach --instance NAME."
        )
    return (
        f"Interface {link.name} already has an XDP program, {name} (id {program_id}), and there can be only "
        f"one; take it off (ip link set dev {link.name} xdp off, or stop who put it there), or use "
        "--engine packet."
    )


def refusal(link: Link, error: Refused) -> HostError | ConfigError:
    """Return why a program cannot be on an interface."""
    if error.code in OTHER_THERE:
        there = bpf_attach.on_xdp(link.ifindex)
        return ConfigError(occupied(link, there.program_id if there else 0))
    if error.code in (errno.EPERM, errno.ENODEV):
        return error
    if error.code == errno.EOPNOTSUPP:
        return HostError(
            f"The driver of {link.name} has no XDP, so it cannot be native there; use --xdp-mode generic."
        )
    return HostError(
        f"The driver of {link.name} refuses the program ({os.strerror(error.code)}); mostly an MTU, here "
        f"{link.mtu_bytes}, is too large for XDP: lower it (ip link set {link.name} mtu 1500), or use "
        "--xdp-mode generic."
    )


def why_generic(error: Refused) -> str:
    """Return why it is not native, in brackets."""
    if error.code == errno.EOPNOTSUPP:
        return " (the driver has no XDP)"
    return f" (the driver refuses it: {os.strerror(error.code)})"


def deaf_peer(link: Link) -> str:
    """Return what to say of a veth device whose peer takes nothing that XDP sends."""
    return (
        f"Nothing that a program in the driver of {link.name} sends would arrive: it is a veth device whose "
        "peer has no XDP program; put one there that passes frames, or use --xdp-mode generic."
    )


def no_way_out(link: Link) -> str:
    """Return what to say of a device that drops what a program gives it."""
    return (
        f"the driver of {link.name}, by which frames are to leave, cannot send what a program in the driver "
        "of another interface gives it"
    )
