"""The kernel's own test of IPVS, with dsrlb in IPVS's place, in IPv4 and in IPv6.

*Source*: Linux, tools/testing/selftests/net/netfilter/ipvs.sh, whose network this is, with a second
server and a switch for either side::

                  198.18.30.0/24, 2001:db8:30::/64     198.18.31.0/24, 2001:db8:31::/64

    client .2 ──── switch ──┬──── .10 lb .1 ──── switch2 ──┬── .11 rs1
                            │                              └── .12 rs2
                            ├──── .11 rs1
                            └──── .12 rs2

The client knows the VIP, which is in no network, by way of the balancer's address; the balancer
reaches the servers on their other side.  DR and TUN: they answer the client straight, over the
leg on its side.  NAT: they have no such leg, and their gateway is the balancer.  A random payload goes
through and is compared byte for byte; here an answer comes back as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from lab_wire import TEST_PREFIX, counters, no_wrong_checksums

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.client import ask
from dsrlb.lab.counters import link_bytes
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topologies import BY_MODE, Topology
from dsrlb.lab.topologies.base import Cable, Network, Route, end, gateways, plugged
from dsrlb.lab.topology import Lab

VIPS = ip_address("198.18.10.1"), ip_address("2001:db8:10::1")
FRONT, BACK = 30, 31
METHODS = {"DR": "l2dsr", "TUN": "l3dsr", "NAT": "inline"}
HERE = list(METHODS)
PAYLOADS_BYTES = (32, 1_000_001)  # the kernel's own size, and one of many segments


class Selftest(Lab):
    """The network of ipvs.sh."""

    @property
    def network(self) -> Network:
        client = end("client", "c0", FRONT, 2)
        front, back = end("lb", "e0", FRONT, 10), end("lb", "e1", BACK, 1)
        legs = [end(name, "e0", BACK, 10 + k) for k, name in enumerate(self.server_names, 1)]
        direct = [end(name, "e1", FRONT, 10 + k) for k, name in enumerate(self.server_names, 1)]
        cables: list[Cable] = [
            *plugged([client, front], "switch", self),
            *plugged([back, *legs], "switch2", self),
        ]
        routes = [
            Route("client", f"{vip}/{vip.max_prefixlen}", own.ip)
            for vip, own in zip(VIPS, front.addresses, strict=True)
        ]
        if self.mode == "inline":
            for leg in legs:
                routes += gateways(leg, back)
        else:
            cables += plugged(direct, "switch", self)
        return Network(tuple(cables), tuple(routes), switches=("switch", "switch2"), routers=())

    @property
    def topology(self) -> Topology:
        topology = replace(BY_MODE[self.mode], vips=VIPS)
        if self.mode == "l3dsr":  # there are no routes but those to neighbours: nothing to announce an MSS by
            return replace(topology, setup=("--decap", "bpf", "--device", "e0", "--advmss", "off"))
        return topology

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(role for role in super().roles if role != "router")


@pytest.fixture(scope="module", params=HERE)
def lab(request: pytest.FixtureRequest, shared_directories: None) -> Iterator[Lab]:
    mode = METHODS[request.param]
    with standing(Selftest(prefix=f"{TEST_PREFIX}s-", servers=2, mode=mode, ipv6=True)) as it:
        yield it


@pytest.mark.parametrize("version", [4, 6])
def test_a_payload_comes_through_byte_for_byte_both_ways(
    lab: Lab, serve: Callable[..., Balancer], version: int
) -> None:
    crossed = link_bytes(lab, "lb", "e0").sent
    balancer = serve("--scheduler", "rr", version=version, ports=("8080",))
    vip = VIPS[version == 6]
    taken: Counter[str] = Counter()
    with no_wrong_checksums(lab):
        for size_bytes in PAYLOADS_BYTES:
            for seed in range(4):
                up = ask(lab, "upload", host=vip, size_bytes=size_bytes, seed=seed)
                assert (up["bytes"], up["received"]) == (size_bytes, up["sent"])
                down = ask(lab, "download", host=vip, size_bytes=size_bytes)
                assert down["intact"], down
                taken.update((up["server"], down["server"]))
    assert taken == {"rs1": 8, "rs2": 8}
    assert counters(balancer)["forwarded"] > 0
    answers_crossed = link_bytes(lab, "lb", "e0").sent - crossed > 4 * PAYLOADS_BYTES[1]
    assert answers_crossed == (lab.mode == "inline")
