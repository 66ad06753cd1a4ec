"""Keeping the host's own stack off what is dsrlb's, and two dsrlb off the same VIP.

For each VIP and interface one policy rule, and one for the answers of each inline server's port::

    10: from all to 198.18.1.100 iif e0 blackhole proto 213
    10: from 198.18.2.11 iif e1 ipproto tcp sport 8080 blackhole proto 213

A frame for the VIP that came in by that interface then ends in a route look-up that fails without a
word: no answer, no forwarding, no ICMP error, whatever ``ip_forward`` says (a blackhole is EINVAL, for
which ``ip_error()`` in net/ipv4/route.c sends nothing).  Packet sockets see the frame before that.
An answer would else be forwarded to the client untranslated.  Pieces of datagrams have no ports for a
rule to see.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.errors import ConfigError, HostError
from dsrlb.host.names import hold, is_foreign, owners
from dsrlb.host.policy_rules import PROTOCOL, change_rule, every_rule
from dsrlb.model import ANY_PORT, PROTOCOL_NUMBERS, Address

PREFERENCE = 10  # behind the local table (0), so a VIP configured on this host cannot be guarded
FR_ACT_BLACKHOLE = 6  # linux/fib_rules.h


class Answers(NamedTuple):
    """What a server sends from a port (ANY_PORT: from all) in a protocol."""

    server: Address
    port: int
    protocol: str  # tcp, udp

    def __str__(self) -> str:
        """Return it as a person says it: ``the answers of 198.18.2.11 port 8080/tcp``."""
        port = "" if self.port == ANY_PORT else f" port {self.port}"
        return f"the answers of {self.server}{port}/{self.protocol}"


Guarded = Address | Answers  # to that address, or from that server


@dataclass(frozen=True)
class Rule:
    """One rule of ours: such frames that came in by ``ifname`` end in silence."""

    guarded: Guarded
    ifname: str


class Claim:
    """What this process serves; the kernel frees it when the process ends, however it ends."""

    def __init__(self, locks: Mapping[Guarded, socket.socket]) -> None:
        """Keep the sockets whose names are the claim."""
        self._locks = dict(locks)

    def take_over(self, other: Claim) -> None:
        """Hold what another claim held, which holds nothing then."""
        self._locks |= other._locks
        other._locks.clear()

    def release(self, some: Iterable[Guarded] | None = None) -> None:
        """Give some up, or all; harmless when repeated."""
        for one in list(self._locks) if some is None else some:
            lock = self._locks.pop(one, None)
            if lock is not None:
                lock.close()


def claim(wanted: Iterable[Guarded]) -> Claim:
    """Reserve VIPs and servers' answers on this host (in this network namespace) for this process.

    Each is a name that one process of the network namespace holds, gone with its owner.
    Raises ConfigError when another process holds one, and then reserves none.
    """
    locks = {one: hold(_name(one)) for one in wanted}
    held = Claim({one: lock for one, lock in locks.items() if lock})
    taken = [one for one, lock in locks.items() if lock is None]
    if taken:
        held.release()
        known = owners()
        raise ConfigError(*(_who_has(one, known.get(_name(one), 0)) for one in taken))
    return held


def named(guarded: Guarded) -> str:
    """Return what is guarded as a person says it."""
    return str(guarded) if isinstance(guarded, Answers) else f"VIP {guarded}"


def _name(guarded: Guarded) -> str:
    return f"dsrlb/{'answers' if isinstance(guarded, Answers) else 'vip'}/{guarded}"


def _who_has(guarded: Guarded, uid: int) -> str:
    """Return the sentence about a name that is taken."""
    if not is_foreign(uid):
        return f"Another dsrlb on this host already serves {named(guarded)}; stop it first."
    return (
        f"User {uid}, who is not root, holds the name by which dsrlb claims {named(guarded)} "
        f"(@{_name(guarded)}); end that process (ss -xap shows it)."
    )


def install(wanted: Iterable[Guarded], ifnames: Iterable[str]) -> None:
    """Make the rules of these exactly one per interface; what a crashed run left is adopted.

    Rules of others are not touched.  Raises HostError without privilege or policy routing.
    """
    ifnames = tuple(ifnames)
    rules = {Rule(one, ifname) for one in wanted for ifname in ifnames}
    ours = {rule.guarded for rule in rules}
    with _rules() as ipr:
        present = [rule for rule in _present(ipr) if rule.guarded in ours]
        for rule in present:
            if rule not in rules:
                _change(ipr, "del", rule)
        for rule in rules.difference(present):
            _change(ipr, "add", rule)


def remove(some: Iterable[Guarded]) -> None:
    """Take back every rule of these; harmless when there is none."""
    some = frozenset(some)
    with _rules() as ipr:
        for rule in _present(ipr):
            if rule.guarded in some:
                _change(ipr, "del", rule)


def remove_stale(keep: Iterable[Guarded] = ()) -> tuple[Guarded, ...]:
    """Take back the rules of what no running dsrlb holds, but for those to keep; return of what.

    What this process has claimed counts as held.
    """
    kept = frozenset(keep)
    stale: set[Guarded] = set()
    with _rules() as ipr:
        present = list(_present(ipr))
        for one in {rule.guarded for rule in present} - kept:
            lock = hold(_name(one))
            if lock is None:
                continue
            with lock:  # held while its rules go, so that no starting dsrlb loses fresh ones
                stale.add(one)
                for rule in present:
                    if rule.guarded == one:
                        _change(ipr, "del", rule)
    return tuple(sorted(stale, key=named))


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
        raise HostError(f"The kernel refused a policy rule: {error}.") from error


def _present(ipr: Any) -> Iterator[Rule]:
    yield from (rule for rule in map(_ours, every_rule(ipr)) if rule)


def _ours(message: Any) -> Rule | None:
    """Return the rule if it is one of ours.

    A kernel before 4.17 keeps no protocol: there the shape alone (preference, blackhole, one
    interface, one host) has to do.
    """
    ifname, names = message.get_attr("FRA_IIFNAME"), ("FRA_DST", "FRA_SRC")
    destination, source = (message.get_attr(name) for name in names)
    if message["action"] != FR_ACT_BLACKHOLE or message.get_attr("FRA_PRIORITY") != PREFERENCE:
        return None
    if message.get_attr("FRA_PROTOCOL") not in (None, PROTOCOL) or not ifname:
        return None
    if source and not destination:
        answers = _answers(message, ip_address(source))
        return Rule(answers, ifname) if answers is not None else None
    if not destination or source:
        return None
    vip = ip_address(destination)
    return Rule(vip, ifname) if message["dst_len"] == vip.max_prefixlen else None


def _answers(message: Any, server: Address) -> Answers | None:
    number, ports = message.get_attr("FRA_IP_PROTO"), message.get_attr("FRA_SPORT_RANGE")
    protocol = next((word for word, one in PROTOCOL_NUMBERS.items() if one == number), None)
    if protocol is None or message["src_len"] != server.max_prefixlen:
        return None
    start, _, end = (ports or f"{ANY_PORT}:{ANY_PORT}").partition(":")
    return Answers(server, int(start), protocol) if start == end else None


def _selector(guarded: Guarded) -> dict[str, Any]:
    """Return what tells such frames, as netlink takes it."""
    if not isinstance(guarded, Answers):
        return {"dst": str(guarded), "dst_len": guarded.max_prefixlen}
    port = {} if guarded.port == ANY_PORT else {"sport_range": f"{guarded.port}:{guarded.port}"}
    protocol = PROTOCOL_NUMBERS[guarded.protocol]
    return {"src": str(guarded.server), "src_len": guarded.server.max_prefixlen, "ip_proto": protocol, **port}


def _change(ipr: Any, verb: str, rule: Rule) -> None:
    address = rule.guarded.server if isinstance(rule.guarded, Answers) else rule.guarded
    change_rule(
        ipr,
        verb,
        socket.AF_INET if address.version == 4 else socket.AF_INET6,
        iifname=rule.ifname,
        action=FR_ACT_BLACKHOLE,
        priority=PREFERENCE,
        **_selector(rule.guarded),
    )
