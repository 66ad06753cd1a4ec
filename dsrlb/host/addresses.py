"""Addresses that this host has for as long as dsrlb serves them: added, and taken back.

What was added stands in a file, so that the next start takes back what a crashed one left.  An address that
was there before is used, and stays.
"""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.errors import HostError
from dsrlb.model import Address

IFA_F_NODAD = 0x02  # linux/if_addr.h: usable at once


class Addresses:
    """The addresses that this process added, on one interface each; ``record`` is the file that says so."""

    def __init__(self, record: Path) -> None:
        """Take back what the file says a process before this one left."""
        self._record = record
        self._added = _read(record)

    def change_to(self, wanted: Iterable[Address], interface: str) -> None:
        """Have these addresses, and no others of ours.  HostError: one cannot be added; those before stay."""
        with IPRoute() as ipr:
            index = _index(interface)
            there = {_address(one): one["index"] for one in ipr.get_addr()}
            for address in wanted:
                if address not in there:
                    self._note({*self._added, (address, interface)})
                    _add(ipr, address, index, interface)
            for address, name in [one for one in self._added if one[0] not in set(wanted)]:
                with suppress(NetlinkError, OSError):
                    ipr.addr("del", index=_index(name), address=str(address), prefixlen=address.max_prefixlen)
                self._note(self._added - {(address, name)})

    def close(self) -> None:
        """Take all of them back; harmless when repeated."""
        if self._added:
            with IPRoute() as ipr:
                for address, name in self._added:
                    with suppress(NetlinkError, OSError):
                        ipr.addr(
                            "del", index=_index(name), address=str(address), prefixlen=address.max_prefixlen
                        )
        self._note(set())

    def _note(self, added: set[tuple[Address, str]]) -> None:
        """Write down what is ours, before it is there: a crash in between leaves nothing behind."""
        self._added = added
        if not added:
            self._record.unlink(missing_ok=True)
            return
        fresh = self._record.with_suffix(".new")
        fresh.write_text(json.dumps(sorted((str(address), name) for address, name in added)))
        fresh.replace(self._record)


def _read(record: Path) -> set[tuple[Address, str]]:
    try:
        return {(ip_address(address), str(name)) for address, name in json.loads(record.read_text())}
    except (OSError, ValueError, TypeError):
        return set()


def _index(interface: str) -> int:
    return socket.if_nametoindex(interface)


def _address(message: object) -> Address:
    local = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")  # type: ignore[attr-defined]
    return ip_address(str(local))


def _add(ipr: IPRoute, address: Address, index: int, interface: str) -> None:
    words = {"flags": IFA_F_NODAD} if address.version == 6 else {}
    try:
        ipr.addr("add", index=index, address=str(address), prefixlen=address.max_prefixlen, **words)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise HostError(f"VIP {address} cannot be added to {interface} ({error}).") from None
