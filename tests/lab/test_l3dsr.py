"""L3 DSR with real clients and servers: every pair of families, every encapsulation, every kind of way."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab_engine import PACKET, Engine
from lab_wire import TEST_PREFIX, counters, eventually, inside, narrow, no_wrong_checksums

from dsrlb.host import decap
from dsrlb.lab import xdp
from dsrlb.lab.balancer import Balancer
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.servers import prepare
from dsrlb.lab.topology import Lab, link_bytes, run

BYTES = 20_000_000


@pytest.fixture(scope="module")
def lab(shared_directories: None) -> Iterator[Lab]:
    with standing(Lab(prefix=f"{TEST_PREFIX}w-", mode="l3dsr")) as it:
        yield it


def flags(lab: Lab, vip_version: int, server_version: int, *more: str, only: str = "") -> list[str]:
    """Return the flags of a balancer for one VIP, with servers by their addresses of either family."""
    vip = lab.vips[0] if vip_version == 4 else f"[{lab.vips[-1]}]"
    line = ["--mode", "l3dsr", "--interface", "e0", "--scheduler", "rr", *more]
    line += [word for port in ("80", "8080", "5353/udp") for word in ("--vip", f"{vip}:{port}")]
    servers = dict(zip(lab.server_names, lab.server_addresses(server_version), strict=True))
    chosen = [only] if only else list(servers)
    return line + [word for name in chosen for word in ("--backend", str(servers[name]))]


def vip(lab: Lab, version: int) -> str:
    return str(lab.vips[0] if version == 4 else lab.vips[-1])


PAIRS = [(inside_, outside) for inside_ in (4, 6) for outside in (4, 6)]
ENCAPS = [*((*pair, "ipip") for pair in PAIRS), (4, 4, "gue"), (6, 6, "gue"), (4, 6, "gue1"), (6, 4, "gue1")]


@pytest.mark.both_engines(encap=["ipip"])
@pytest.mark.parametrize(("vip_version", "server_version", "encap"), ENCAPS)
def test_clients_are_served_by_every_server_with_nothing_lost_and_no_wrong_checksum(
    lab: Lab, serve: Callable[..., Balancer], client: Any, vip_version: int, server_version: int, encap: str
) -> None:
    balancer = serve(flags=flags(lab, vip_version, server_version, "--encap", encap))
    there = vip(lab, vip_version)
    before = link_bytes(lab, "lb")
    with no_wrong_checksums(lab):
        answered = client.requests(9, there)
        assert answered["errors"] == []
        assert sorted(answered["servers"]) == sorted(3 * lab.server_names)
        upload = client.upload(2_000_000, there)
        assert upload["sent"] == upload["received"]
        assert client.download(2_000_000, there)["intact"]
        crossed = link_bytes(lab, "lb") - before
        assert set(client.echo(6, there, size_bytes=1000, timeout_s=10)["servers"]) == set(lab.server_names)
        # Larger than any link: comes in pieces, is wrapped in pieces, is put together by the server.
        if vip_version == 6:  # IPv6 is never cut on the way: the first one teaches the client what fits
            client.echo(1, there, size_bytes=4000)
        assert None not in client.echo(6, there, size_bytes=4000, timeout_s=10)["servers"]
    assert crossed.received < 4_000_000  # what was downloaded went past
    told = counters(balancer)
    assert told["forwarded"] > 0
    assert told["fragment_forwarded"] > 0
    assert not told["send_failed"] + told["send_too_big"] + told["no_decapsulation"]


@pytest.mark.parametrize("version", [4, 6])
def test_20_mb_up_and_down_arrive_whole(
    lab: Lab, serve: Callable[..., Balancer], client: Any, version: int
) -> None:
    serve(flags=flags(lab, version, version))
    with no_wrong_checksums(lab):
        upload = client.upload(BYTES, vip(lab, version), timeout_s=60)
        assert (upload["bytes"], upload["sent"]) == (BYTES, upload["received"])
        assert client.download(BYTES, vip(lab, version), timeout_s=60)["intact"]


@pytest.mark.both_engines(vip_version=[4])
@pytest.mark.parametrize(("vip_version", "server_version"), PAIRS)
def test_a_link_of_1400_bytes_in_the_tunnel_loses_nothing(
    lab: Lab, serve: Callable[..., Balancer], client: Any, vip_version: int, server_version: int
) -> None:
    """The router before it tells the balancer, and the balancer the client."""
    balancer = serve(flags=flags(lab, vip_version, server_version, only="rs1"))
    with narrow(lab, "rs1", 1400):
        upload = client.upload(5_000_000, vip(lab, vip_version), timeout_s=60)
        assert upload["sent"] == upload["received"]
        assert client.download(5_000_000, vip(lab, vip_version), timeout_s=60)["intact"]
    told = counters(balancer)
    assert told["tunnel_error"] + told["tunnel_error_told"] > 0
    assert told["too_big_answered"] + told["tunnel_error_told"] > 0


def rx_packets(lab: Lab, role: str, device: str) -> int:
    shown = run(["ip", "-s", "-n", lab.namespace(role), "link", "show", "dev", device])
    return int(re.findall(r"RX:.*\n\s+\d+\s+(\d+)", shown)[0])


@contextlib.contextmanager
def second_way(lab: Lab, engine: Engine) -> Iterator[Callable[[], None]]:
    """Another wire between balancer and router, x0 to x1; the value makes the ways to rs1 lead over it."""
    lb, router = lab.namespace("lb"), lab.namespace("router")
    run(["ip", "link", "add", "x0", "netns", lb, "type", "veth", "peer", "name", "x1", "netns", router])
    try:
        for namespace, device, host in ((lb, "x0", 10), (router, "x1", 1)):
            run(["ip", "-n", namespace, "link", "set", device, "up"])
            run(["ip", "-n", namespace, "addr", "add", f"198.18.2.{host}/24", "dev", device])
            run(["ip", "-n", namespace, "addr", "add", f"2001:db8:2::{host}/64", "nodad", "dev", device])
        if engine != PACKET:
            xdp.receive_from_xdp(router, "x1")

        def use() -> None:
            for version, gateway in ((4, "198.18.2.1"), (6, "2001:db8:2::1")):
                server = lab.server_addresses(version)[0]
                run(["ip", f"-{version}", "-n", lb, "route", "replace", f"{server}/{server.max_prefixlen}",
                     "via", gateway, "dev", "x0"])  # fmt: skip

        yield use
    finally:
        run(["ip", "-n", lb, "link", "del", "x0"])


@pytest.mark.parametrize("version", [4, 6])
def test_a_change_of_the_route_to_a_server_is_followed_and_errors_are_heard_there(
    lab: Lab, engine: Engine, serve: Callable[..., Balancer], client: Any, version: int
) -> None:
    balancer = serve(flags=flags(lab, version, version, only="rs1"))
    there = vip(lab, version)
    assert client.requests(2, there)["errors"] == []
    with second_way(lab, engine) as use:
        use()

        def goes_over_it() -> bool:
            before = rx_packets(lab, "router", "x1")
            return client.requests(2, there)["errors"] == [] and rx_packets(lab, "router", "x1") - before >= 8

        assert eventually(goes_over_it, 30)
        with narrow(lab, "rs1", 1400):
            upload = client.upload(2_000_000, there, timeout_s=60)
            assert upload["sent"] == upload["received"]
    # The wire is gone, and with it the route: the next one is the way by the router on e0 again.
    assert eventually(lambda: client.requests(2, there)["errors"] == [], 30)
    told = counters(balancer)
    assert told["tunnel_error"] + told["tunnel_error_told"] > 0


@pytest.mark.parametrize("version", [4, 6])
def test_a_server_that_does_not_unwrap_is_named_and_the_others_go_on(
    lab: Lab, serve: Callable[..., Balancer], client: Any, version: int
) -> None:
    balancer = serve(flags=flags(lab, version, version))
    with inside(lab.namespace("rs2")):
        decap.detach("e0")
    try:
        answered = client.requests(6, vip(lab, version))
        assert sorted(filter(None, answered["servers"])) == ["rs1", "rs1", "rs3", "rs3"]
        line = balancer.wait_for("does not unwrap")
        assert f"backend {lab.server_addresses(version)[1]} " in line
    finally:
        prepare(lab)
    assert client.requests(6, vip(lab, version))["errors"] == []
    assert counters(balancer)["no_decapsulation"] > 0
