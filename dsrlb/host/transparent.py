"""Answers of servers to clients' addresses, taken by this host's own sockets.

A connection that begins here from a client's address (``transparent``) is answered to that address.  A policy
rule for each server's port has its answers end here, where the socket is, and not be routed to the client;
one table has nothing but "all of it is this host's"::

    12: from 198.18.2.11 iif e1 ipproto tcp sport 8080 lookup 1427898368 proto 213
    table 1427898368: local default dev lo

What was set stands in a file, so that the next start takes back what a crashed one left.  A rule that was
there before is another dsrlb's: it is used, and stays.

*Source*: Documentation/networking/tproxy.rst, with marks where here are addresses and ports.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.errors import ConfigError, HostError
from dsrlb.host.neighbours import routes_to
from dsrlb.host.policy_rules import PROTOCOL, change_rule, every_rule, families
from dsrlb.host.records import read_record, write_record
from dsrlb.model import PROTOCOL_NUMBERS, Address

PREFERENCE = 12  # before the main table (32766)
TABLE = 0x551C_0000  # of all dsrlb on a host; those of paths for probes come before
FR_ACT_TO_TBL = 1  # linux/fib_rules.h
TCP = PROTOCOL_NUMBERS["tcp"]
LOOK_EVERY_S = 10.0  # at routes to servers; 0.4 ms each


class Server(NamedTuple):
    """Where a server takes connections."""

    address: Address
    port: int


class Rule(NamedTuple):
    """One rule of ours: what that server sends from its port, and comes in here, is this host's."""

    server: Server
    interface: str


class TransparentRules:
    """The rules that this process added; ``record`` is the file that says so."""

    def __init__(self, record: Path) -> None:
        """Take those for ours that the file says a process before this one left."""
        self._record = record
        self._ours = _read(record)
        self._wanted: frozenset[Server] = frozenset()
        self._interfaces: dict[Server, str] = {}
        self._look_due_s = 0.0

    def add(self, wanted: Iterable[Server]) -> None:
        """Have the answers of these as well.  HostError: a rule cannot be; those before it are ours."""
        servers = frozenset(wanted)
        self._look(servers)
        self._have({Rule(one, self._interfaces[one]) for one in servers if one in self._interfaces})

    def change_to(self, wanted: Iterable[Server]) -> None:
        """Have the answers of these; those of before are to go at ``drop_others``.  HostError: as ``add``."""
        self._wanted = frozenset(wanted)
        self.add(self._wanted)

    def keep(self) -> None:
        """Add again what somebody took away, and follow routes to servers."""
        if self._wanted and time.monotonic() >= self._look_due_s:
            self._look(self._wanted)
        self._have(self._now())

    @property
    def ours(self) -> frozenset[Rule]:
        """The rules that this process, or the one before it, added."""
        return frozenset(self._ours)

    @property
    def has_others(self) -> bool:
        """Whether there are rules of ours which are no longer wanted."""
        return bool(self._ours - self._now())

    def drop_others(self) -> None:
        """Take those back."""
        self.only(self._now())

    def only(self, some: Collection[Rule]) -> None:
        """Take back all of ours but for some."""
        others = self._ours.difference(some)
        if not others:
            return
        with _netlink() as ipr:
            for rule in others:
                _change(ipr, "del", rule)
            self._note(self._ours - others)
            _drop_tables(ipr)

    def note_again(self) -> None:
        """Write down once more what is ours, where the file is gone."""
        self._note(self._ours)

    def close(self) -> None:
        """Take all of them back; harmless when repeated."""
        self._wanted = frozenset()
        self.drop_others()

    def _now(self) -> set[Rule]:
        return {Rule(one, self._interfaces[one]) for one in self._wanted if one in self._interfaces}

    def _look(self, servers: Iterable[Server]) -> None:
        """Find the interfaces by which servers are; one to which there is no route is where it was last."""
        ways = routes_to({one.address for one in servers})
        before = {rule.server: rule.interface for rule in self._ours}
        for one in servers:
            way = ways[one.address]
            if way is not None and not way.is_local:
                self._interfaces[one] = way.ifname
            elif one in before:
                self._interfaces.setdefault(one, before[one])
        self._look_due_s = time.monotonic() + LOOK_EVERY_S

    def _have(self, rules: set[Rule]) -> None:
        if not rules:
            return
        with _netlink() as ipr:
            there = set(_present(ipr))
            for rule in rules - there:
                self._note(self._ours | {rule})
                _change(ipr, "add", rule)
            for version in {rule.server.address.version for rule in rules}:
                _have_table(ipr, _family(version))

    def _note(self, ours: set[Rule]) -> None:
        """Write down what is ours, before it is there: a crash in between leaves nothing behind."""
        self._ours = ours
        write_record(self._record, ((str(to.address), to.port, name) for to, name in ours))


def refuse_own(servers: Iterable[Server]) -> None:
    """Raise ConfigError if a server is this host itself, whose answers would not come in anywhere."""
    ways = routes_to({one.address for one in servers})
    own = [address for address, way in ways.items() if way is not None and way.is_local]
    if own:
        raise ConfigError(
            *(
                f"backend {one} is an address of this host, which cannot be asked as if by a client; leave "
                "transparent out"
                for one in own
            )
        )


def _read(record: Path) -> set[Rule]:
    return read_record(record, lambda one, port, name: Rule(Server(ip_address(one), int(port)), str(name)))


@contextmanager
def _netlink() -> Iterator[Any]:
    """Open netlink, and turn its refusals into a sentence."""
    try:
        with IPRoute() as ipr:
            yield ipr
    except NetlinkError as error:
        raise HostError(
            f"The kernel refused what transparent takes, a rule or a route in table {TABLE} ({error}). "
            "It needs root, and CONFIG_IP_MULTIPLE_TABLES (IPv6: CONFIG_IPV6_MULTIPLE_TABLES)."
        ) from error


def _family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _present(ipr: Any) -> Iterator[Rule]:
    """Yield the rules that are of our make, whichever dsrlb's they are."""
    yield from (rule for rule in map(_ours, every_rule(ipr)) if rule is not None)


def _ours(message: Any) -> Rule | None:
    names = ("FRA_PRIORITY", "FRA_TABLE", "FRA_SRC", "FRA_IIFNAME", "FRA_SPORT_RANGE")
    preference, table, source, interface, ports = map(message.get_attr, names)
    if preference != PREFERENCE or table != TABLE or not (source and interface and ports):
        return None
    return Rule(Server(ip_address(source), int(ports.partition(":")[0])), interface)


def _change(ipr: Any, verb: str, rule: Rule) -> None:
    (address, port), interface = rule
    about = {"src": str(address), "src_len": address.max_prefixlen, "iifname": interface, "ip_proto": TCP}
    about |= {"sport_range": f"{port}:{port}", "action": FR_ACT_TO_TBL, "table": TABLE}
    change_rule(ipr, verb, _family(address.version), priority=PREFERENCE, **about)


def _have_table(ipr: Any, family: int) -> None:
    loopback = socket.if_nametoindex("lo")
    everything = {"dst": "default", "oif": loopback, "table": TABLE, "proto": PROTOCOL}
    try:
        ipr.route("add", family=family, type="local", scope="host", **everything)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def _drop_tables(ipr: Any) -> None:
    """Take the table of a family back to which no rule leads any more."""
    used = {_family(rule.server.address.version) for rule in _present(ipr)}
    for family in families(ipr):
        if family not in used:
            with suppress(NetlinkError):  # there is none
                ipr.flush_routes(family=family, table=TABLE)
