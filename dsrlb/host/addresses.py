"""Addresses that this host has for as long as dsrlb serves them: added, and taken back.

What was added stands in a file, so that the next start takes back what a crashed one left.  An address that
was there before is used, and stays.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Container, Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.errors import HostError
from dsrlb.host.links import own_addresses
from dsrlb.host.records import read_record, write_record
from dsrlb.model import Address

IFA_F_NODAD = 0x02  # linux/if_addr.h: usable at once
FOREVER = 0xFFFF_FFFF  # linux/rtnetlink.h, INFINITY_LIFE_TIME

Added = tuple[Address, str]  # and its interface


class Addresses:
    """The addresses that this process added, on one interface each; ``record`` is the file that says so."""

    def __init__(self, record: Path) -> None:
        """Take those for ours that the file says a process before this one left."""
        self._record = record
        self._added = _read(record)
        self._wanted: tuple[frozenset[Address], str] = frozenset(), ""

    def add(self, wanted: Iterable[Address], interface: str) -> None:
        """Have these as well.  HostError: one cannot be added; those before it are ours."""
        wanted = frozenset(wanted)
        there = {(one.address, one.interface) for one in own_addresses(wanted)}
        others = {address for address, _ in there - self._added}
        missing = [one for one in wanted - others if (one, interface) not in there]
        if not missing:
            return
        with IPRoute() as ipr:
            for address in missing:
                self._note({*self._added, (address, interface)})
                _add(ipr, address, interface)

    def change_to(self, wanted: Iterable[Address], interface: str) -> None:
        """Have these addresses, and no others of ours.  HostError: as ``add``."""
        addresses = frozenset(wanted)
        self.add(addresses, interface)
        self._wanted = addresses, interface
        self._take_back({one for one in self._added if one[0] not in addresses or one[1] != interface})

    @property
    def ours(self) -> frozenset[Added]:
        """The addresses that this process, or the one before it, added."""
        return frozenset(self._added)

    def only(self, some: Container[Added]) -> None:
        """Take back all of ours but for some."""
        self._take_back({one for one in self._added if one not in some})

    def _take_back(self, over: set[Added]) -> None:
        if over:
            with IPRoute() as ipr:
                for address, name in over:
                    _remove(ipr, address, name)
            self._note(self._added - over)

    def keep(self) -> None:
        """Add again what somebody took away: the kernel does with IPv6 where an interface goes down."""
        addresses, interface = self._wanted
        if addresses and _index(interface) is not None:
            self.add(addresses, interface)

    def note_again(self) -> None:
        """Write down once more what is ours, where the file is gone."""
        self._note(self._added)

    def close(self) -> None:
        """Take all of them back; harmless when repeated."""
        self.change_to((), "")

    def _note(self, added: set[Added]) -> None:
        """Write down what is ours, before it is there: a crash in between leaves nothing behind."""
        self._added = added
        write_record(self._record, ((str(address), name) for address, name in added))


def added_before(record: Path) -> frozenset[Address]:
    """Return the addresses that the file says a process has added."""
    return frozenset(address for address, _ in _read(record))


def _read(record: Path) -> set[Added]:
    return read_record(record, lambda address, name: (ip_address(address), str(name)))


def _index(interface: str) -> int | None:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return None


def _add(ipr: IPRoute, address: Address, interface: str) -> None:
    """Add an address; an IPv6 one is not to be what this host speaks from elsewhere (RFC 6724, rule 3)."""
    words: dict[str, Any] = {}
    if address.version == 6:
        words = {"flags": IFA_F_NODAD, "preferred": 0, "valid": FOREVER}
    index = _index(interface)
    if index is None:
        raise HostError(f"VIP {address} cannot be added: there is no interface {interface}.")
    try:
        ipr.addr("add", index=index, address=str(address), prefixlen=address.max_prefixlen, **words)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise HostError(f"VIP {address} cannot be added to {interface} ({error}).") from None


def _remove(ipr: IPRoute, address: Address, interface: str) -> None:
    """Take an address back; that it is gone already, or its interface is, is what was wanted."""
    index = _index(interface)
    if index is None:
        return
    try:
        ipr.addr("del", index=index, address=str(address), prefixlen=address.max_prefixlen)
    except NetlinkError as error:
        if error.code not in (errno.EADDRNOTAVAIL, errno.ENODEV):
            raise HostError(f"VIP {address} cannot be taken off {interface} ({error}).") from None
