"""The network of two tiers by l3dsr: as ``two_tier``, but each proxy is in a network of its own.

::

                198.18.0.0/24                  198.18.1.0/24

    client .2 ───────────── .1 router .1 ──── switch ──── .10 lb                198.18.2.0/24
           c0               c1 │ │ │  e0    (bridge br0)      e0
                               │ │ │   198.18.21.0/24                                     ┌── .11 rs1
                            s1 │ │ └── .1 ────────────── .2 px1 ┐           .91 ┐         │
                            s2 │ └──── .1 ─ 198.18.22 ── .2 px2 ├─ unwraps, .92 ├─ switch2┼── .12 rs2
                            s3 └────── .1 ─ 198.18.23 ── .2 px3 ┘  VIP      .93 ┘         │
                                                            e0     on lo    e1            └── .13 rs3

The router sends what is for the VIP, 198.18.10.1, to the balancer, which wraps it for a proxy; that answers
the client by the router, past the balancer.  The servers' clients are the proxies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsrlb.lab.topologies.base import (
    FRONT,
    LB_HOST,
    ROUTER_HOST,
    Network,
    Route,
    Topology,
    end,
    gateways,
    outside,
    plugged,
    routers,
)
from dsrlb.lab.topologies.l3dsr import L3DSR, VIPS, way
from dsrlb.lab.topologies.two_tier import TWO_TIER, behind_proxies

if TYPE_CHECKING:
    from dsrlb.lab.topology import Lab


def network(lab: Lab) -> Network:
    """Return a routed network for each proxy, and the segment of the servers behind them."""
    to_client = outside(lab)
    router = end("router", "e0", FRONT, ROUTER_HOST)
    balancer = end("lb", "e0", FRONT, LB_HOST)
    ways = [way(lab, role, k) for k, role in enumerate(lab.proxy_names, 1)]
    routes = [*gateways(to_client.one, to_client.other), *gateways(balancer, router)]
    for cable in ways:
        routes += gateways(cable.one, cable.other)
    routes += [
        Route("router", f"{vip}/{vip.max_prefixlen}", own.ip)
        for vip, own in zip(VIPS, balancer.addresses, strict=True)
    ]
    return Network(
        cables=(
            to_client,
            *plugged([router, balancer], "switch", lab),
            *ways,
            *behind_proxies(lab),
        ),
        routes=tuple(routes),
        switches=("switch", "switch2"),
        routers=routers(lab),
    )


TWO_TIER_L3DSR = Topology(
    mode="two-tier-l3dsr",
    forwards="l3dsr",
    vips=VIPS,
    network=network,
    server_note=TWO_TIER.server_note,
    replies=TWO_TIER.replies,
    crosses=L3DSR.crosses,
    watch=L3DSR.watch,
    setup=L3DSR.setup,
)
