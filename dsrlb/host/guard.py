"""Keeping the host's own stack silent about the VIPs, and two dsrlb off the same VIP.

For each VIP and interface one policy rule::

    10: from all to 198.18.1.100 iif e0 blackhole proto 213

A frame for the VIP that came in by that interface then ends in a route look-up that fails without a
word: no answer, no forwarding, no ICMP error, whatever ``ip_forward`` says (a blackhole is EINVAL, for
which ``ip_error()`` in net/ipv4/route.c sends nothing).  Packet sockets see the frame before that.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.errors import ConfigError, HostError
from dsrlb.model import Address

PREFERENCE = 10  # behind the local table (0), so a VIP configured on this host cannot be guarded
PROTOCOL = 0xD5  # of no routing daemon (linux/rtnetlink.h, RTPROT_*): the mark of our rules
FR_ACT_BLACKHOLE = 6  # linux/fib_rules.h
FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, order=True)
class Rule:
    """One rule of ours: frames to ``vip`` that came in by ``ifname`` end in silence."""

    vip: Address
    ifname: str


class Claim:
    """The VIPs this process serves; the kernel frees them when it ends, however it ends."""

    def __init__(self, locks: Mapping[Address, socket.socket]) -> None:
        """Keep the sockets whose names are the claim."""
        self._locks = dict(locks)

    def take_over(self, other: Claim) -> None:
        """Hold what another claim held, which holds nothing then."""
        self._locks |= other._locks
        other._locks.clear()

    def release(self, vips: Iterable[Address] | None = None) -> None:
        """Give these VIPs up, or all of them; harmless when repeated."""
        for vip in list(self._locks) if vips is None else vips:
            lock = self._locks.pop(vip, None)
            if lock is not None:
                lock.close()


def claim(vips: Iterable[Address]) -> Claim:
    """Reserve VIPs on this host (in this network namespace) for this process.

    Each is an abstract unix socket name: unique per network namespace, gone with its owner.
    Raises ConfigError when another process holds one, and then reserves none.
    """
    locks = {vip: _lock(vip) for vip in vips}
    held = Claim({vip: lock for vip, lock in locks.items() if lock})
    taken = [vip for vip, lock in locks.items() if lock is None]
    if taken:
        held.release()
        raise ConfigError(
            *(f"Another dsrlb on this host already serves VIP {vip}; stop it first." for vip in taken)
        )
    return held


def _lock(vip: Address) -> socket.socket | None:
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0dsrlb/vip/{vip}")
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return lock


def install(vips: Iterable[Address], ifnames: Iterable[str]) -> None:
    """Make the rules of these VIPs exactly one per interface; what a crashed run left is adopted.

    Rules of other VIPs are not touched.  Raises HostError without privilege or policy routing.
    """
    ifnames = tuple(ifnames)
    wanted = {Rule(vip, ifname) for vip in vips for ifname in ifnames}
    ours = {rule.vip for rule in wanted}
    with _rules() as ipr:
        present = [rule for rule in _present(ipr) if rule.vip in ours]
        for rule in present:
            if rule not in wanted:
                _change(ipr, "del", rule)
        for rule in wanted.difference(present):
            _change(ipr, "add", rule)


def remove(vips: Iterable[Address]) -> None:
    """Take back every rule of these VIPs; harmless when there is none."""
    vips = frozenset(vips)
    with _rules() as ipr:
        for rule in _present(ipr):
            if rule.vip in vips:
                _change(ipr, "del", rule)


def remove_stale(keep: Iterable[Address] = ()) -> tuple[Address, ...]:
    """Take back the rules of VIPs that no running dsrlb holds, but for those to keep; return those VIPs.

    A VIP claimed by this process counts as held.
    """
    kept = frozenset(keep)
    stale: set[Address] = set()
    with _rules() as ipr:
        present = list(_present(ipr))
        for vip in {rule.vip for rule in present} - kept:
            lock = _lock(vip)
            if lock is None:
                continue
            with lock:  # held while its rules go, so that no starting dsrlb loses fresh ones
                stale.add(vip)
                for rule in present:
                    if rule.vip == vip:
                        _change(ipr, "del", rule)
    return tuple(sorted(stale, key=lambda vip: (vip.version, vip)))


@contextmanager
def _rules() -> Iterator[Any]:
    """Open netlink, and turn its refusals into sentences."""
    try:
        with IPRoute() as ipr:
            yield ipr
    except NetlinkError as error:
        if error.code in (errno.EPERM, errno.EACCES):
            raise HostError(
                "Keeping the host's own stack off the VIP takes policy rules; run as root (CAP_NET_ADMIN)."
            ) from error
        if error.code in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
            raise HostError(
                "This kernel has no policy rules to keep its own stack off the VIP; use one built with "
                "CONFIG_IP_MULTIPLE_TABLES (and CONFIG_IPV6_MULTIPLE_TABLES for IPv6 VIPs)."
            ) from error
        raise HostError(f"The kernel refused a policy rule for a VIP: {error}.") from error


def _present(ipr: Any) -> Iterator[Rule]:
    for family in FAMILIES:
        try:
            messages = list(ipr.get_rules(family=family))
        except NetlinkError as error:
            if error.code not in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
                raise
            continue  # this family is off: it holds no rule; adding one will say so
        yield from (rule for rule in map(_ours, messages) if rule)


def _ours(message: Any) -> Rule | None:
    """Return the rule if it is one of ours.

    A kernel before 4.17 keeps no protocol: there the shape alone (preference, blackhole, one
    interface, one host) has to do.
    """
    destination, ifname = message.get_attr("FRA_DST"), message.get_attr("FRA_IIFNAME")
    if message["action"] != FR_ACT_BLACKHOLE or message.get_attr("FRA_PRIORITY") != PREFERENCE:
        return None
    if message.get_attr("FRA_PROTOCOL") not in (None, PROTOCOL) or not destination or not ifname:
        return None
    vip = ip_address(destination)
    return Rule(vip, ifname) if message["dst_len"] == vip.max_prefixlen else None


def _change(ipr: Any, verb: str, rule: Rule) -> None:
    """Add or delete one rule; that it is already there (or gone) is what was wanted."""
    try:
        ipr.rule(
            verb,
            family=socket.AF_INET if rule.vip.version == 4 else socket.AF_INET6,
            iifname=rule.ifname,
            dst=str(rule.vip),
            dst_len=rule.vip.max_prefixlen,
            action=FR_ACT_BLACKHOLE,
            priority=PREFERENCE,
            protocol=PROTOCOL,
        )
    except NetlinkError as error:
        if error.code not in (errno.EEXIST, errno.ENOENT):
            raise
