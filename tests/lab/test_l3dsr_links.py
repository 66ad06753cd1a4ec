"""L3 DSR beside the router's own work: with a host that forwards, and on narrow links before the tunnel."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack

import pytest
from lab_wire import about_vips, counters, forwarding, narrow, no_wrong_checksums

from dsrlb.lab.topology import Lab

MEGABYTE = 1_000_000
versions = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def lab(l3_lab: Lab) -> Lab:
    return l3_lab


def vip_of(lab: Lab, version: int) -> str:
    return str(lab.vips[version == 6])


@versions
@pytest.mark.parametrize("routing", [0, 1])
def test_requests_are_spread_evenly_whether_or_not_the_host_forwards(
    lab, serve, client, version, routing
) -> None:
    with forwarding(lab, routing), no_wrong_checksums(lab):
        balancer = serve("--scheduler", "rr", version=version)
        answers = client.requests(300, vip_of(lab, version))
        assert answers["errors"] == []
        assert min(Counter(answers["servers"])[name] for name in lab.server_names) >= 95
        assert {body.split()[1] for body in answers["bodies"]} == {str(lab.address("client", version))}
    assert about_vips(counters(balancer)) <= {"forwarded", "nd_reply", "arp_reply"}


@versions
@pytest.mark.parametrize("where", [("client",), ("router", "lb")], ids=["client's", "balancer's"])
def test_a_segment_of_1400_bytes_in_the_path_is_no_black_hole(lab, serve, client, version, where) -> None:
    """Up, the client is told; down, the servers are, by way of the balancer: the VIP is their source."""
    with ExitStack() as narrowed:
        for role in where:
            narrowed.enter_context(narrow(lab, role, 1400, device="c0" if role == "client" else "e0"))
        serve("--scheduler", "rr", version=version, ports=("8080",))
        vip = vip_of(lab, version)
        with no_wrong_checksums(lab):
            uploads = [client.upload(2 * MEGABYTE, vip, seed=seed) for seed in range(3)]
            downloads = [client.download(2 * MEGABYTE, vip) for _ in range(3)]
    assert all(one["received"] == one["sent"] for one in uploads)
    assert {one["server"] for one in uploads} == {"rs1", "rs2", "rs3"}
    assert all(one["intact"] for one in downloads), downloads
    assert {one["server"] for one in downloads} == {"rs1", "rs2", "rs3"}
