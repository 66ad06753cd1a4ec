"""The network of l3dsr: each server in a network of its own, behind the router.

::

                198.18.0.0/24                  198.18.1.0/24
                2001:db8:0::/64                2001:db8:1::/64

    client .2 ───────────── .1 router .1 ──── switch ──── .10 lb    (balancer)
           c0               c1 │ │ │  e0    (bridge br0)      e0
                               │ │ │
                               │ │ │   198.18.21.0/24
                            s1 │ │ └── .1 ────────────── .2 rs1 ┐
                            s2 │ └──── .1 ─ 198.18.22 ── .2 rs2 ├─ VIP 198.18.10.1 on lo
                            s3 └────── .1 ─ 198.18.23 ── .2 rs3 ┘

Nobody has the VIP's network: the router sends what is for 198.18.10.1 and 2001:db8:10::1 to the
balancer's own address.  The way there and the ways to the servers cross the router; each server
answers the client by the router, past the balancer.

With several balancers each further one, lb2 to lb9, is on a cable of its own to the router, whose routes
to the VIPs lead to all of them, each flow to one (``dsrlb/lab/ecmp.py``)::

    client ──── router .1 ─── 198.18.1.0/24 ── .10 lb
                b2 .1 ─────── 198.18.2.0/24 ── .10 lb2

The VIP has a network to itself because servers are elsewhere than the balancer: with a VIP of
198.18.1.0/24 the router would ask for it by ARP, which works as well; a routed VIP asks less.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from dsrlb.lab.topologies.base import (
    DIRECT,
    FRONT,
    LB_HOST,
    ROUTER_HOST,
    Cable,
    Network,
    Route,
    Topology,
    end,
    gateways,
    outside,
    plugged,
    routers,
)

if TYPE_CHECKING:
    from dsrlb.lab.topology import Lab

VIPS = ip_address("198.18.10.1"), ip_address("2001:db8:10::1")
FIRST_NETWORK, SERVER_HOST = 21, 2  # rs1 is host 2 of network 21


def network(lab: Lab) -> Network:
    """Return a routed network for each server."""
    to_client = outside(lab)
    router = end("router", "e0", FRONT, ROUTER_HOST)
    balancer = end("lb", "e0", FRONT, LB_HOST)
    more = [_beside(lab, k) for k in range(2, lab.balancers + 1)]
    ways = [way(lab, role, k) for k, role in enumerate(lab.server_names, 1)]
    routes = [*gateways(to_client.one, to_client.other), *gateways(balancer, router)]
    for cable in (*more, *ways):
        routes += gateways(cable.one, cable.other)
    by = zip(balancer.addresses, *(cable.one.addresses for cable in more), strict=True)
    routes += [
        Route("router", f"{vip}/{vip.max_prefixlen}", own.ip, beside=tuple(one.ip for one in others))
        for vip, (own, *others) in zip(VIPS, by, strict=True)
    ]
    return Network(
        cables=(to_client, *plugged([router, balancer], "switch", lab), *more, *ways),
        routes=tuple(routes),
        switches=("switch",),
        routers=routers(lab),
    )


def _beside(lab: Lab, k: int) -> Cable:
    """Return the cable from a further balancer to the router."""
    balancer, router = end(f"lb{k}", "e0", k, LB_HOST), end("router", f"b{k}", k, ROUTER_HOST)
    return Cable(balancer, router, lab.link_mtu_bytes(balancer.role))


def way(lab: Lab, role: str, k: int) -> Cable:
    """Return the cable from the k-th of those that hold the VIP to the router."""
    net = FIRST_NETWORK + k - 1
    server, router = end(role, "e0", net, SERVER_HOST), end("router", f"s{k}", net, ROUTER_HOST)
    return Cable(server, router, lab.link_mtu_bytes(role))


L3DSR = Topology(
    mode="l3dsr",
    vips=VIPS,
    network=network,
    server_note="unwraps, holds the VIP {vip}",
    replies=DIRECT,
    crosses="requests and acknowledgements only, as they come and as they go, wrapped",
    watch="e0 host {vip} or ip proto 4",
    setup=("--decap", "bpf"),
)
