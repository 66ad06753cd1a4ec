"""Numbers of processes that have a path for probes, and the policy rules that lead packets into it.

A number is held by an abstract socket's name; by it go the mark of a process's packets and its routing table.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.errors import HostError
from dsrlb.host.names import hold_beside, hold_first
from dsrlb.host.policy_rules import FAMILIES, change_rule, every_rule

PREFERENCE = 11  # before the main table (32766)
MARK = 0x551B_0000  # and the number of the process: its mark, and its table
NUMBERS = 64


def remove_stale() -> None:
    """Take back what processes that are gone have left; harmless without the privilege for it."""
    with suppress(OSError, NetlinkError):
        remove_stale_or_fail()


def remove_stale_or_fail() -> None:
    """Take back what processes that are gone have left.  Raises OSError, NetlinkError."""
    with IPRoute() as ipr:
        for mark in set(_present(ipr)):
            lock = hold_first(_name(mark - MARK))
            if lock is not None:
                with lock:  # held meanwhile, so that no other process begins with this number
                    take_back(ipr, mark)


def take_back(ipr: Any, mark: int) -> None:
    """Take back rules and table of a mark; harmless when there is none."""
    for family in FAMILIES:
        with suppress(NetlinkError):
            change(ipr, "del", family, mark)
        with suppress(NetlinkError):  # the device's route went with it
            ipr.flush_routes(family=family, table=mark)


def claim_number() -> tuple[int, socket.socket]:
    """Return a number that no other process of this network namespace has, and what holds it.

    What foreign users hold is left to them, unless that is all there is.
    """
    for take in (hold_first, hold_beside):
        for number in range(NUMBERS):
            lock = take(_name(number))
            if lock is not None:
                return number, lock
    raise HostError(f"{NUMBERS} processes of dsrlb are at work on this host already")


def _name(number: int) -> str:
    return f"dsrlb/probes/{number}"


def _present(ipr: Any) -> Iterator[int]:
    """Yield the marks of the rules that are of our make."""
    for message in every_rule(ipr):
        mark = message.get_attr("FRA_FWMARK") or 0
        is_ours = message.get_attr("FRA_PRIORITY") == PREFERENCE and 0 <= mark - MARK < NUMBERS
        if is_ours and message.get_attr("FRA_TABLE") == mark:
            yield mark


def change(ipr: Any, verb: str, family: int, mark: int) -> None:
    """Add or delete the rule of a mark; that it is already there (or gone) is what was wanted."""
    change_rule(ipr, verb, family, priority=PREFERENCE, fwmark=mark, fwmask=0xFFFFFFFF, table=mark)
