"""Inline in bulk, beside a host that forwards, on narrow links, and beside what is not the service's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from lab_wire import TEST_PREFIX, forwarding, narrow, no_wrong_checksums

from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import Lab, link_bytes

MEGABYTE = 1_000_000
LAYOUTS = {
    "two-armed": {},
    "one-armed": {"one_armed": True},
    "snat": {"one_armed": True, "snat": True},
}
versions = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module", params=LAYOUTS)
def lab(request: pytest.FixtureRequest, shared_directories: None) -> Iterator[Lab]:
    with standing(Lab(prefix=f"{TEST_PREFIX}in-", mode="inline", **LAYOUTS[request.param])) as it:
        yield it


def vip_of(lab: Lab, version: int) -> str:
    return str(lab.vips[version == 6])


@versions
def test_500_connections_up_and_down_arrive_intact_though_the_host_forwards(
    lab, serve, client, version
) -> None:
    with forwarding(lab, 1), no_wrong_checksums(lab):
        serve("--scheduler", "rr", version=version, ports=("8080",))
        answers = client.exchange(500, vip_of(lab, version), size_bytes=20_000, parallel=8)
    assert answers["errors"] == []
    assert min(Counter(answers["servers"])[name] for name in lab.server_names) >= 160


@versions
def test_20_mb_up_and_down_arrive_intact_and_cross_the_balancer(lab, serve, client, version) -> None:
    serve("--scheduler", "rr", version=version, ports=("8080",))
    vip = vip_of(lab, version)
    before = link_bytes(lab, "lb").sent
    with no_wrong_checksums(lab):
        upload = client.upload(20 * MEGABYTE, vip)
        download = client.download(20 * MEGABYTE, vip)
    assert (upload["bytes"], upload["received"]) == (20 * MEGABYTE, upload["sent"])
    assert (download["error"], download["intact"]) == ("", True)
    assert link_bytes(lab, "lb").sent - before > 20 * MEGABYTE


@versions
def test_servers_on_links_of_1400_bytes_get_all_that_clients_send(lab, serve, client, version) -> None:
    """TCP learns it from the server's MSS; a datagram's sender has to be told, by the balancer.

    One-armed all are on one segment, which has one MTU: there is nothing to learn.
    """
    with ExitStack() as narrowed:
        for role, device in (*((name, "e0") for name in lab.server_names), ("lb", lab.interfaces[-1])):
            if not lab.one_armed:
                narrowed.enter_context(narrow(lab, role, 1400, device))
        serve("--scheduler", "rr", version=version, ports=("8080", "5353/udp"))
        vip = vip_of(lab, version)
        upload = client.upload(2 * MEGABYTE, vip)
        first = client.echo(1, vip, size_bytes=1440, timeout_s=1)["servers"]
        others = client.echo(12, vip, size_bytes=1440, timeout_s=10)["servers"]
    assert upload["received"] == upload["sent"]
    assert first == [None] or lab.one_armed
    assert set(others) == {"rs1", "rs2", "rs3"}


@versions
def test_what_the_servers_send_beside_the_service_is_the_kernels_matter(lab, serve, client, version) -> None:
    """A server's own address answers the client where the balancer's kernel forwards, or is not asked to."""
    serve("--scheduler", "rr", version=version)
    host = lab.address("rs1", version)
    for routing in (0, 1):
        with forwarding(lab, routing):
            passes = bool(routing or lab.snat)
            answered = client.echo(1, host, timeout_s=10 if passes else 1)["servers"]
            assert answered == (["rs1"] if passes else [None])
            assert client.requests(6, vip_of(lab, version))["errors"] == []
