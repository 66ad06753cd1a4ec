"""The network of two tiers: a balancer by l2dsr before proxies, which are dsrlb of mode proxy before servers.

::

                198.18.0.0/24                198.18.1.0/24                   198.18.2.0/24

    client .2 ───────────── .1 router .1 ──── switch ──┬── lb  .10
           c0               c1        e0  (bridge br0) │                             ┌── .11 rs1
                                                       ├── px1 .91 ┐        .91 ┐    ├── .12 rs2
                                                       ├── px2 .92 ├─ VIP   .92 ├── switch2
                                                       └── px3 .93 ┘ on lo  .93 ┘    └── .13 rs3
                                                           e0              e1

The proxies are real servers to the balancer: they hold the VIP, 198.18.1.100, on lo, and answer the
client by the router, past the balancer.  Behind them the servers know nothing of all that: their
clients are the proxies, on a segment of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dsrlb.lab.topologies.base import (
    BACK,
    FRONT,
    LB_HOST,
    PROXY_HOST,
    ROUTER_HOST,
    Cable,
    Network,
    Topology,
    end,
    gateways,
    outside,
    plugged,
    routers,
    row,
)
from dsrlb.lab.topologies.l2dsr import VIPS

if TYPE_CHECKING:
    from dsrlb.lab.topology import Lab


def network(lab: Lab) -> Network:
    """Return the segment of balancer and proxies, and that of the servers behind them."""
    to_client = outside(lab)
    router = end("router", "e0", FRONT, ROUTER_HOST)
    balancer = end("lb", "e0", FRONT, LB_HOST)
    front = row(lab.proxy_names, "e0", FRONT, PROXY_HOST)
    routes = list(gateways(to_client.one, to_client.other))
    for one in (balancer, *front):
        routes += gateways(one, router)
    return Network(
        cables=(
            to_client,
            *plugged([router, balancer, *front], "switch", lab),
            *behind_proxies(lab),
        ),
        routes=tuple(routes),
        switches=("switch", "switch2"),
        routers=routers(lab),
    )


def behind_proxies(lab: Lab) -> Iterator[Cable]:
    """Return the cables of the segment on which servers and proxies are."""
    proxies = row(lab.proxy_names, "e1", BACK, PROXY_HOST)
    return plugged([*proxies, *row(lab.server_names, "e0", BACK, LB_HOST)], "switch2", lab)


TWO_TIER = Topology(
    mode="two-tier",
    forwards="l2dsr",
    vips=VIPS,
    network=network,
    server_note="knows nothing of the VIP {vip}",
    replies="the answers went from the servers to the proxies, and from there straight to the client",
    crosses="requests and acknowledgements only",
    watch="e0 host {vip}",
    setup=(),
)
