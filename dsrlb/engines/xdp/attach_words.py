"""Why the program cannot be on an interface, as sentences."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from dsrlb.engines.xdp import pins
from dsrlb.errors import ConfigError, HostError
from dsrlb.host import bpf, bpf_attach
from dsrlb.host.libbpf import Refused
from dsrlb.host.links import Link

ENTRY = "dsrlb_xdp"
OTHER_THERE = (errno.EBUSY, errno.EEXIST)


def occupied(link: Link, there: bpf_attach.OnXdp | None, bpf_fs: Path) -> str:
    """Return what to say of an interface that has an XDP program already; None: one that is gone again."""
    if there is None:
        return f"Interface {link.name} had another XDP program just now; try again."
    instance = pins.holder(bpf_fs, link.ifindex)
    name = ENTRY if instance else _name(there.program_id)
    if name == ENTRY:
        return (
            f"Interface {link.name} has the program of another instance of dsrlb (id {there.program_id}); "
            "stop that one, and if no process runs it any more: "
            f"dsrlb detach --instance {instance or 'NAME'}."
        )
    return (
        f"Interface {link.name} already has an XDP program, {name} (id {there.program_id}), and there can be "
        f"only one; {_way_off(link, there)}, or use --engine packet."
    )


def _name(program_id: int) -> str:
    try:
        with bpf.program_by_id(program_id) as program:
            return program.name
    except HostError:
        return "of a name that the kernel does not tell"


def _way_off(link: Link, there: bpf_attach.OnXdp) -> str:
    """Return how to get rid of a program of somebody else's.

    One that was put there by a link ends with the link alone.  Without a mode, "off" means the driver's
    (net/core/dev.c, dev_xdp_mode).
    """
    off = f"ip link set dev {link.name} {'xdpgeneric' if there.mode == 'generic' else 'xdp'} off"
    try:
        number = bpf_attach.link_holding(there, link.ifindex)
    except HostError:  # it takes more privilege than the engine
        return f"stop who put it there, or take it off ({off}; if a link holds it, bpftool link detach)"
    if number is not None:
        return f"stop the process that put it there, or take it off (bpftool link detach id {number})"
    return f"take it off ({off})"


def refusal(link: Link, error: Refused, bpf_fs: Path) -> HostError | ConfigError:
    """Return why a program cannot be on an interface."""
    if error.code in OTHER_THERE:
        return ConfigError(occupied(link, bpf_attach.on_xdp(link.ifindex), bpf_fs))
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
