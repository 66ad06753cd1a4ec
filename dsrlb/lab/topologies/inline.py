"""The networks of inline: requests and replies both cross the balancer.

Two-armed, the balancer stands between the router and the servers, and is their gateway::

                198.18.0.0/24                  198.18.1.0/24                198.18.2.0/24
                2001:db8:0::/64                2001:db8:1::/64              2001:db8:2::/64

    client .2 ───────────── .1 router .1 ──── switch ──── .10 lb .1 ──── switch2 ──┬── .11 rs1
           c0               c1        e0    (bridge br0)  e0     e1   (bridge br0) ├── .12 rs2
                                                                                   └── .13 rs3

One-armed, all are on the segment of l2dsr, and the servers' gateway is the balancer, 198.18.1.10.
With ``snat`` they need no way by the balancer: their gateway is the router, as in l2dsr.

The VIP, 198.18.1.100, is the balancer's alone; servers know nothing of it.  dsrlb itself forwards
the service's packets, both ways.  Whatever else the servers send goes on only where the kernel of
the balancer's node forwards: ``lb_forwards``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsrlb.lab.topologies.base import (
    BACK,
    FRONT,
    LB_HOST,
    ROUTER_HOST,
    Network,
    Topology,
    end,
    gateway,
    gateways,
    outside,
    plugged,
    routers,
    row,
)
from dsrlb.lab.topologies.l2dsr import VIPS, shared_segment

if TYPE_CHECKING:
    from dsrlb.lab.topology import Lab


def network(lab: Lab) -> Network:
    """Return the network behind the balancer, or the shared one."""
    if lab.one_armed:
        return shared_segment(lab, servers_by_the_balancer=not lab.snat)
    to_client = outside(lab)
    router = end("router", "e0", FRONT, ROUTER_HOST)
    front = end("lb", "e0", FRONT, LB_HOST)
    back = end("lb", "e1", BACK, ROUTER_HOST)
    servers = row(lab.server_names, "e0", BACK, LB_HOST)
    routes = [*gateways(to_client.one, to_client.other), *gateways(front, router)]
    for server in servers:
        routes += gateways(server, back)
    routes += [
        gateway(router, own, str(net.network))
        for own, net in zip(front.addresses, back.addresses, strict=True)
    ]
    return Network(
        cables=(
            to_client,
            *plugged([router, front], "switch", lab),
            *plugged([back, *servers], "switch2", lab),
        ),
        routes=tuple(routes),
        switches=("switch", "switch2"),
        routers=routers(lab),
    )


INLINE = Topology(
    mode="inline",
    vips=VIPS,
    network=network,
    server_note="knows nothing of the VIP {vip}",
    replies="the answers went through the balancer, as the requests did: all bytes crossed it",
    crosses="requests and replies, with the client's and with the servers' view of them",
    watch="any tcp port 80",
    setup=None,
)
