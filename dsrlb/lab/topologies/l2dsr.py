"""The network of l2dsr: balancer and servers share one segment, and the servers hold the VIP.

::

                198.18.0.0/24                        198.18.1.0/24
                2001:db8:0::/64                      2001:db8:1::/64

    client .2 ───────────── .1 router .1 ────┬──── switch ────┬──── lb  .10    (balancer)
           c0               c1        e0     │   (bridge br0) ├──── rs1 .11 ┐
                                             │                ├──── rs2 .12 ├─ VIP 198.18.1.100 on lo
                                             └────────────────┴──── rs3 .13 ┘

IPv6 addresses end in the same digits, and so do the MAC addresses: rs1 is 198.18.1.11,
2001:db8:1::11 and 02:00:c6:12:01:11.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from dsrlb.lab.topologies.base import (
    DIRECT,
    FRONT,
    LB_HOST,
    ROUTER_HOST,
    Network,
    Topology,
    end,
    gateways,
    outside,
    plugged,
    routers,
    row,
)

if TYPE_CHECKING:
    from dsrlb.lab.topology import Lab

VIPS = ip_address("198.18.1.100"), ip_address("2001:db8:1::100")


def network(lab: Lab) -> Network:
    """Return one segment with everybody on it."""
    return shared_segment(lab, servers_by_the_balancer=False)


def shared_segment(lab: Lab, servers_by_the_balancer: bool) -> Network:
    """Return the network; the servers' gateway is the router, or the balancer."""
    to_client = outside(lab)
    router = end("router", "e0", FRONT, ROUTER_HOST)
    balancer = end("lb", "e0", FRONT, LB_HOST)
    servers = row(lab.server_names, "e0", FRONT, LB_HOST)
    routes = [*gateways(to_client.one, to_client.other), *gateways(balancer, router)]
    for server in servers:
        routes += gateways(server, balancer if servers_by_the_balancer else router)
    return Network(
        cables=(to_client, *plugged([router, balancer, *servers], "switch", lab)),
        routes=tuple(routes),
        switches=("switch",),
        routers=routers(lab),
    )


L2DSR = Topology(
    mode="l2dsr",
    vips=VIPS,
    network=network,
    server_note="holds the VIP {vip} on lo",
    replies=DIRECT,
    crosses="requests and acknowledgements only",
    watch="e0 host {vip}",
    setup=(),
)
