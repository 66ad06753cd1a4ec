"""The program on the interfaces: one link each, which outlives the process by its pin.

A link lives until its pin is removed, even when its interface is not there any more; then it holds
nothing, and an interface of that index is another one.

A program in the driver sends by drivers: one that cannot send what a program gives it drops it without a
word.  So whether it can is asked before (``host/xdp_features.py``).  Many can only while they have a program
themselves; a veth device only while its peer has one.  Where it cannot be, generic mode can.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from dsrlb.engines.xdp import attach_words as words
from dsrlb.engines.xdp.pins import Pins
from dsrlb.errors import ConfigError, DsrlbError, HostError
from dsrlb.host import bpf, bpf_attach
from dsrlb.host.libbpf import Refused
from dsrlb.host.links import Link
from dsrlb.host.xdp_features import XdpFeature, xdp_features

Mode = Literal["native", "generic"]

log = logging.getLogger("dsrlb")


class Attached:
    """The links of an instance, by ifindex."""

    def __init__(self, pins: Pins, wanted: Literal["auto", "native", "generic"]) -> None:
        """Open the links that are pinned; those of interfaces that are gone are let go."""
        self._pins, self._wanted = pins, wanted
        self._links: dict[int, int] = {}
        self._fronts: dict[int, Link] = {}
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
        """Put the program on an interface where frames come in, unless it is there as it is wanted.

        Raises ConfigError when another program is there, HostError when the driver or the kernel refuses.
        """
        there = bpf_attach.on_xdp(link.ifindex)
        if link.ifindex in self._links:
            if there is not None and self._wanted in ("auto", there.mode):
                self._fronts[link.ifindex] = link
                return
            with self._taken_off(link, program):  # another mode takes that
                self._put_wanted(link, program)
            return
        if there is not None:
            raise ConfigError(words.occupied(link, there, self._pins.bpf_fs))
        self._put_wanted(link, program)

    def _put_wanted(self, link: Link, program: bpf.Program) -> None:
        """Put the program on an interface in the mode to have."""
        mode, why = ("generic", "") if self._wanted == "generic" else self._put_native(link, program)
        if mode == "generic":
            self._put(link, program, "generic")
        self._fronts[link.ifindex] = link
        log.info("XDP program on %s: %s%s", link.name, mode, why)

    @contextmanager
    def _taken_off(self, link: Link, program: bpf.Program) -> Iterator[None]:
        """Take the program off an interface for another mode; it is back in its own if that fails."""
        there = bpf_attach.on_xdp(link.ifindex)
        self.detach(link.ifindex)
        try:
            yield
        except BaseException:
            if there is not None:
                self._put_back(link, program, there.mode)
            raise

    def _put_back(self, link: Link, program: bpf.Program, mode: Mode) -> None:
        self.detach(link.ifindex)
        try:
            self._put(link, program, mode)
        except DsrlbError as error:
            log.error("XDP program on %s: off, since it cannot be put back as it was: %s", link.name, error)
        else:
            self._fronts[link.ifindex] = link

    def _put_native(self, link: Link, program: bpf.Program) -> tuple[Mode, str]:
        """Try to put the program into the driver; return the mode to have, and why if it is not native."""
        try:
            self._put(link, program, "native")
        except Refused as error:
            if self._wanted == "native" or error.code in words.OTHER_THERE:
                raise words.refusal(link, error, self._pins.bpf_fs) from error
            return "generic", words.why_generic(error)
        if link.kind != "veth" or _can_send(link.ifindex, unless_told=self._wanted == "native"):
            return "native", ""
        self.detach(link.ifindex)
        if self._wanted == "native":
            raise HostError(words.deaf_peer(link))
        return "generic", " (nothing that its driver sends would arrive: the peer has no XDP program)"

    def _put(self, link: Link, program: bpf.Program, mode: Mode) -> None:
        """Make a link and pin it."""
        try:
            fd = bpf_attach.attach_xdp(link.ifindex, program.fd, mode)
        except Refused as error:
            if mode == "native":
                raise
            raise words.refusal(link, error, self._pins.bpf_fs) from error
        try:
            bpf.pin(fd, self._pins.link(link.ifindex))
        except HostError:
            bpf_attach.detach_xdp(fd)
            raise
        self._links[link.ifindex] = fd

    # ------------------------------------------------------------------------- other ways out

    def let_out(self, link: Link, program: bpf.Program) -> None:
        """See to it that frames can leave by an interface where they do not come in.

        Raises HostError if its driver cannot send them, and generic mode is not to be.
        """
        natives = [
            one
            for one in self._fronts.values()
            if one.ifindex != link.ifindex and self._is_native(one.ifindex)
        ]
        if not natives or _can_send(link.ifindex) or self._helps(link, program):
            return
        if self._wanted == "native":
            raise HostError(f"Native mode is not possible: {words.no_way_out(link)}; use --xdp-mode generic.")
        for one in natives:
            with self._taken_off(one, program):
                self._put(one, program, "generic")
            self._fronts[one.ifindex] = one
            log.warning("XDP program on %s: generic (%s)", one.name, words.no_way_out(link))
        self._wanted = "generic"

    def _helps(self, link: Link, program: bpf.Program) -> bool:
        """Return whether a driver can send what it is given once the program is on its interface too."""
        if link.ifindex in self._links or bpf_attach.on_xdp(link.ifindex) is not None:
            return False
        try:
            self._put(link, program, "native")
        except Refused:
            return False
        if _can_send(link.ifindex):
            return True
        self.detach(link.ifindex)
        return False

    @staticmethod
    def _is_native(ifindex: int) -> bool:
        there = bpf_attach.on_xdp(ifindex)
        return there is not None and there.mode == "native"

    def detach(self, ifindex: int) -> None:
        """Take the program off an interface; harmless when it is not on it."""
        fd = self._links.pop(ifindex, None)
        self._fronts.pop(ifindex, None)
        if fd is not None:
            self._pins.link(ifindex).unlink(missing_ok=True)
            bpf_attach.end_link(fd)  # where the file system is unmounted, the pin is there still
            bpf_attach.detach_xdp(fd)

    def close(self) -> None:
        """Let go of the descriptors; what is pinned stays."""
        for fd in self._links.values():
            os.close(fd)
        self._links.clear()


def _can_send(ifindex: int, *, unless_told: bool = True) -> bool:
    """Return whether a device sends what a program gives it; ``unless_told``: where the kernel is too old."""
    features = xdp_features(ifindex)
    return unless_told if features is None else XdpFeature.NDO_XMIT in features
