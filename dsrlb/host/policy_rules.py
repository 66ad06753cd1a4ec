"""Policy rules of this host: all that there are, and one of ours more or less.

Ours are told apart by their preferences::

    10  the host's own stack is kept off VIPs and servers' answers     guard.py
    11  packets of checks are led into our hands                       probe_rules.py
    12  servers' answers to clients' addresses are this host's own     transparent.py
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

PROTOCOL = 0xD5  # of no routing daemon (linux/rtnetlink.h, RTPROT_*): the mark of our rules
FAMILIES = (socket.AF_INET, socket.AF_INET6)


def every_rule(ipr: Any) -> Iterator[Any]:
    """Yield all rules of this host, as netlink has them."""
    for _, rules in _by_family(ipr):
        yield from rules


def families(ipr: Any) -> Iterator[int]:
    """Yield the address families that this host has switched on, with policy rules."""
    return (family for family, _ in _by_family(ipr))


def _by_family(ipr: Any) -> Iterator[tuple[int, list[Any]]]:
    """Yield families and their rules; one that is off holds none, and adding one there will say so."""
    for family in FAMILIES:
        try:
            rules = list(ipr.get_rules(family=family))
        except NetlinkError as error:
            if error.code not in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
                raise
            continue
        yield family, rules


def change_rule(ipr: Any, verb: str, family: int, **about: Any) -> None:
    """Add or delete a rule of ours; that it is already there (or gone) is what was wanted."""
    try:
        ipr.rule(verb, family=family, protocol=PROTOCOL, **about)
    except NetlinkError as error:
        if error.code not in (errno.EEXIST, errno.ENOENT):
            raise
