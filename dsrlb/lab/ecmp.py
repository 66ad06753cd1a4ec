"""The router's ways to several balancers: one is taken away when its balancer is lost, and given back.

What a routing daemon would do that hears of it (BGP, BFD) is done here by hand: the routes to the VIPs lead
to the balancers that are left.  The kernel divides flows anew then, by addresses and ports: packets of one
flow may come to another balancer than before, and must find the same server there.

*Source*: Linux Documentation/networking/ip-sysctl.rst, ``fib_multipath_hash_policy``.
"""

from __future__ import annotations

from collections.abc import Collection

from dsrlb.lab.commands import run
from dsrlb.lab.topology import Lab


def lead_to(lab: Lab, roles: Collection[str]) -> None:
    """Let the router lead what is for the VIPs to these balancers, and to no others."""
    for vip in lab.vips:
        ways = [word for role in roles for word in ("nexthop", "via", str(lab.address(role, vip.version)))]
        route = ["route", "replace", f"{vip}/{vip.max_prefixlen}", *ways]
        run(["ip", "-n", lab.namespace("router"), f"-{vip.version}", *route])
