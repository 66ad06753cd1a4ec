"""The program on the interfaces: one link each, which outlives the process by its pin.

A link lives until its pin is removed, even when its interface is not there any more; then it holds
nothing, and an interface of that index is another one.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import Literal

from dsrlb.engines.xdp.pins import Pins
from dsrlb.errors import ConfigError, HostError
from dsrlb.host import bpf, bpf_attach
from dsrlb.host.libbpf import Refused
from dsrlb.host.links import Link

Wanted = Literal["auto", "native", "generic"]
ENTRY = "dsrlb_xdp"
_OTHER_THERE = (errno.EBUSY, errno.EEXIST)

log = logging.getLogger("dsrlb")


class Attached:
    """The links of an instance, by ifindex."""

    def __init__(self, pins: Pins, wanted: Wanted) -> None:
        """Open the links that are pinned; those of interfaces that are gone are let go."""
        self._pins, self._wanted = pins, wanted
        self._links: dict[int, int] = {}
        for ifindex in pins.ifindexes():
            fd = bpf.pinned(pins.link(ifindex))
            if fd is None:
                continue
            self._links[ifindex] = fd
            if not bpf_attach.xdp_link(fd).ifindex:
                self.detach(ifindex)

    @property
    def ifindexes(self) -> frozenset[int]:
        """The interfaces that the program is on."""
        return frozenset(self._links)

    def replace(self, program: bpf.Program) -> None:
        """Put another program in the place of the one that is on the interfaces now; no frame slips by."""
        for ifindex, fd in list(self._links.items()):
            try:
                bpf_attach.replace_in_link(fd, program.fd)
            except Refused as error:
                if error.code != errno.ENOLINK:
                    raise
                self.detach(ifindex)  # the interface is gone

    def attach(self, link: Link, program: bpf.Program) -> None:
        """Put the program on an interface, unless it is there as it is wanted.

        Raises ConfigError when another program is there, HostError when the driver or the kernel refuses.
        """
        there = bpf_attach.on_xdp(link.ifindex)
        if link.ifindex in self._links:
            if there is not None and self._wanted in ("auto", there.mode):
                return
            self.detach(link.ifindex)  # another mode takes taking it off for a moment
        elif there is not None:
            raise ConfigError(_occupied(link, there.program_id))
        fd, mode = self._attached(link, program)
        try:
            bpf.pin(fd, self._pins.link(link.ifindex))
        except HostError:
            bpf_attach.detach_xdp(fd)
            raise
        self._links[link.ifindex] = fd
        log.info("XDP program on %s: %s", link.name, mode)

    def _attached(self, link: Link, program: bpf.Program) -> tuple[int, str]:
        """Return the descriptor of a new link, and its mode."""
        if self._wanted != "generic":
            try:
                return bpf_attach.attach_xdp(link.ifindex, program.fd, "native"), "native"
            except Refused as error:
                if self._wanted == "native" or error.code in _OTHER_THERE:
                    raise _refusal(link, error) from error
                why = "has no XDP" if error.code == errno.EOPNOTSUPP else f"refuses it: {_words(error)}"
        try:
            fd = bpf_attach.attach_xdp(link.ifindex, program.fd, "generic")
        except Refused as error:
            raise _refusal(link, error) from error
        return fd, "generic" if self._wanted == "generic" else f"generic (the driver {why})"

    def detach(self, ifindex: int) -> None:
        """Take the program off an interface; harmless when it is not on it."""
        fd = self._links.pop(ifindex, None)
        if fd is not None:
            self._pins.link(ifindex).unlink(missing_ok=True)
            bpf_attach.detach_xdp(fd)

    def close(self) -> None:
        """Let go of the descriptors; what is pinned stays."""
        for fd in self._links.values():
            os.close(fd)
        self._links.clear()


def _occupied(link: Link, program_id: int) -> str:
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


def _refusal(link: Link, error: Refused) -> HostError | ConfigError:
    """Return why a program cannot be on an interface, as a sentence."""
    if error.code in _OTHER_THERE:
        there = bpf_attach.on_xdp(link.ifindex)
        return ConfigError(_occupied(link, there.program_id if there else 0))
    if error.code in (errno.EPERM, errno.ENODEV):
        return error
    if error.code == errno.EOPNOTSUPP:
        return HostError(
            f"The driver of {link.name} has no XDP, so it cannot be native there; use --xdp-mode generic."
        )
    return HostError(
        f"The driver of {link.name} refuses the program ({_words(error)}); mostly an MTU, here "
        f"{link.mtu_bytes}, is too large for XDP: lower it (ip link set {link.name} mtu 1500), or use "
        "--xdp-mode generic."
    )


def _words(error: Refused) -> str:
    return os.strerror(error.code)
