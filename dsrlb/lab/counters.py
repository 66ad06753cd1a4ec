"""What the kernels of a lab's nodes count: bytes over an interface, and everything that ``nstat`` shows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsrlb.lab.commands import inside, run

if TYPE_CHECKING:
    from dsrlb.lab.topology import Lab


@dataclass(frozen=True)
class LinkBytes:
    """What crossed an interface so far, in bytes, as the node's kernel counts."""

    received: int
    sent: int

    def __add__(self, other: LinkBytes) -> LinkBytes:
        """Return what crossed either of two interfaces."""
        return LinkBytes(self.received + other.received, self.sent + other.sent)

    def __sub__(self, earlier: LinkBytes) -> LinkBytes:
        """Return what crossed since ``earlier``."""
        return LinkBytes(self.received - earlier.received, self.sent - earlier.sent)


def link_bytes(lab: Lab, role: str, device: str = "e0") -> LinkBytes:
    """Read the byte counters of a node's interface."""
    shown = run(["ip", "-j", "-s", "-n", lab.namespace(role), "link", "show", "dev", device])
    counters = json.loads(shown)[0]["stats64"]
    return LinkBytes(counters["rx"]["bytes"], counters["tx"]["bytes"])


def kernel_counters(lab: Lab, role: str) -> Counter[str]:
    """Read a node's protocol counters, named as nstat(8) names them: ``TcpInCsumErrors``, ``Ip6InReceives``.

    They count from the making of the node on; a later reading minus an earlier one (Counter's ``-``)
    has what grew and nothing else.
    """
    files = [f"/proc/net/{name}" for name in ("snmp", "netstat", *(["snmp6"] if lab.ipv6 else []))]
    return counted_in(run(inside(lab.namespace(role), "cat", *files)))


def counted_in(text: str) -> Counter[str]:
    """Return the counters that the text of such files has."""
    return Counter(dict(_counted(text)))


def _counted(text: str) -> Iterator[tuple[str, int]]:
    """Yield name and value of every counter.

    /proc/net/snmp and netstat have two lines a protocol, one of names, one of values (net/ipv4/proc.c)::

        Udp: InDatagrams NoPorts InErrors          snmp6, a counter a line:   Ip6InReceives   12
        Udp: 12 0 0
    """
    names: list[str] = []
    for line in text.splitlines():
        protocol, colon, rest = line.partition(": ")
        if not colon:
            name, value = line.split()
            yield name, int(value)
        elif names:
            yield from zip(names, map(int, rest.split()), strict=True)
            names = []
        else:
            names = [protocol + name for name in rest.split()]


def checksum_errors(counted: Counter[str]) -> dict[str, int]:
    """Return the counters of packets thrown away for a wrong checksum, those that are not 0.

    IP header, TCP, UDP, ICMP of both families: ``IpExtInCsumErrors``, ``Udp6InCsumErrors``; and
    ``IpInHdrErrors``, which also counts every other fault of an IPv4 header.
    """
    return {
        name: count
        for name, count in counted.items()
        if count and (name.endswith("InCsumErrors") or name in ("IpInHdrErrors", "Ip6InHdrErrors"))
    }
