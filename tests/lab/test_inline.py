"""Inline: real clients and servers through a balancer that translates, in each layout, as users see it."""

from __future__ import annotations

import select
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lab_engine import PACKET
from lab_wire import TEST_PREFIX, counters, eventually, forwarding, inside, narrow, no_wrong_checksums
from pyroute2.nftables.expressions import genex
from pyroute2.nftables.main import NFTables

from dsrlb.lab.client import ask
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import CLIENT, VIP, VIP6, Lab
from dsrlb.lab.topology import inside as command_inside

LAYOUTS: dict[str, dict[str, bool]] = {
    "two interfaces": {},
    "one-armed": {"one_armed": True},
    "snat": {"one_armed": True, "snat": True},
}
IP_RECVERR, IPV6_RECVERR, MSG_ERRQUEUE = 11, 25, 0x2000  # linux/in.h, linux/in6.h, linux/socket.h
NFT_KEY_STATE = 0  # linux/netfilter/nf_tables.h, NFT_CT_STATE


@pytest.fixture(scope="module", params=LAYOUTS.values(), ids=LAYOUTS.keys())
def lab(request: pytest.FixtureRequest, shared_directories: None) -> Iterator[Lab]:
    with standing(Lab(prefix=f"{TEST_PREFIX}i-", mode="inline", **request.param)) as it:
        yield it


def flags(lab: Lab, port: str, own: int | None = None, version: int = 4) -> list[str]:
    """Return the flags for one port of a VIP before all servers, which may listen on a port of their own."""
    vip = f"[{VIP6}]" if version == 6 else str(VIP)
    line = ["--mode", "inline", "--interface", "e0", "--scheduler", "rr", "--vip", f"{vip}:{port}"]
    for address in lab.server_addresses(version):
        host = f"[{address}]" if version == 6 else str(address)
        line += ["--backend", host if own is None else f"{host}:{own}"]
    return [*line, *["--snat"] * lab.snat]


def vip_of(version: int) -> object:
    return VIP6 if version == 6 else VIP


@pytest.mark.both_engines(lab=[{}])
@pytest.mark.parametrize("version", [4, 6])
def test_500_connections_up_and_down_with_their_port_translated(lab, serve, client, version) -> None:
    balancer = serve(flags=flags(lab, "80", 8080, version))
    count = 500 if version == 4 else 100
    with no_wrong_checksums(lab):
        work = {"port": 80, "count": count, "size_bytes": 20_000, "parallel": 8, "timeout_s": 60}
        result = client.result(client.begin("exchange", vip_of(version), **work), 300)
    assert result["errors"] == []
    assert all(result["servers"].count(name) >= count // 3 for name in lab.server_names)
    counted = counters(balancer)
    assert counted["forwarded"] >= 4 * count and counted["reply_forwarded"] >= 4 * count
    for reason in ("refused", "snat_exhausted", "send_failed", "send_too_big", "malformed", "ttl_dropped"):
        assert not counted[reason], counted


@pytest.mark.both_engines(lab=[{}], xdp_mode=["native"], version=[6])
@pytest.mark.parametrize("version", [4, 6])
def test_a_check_at_the_very_port_of_the_service_hears_the_server(lab, serve, client, version) -> None:
    check = "--check", "tcp,interval=0.3,timeout=0.3,fall=3,rise=2"
    address = str(lab.server_addresses(version)[0])
    with socket_listening(lab, "rs1", version):
        balancer = serve(*check, flags=flags(lab, "8090", version=version))
        for one in lab.server_addresses(version)[1:]:  # nobody listens there: all have been asked by then
            balancer.wait_for(f"backend {one} of .* is down: refused")
    balancer.wait_for(f"backend {address} of .* is down: refused")
    with socket_listening(lab, "rs1", version):
        balancer.wait_for(f"backend {address} of .* is up again")
    assert "no_answer" not in balancer.stderr
    assert balancer.stop() == 0
    assert not counters(balancer)["reply_unmatched"]


@contextmanager
def socket_listening(lab: Lab, role: str, version: int) -> Iterator[None]:
    """Listen at port 8090 of a server."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with inside(lab.namespace(role)):
        listening = socket.create_server(("", 8090), family=family)
    with listening:
        yield


@pytest.mark.parametrize("version", [4, 6])
def test_a_client_that_has_no_more_to_say_still_hears_the_whole_answer(lab, serve, client, version) -> None:
    serve(flags=flags(lab, "80", 8080, version))
    with no_wrong_checksums(lab):
        for _ in range(3):
            done = client.download(1_000_000, vip_of(version), port=80, half_close=True)
            assert (done["bytes"], done["intact"], done["error"]) == (1_000_000, True, "")


@pytest.mark.both_engines(lab=[{}])
@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_are_answered_from_where_they_were_sent_to_cut_ones_too(
    lab, serve, client, version
) -> None:
    serve(flags=flags(lab, "53/udp", 5353, version))
    with no_wrong_checksums(lab):
        for size_bytes in (32, 1400, 5000):
            answers = client.echo(6, vip_of(version), port=53, size_bytes=size_bytes)["servers"]
            assert answers == ["rs1", "rs2", "rs3"] * 2


def test_the_server_sees_the_client_or_with_snat_the_vip(lab, serve, client) -> None:
    serve(flags=flags(lab, "80"))
    bodies = client.requests(3)["bodies"]
    seen = VIP if lab.snat else CLIENT
    assert bodies == [f"rs{number} {seen}\n" for number in (1, 2, 3)]


@contextmanager
def tracked(lab: Lab) -> Iterator[None]:
    """Turn connection tracking on in the balancer's node, by a rule that asks for a packet's state."""
    with inside(lab.namespace("lb")):
        tables = NFTables(nfgen_family=socket.AF_INET)
    try:
        tables.table("add", name="t")
        tables.chain("add", table="t", name="c", hook="prerouting", type="filter")
        look = genex("ct", {"dreg": 1, "key": NFT_KEY_STATE})
        tables.rule("add", table="t", chain="c", expressions=([look],))
        yield
        tables.table("del", name="t")
    finally:
        tables.close()


def tracked_connections(lab: Lab) -> str:
    command = command_inside(lab.namespace("lb"), "cat", "/proc/net/nf_conntrack")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("routing", [0, 1])
def test_the_host_s_own_stack_has_no_part_in_it_not_even_connection_tracking(
    lab, serve, client, tap, routing
) -> None:
    with forwarding(lab, routing), tracked(lab):
        serve(flags=flags(lab, "80", 8080))
        at_router = tap("router")
        assert client.requests(30, port=80)["errors"] == []
        at_router.until(lambda: len(at_router.received) >= 90)
        assert tracked_connections(lab).count(str(VIP)) == 0
        ping = command_inside(lab.namespace("lb"), "ping", "-c1", "-W5", str(lab.server_addresses()[0]))
        subprocess.run(ping, check=True, capture_output=True)
        assert "icmp" in tracked_connections(lab)  # what the host does itself is tracked
    to_client = [frame for frame in at_router.received if frame[30:34] == CLIENT.packed]
    assert {frame[26:30] for frame in to_client} == {VIP.packed}  # not one copy that was not translated


def test_what_servers_send_on_their_own_account_is_the_host_s_to_route(lab, serve, client) -> None:
    serve(flags=flags(lab, "80", 8080))
    ping = command_inside(lab.namespace("rs1"), "ping", "-c1", "-W5", str(CLIENT))
    with forwarding(lab, 1):
        subprocess.run(ping, check=True, capture_output=True)
        assert client.requests(3)["errors"] == []


def hop(lab: Lab, version: int, ttl: int, port: int) -> tuple[str, int, int]:
    """Send a datagram that lives for so many hops; return who complains, and the type and code it says."""
    family, level = (socket.AF_INET6, socket.IPPROTO_IPV6) if version == 6 else (socket.AF_INET, 0)
    with inside(lab.namespace("client")):
        probe = socket.socket(family, socket.SOCK_DGRAM)
    with probe:
        probe.setsockopt(level, IPV6_RECVERR if version == 6 else IP_RECVERR, 1)
        probe.setsockopt(level, socket.IPV6_UNICAST_HOPS if version == 6 else socket.IP_TTL, ttl)
        probe.connect((str(vip_of(version)), port))
        probe.send(b"probe")
        heard = select.poll()
        heard.register(probe, 0)  # for errors, which are always told
        assert heard.poll(10_000), "nobody complains"
        _, ancillary, _, _ = probe.recvmsg(512, 512, MSG_ERRQUEUE)
    ((_, _, said),) = ancillary  # struct sock_extended_err, then the offender's sockaddr
    _, _, kind, code = struct.unpack_from("=IBBB", said)
    at = 16 + (8 if version == 6 else 4)
    offender = said[at : at + (16 if version == 6 else 4)]
    return socket.inet_ntop(family, offender), kind, code


@pytest.mark.parametrize("version", [4, 6])
def test_traceroute_shows_the_router_then_the_vip_then_the_server_s_answer_as_the_vip(
    lab, serve, version
) -> None:
    serve(flags=flags(lab, "9/udp", version=version))  # where no server listens
    router = {4: "198.18.0.1", 6: "2001:db8::1"}[version]
    exceeded, unreachable = {4: ((11, 0), (3, 3)), 6: ((3, 0), (1, 4))}[version]
    assert hop(lab, version, 1, 9) == (router, *exceeded)
    assert hop(lab, version, 2, 9) == (str(vip_of(version)), *exceeded)
    assert hop(lab, version, 3, 9) == (str(vip_of(version)), *unreachable)


def test_the_sender_believes_what_it_is_told_of_a_port_where_nobody_listens(lab, serve) -> None:
    serve(flags=flags(lab, "9/udp"))
    assert ask(lab, "knock", host=VIP, port=9)["said"] == "ConnectionRefusedError"
    assert ask(lab, "knock", host=VIP, port=9, size_bytes=1200)["said"] == "ConnectionRefusedError"


@pytest.mark.both_engines(lab=[{}], version=[4])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("role", ["rs1", "router"])
def test_a_narrow_link_on_either_side_is_found_by_path_mtu_discovery(
    lab, serve, client, role, version
) -> None:
    device = "c1" if role == "router" else "e0"
    with narrow(lab, role, 1400, device):
        balancer = serve(flags=flags(lab, "80", 8080, version))
        for seed in range(3):
            sent = client.upload(300_000, vip_of(version), port=80, seed=seed)
            assert sent["received"] == sent["sent"]
            assert client.download(300_000, vip_of(version), port=80)["intact"]
        counters(balancer)


@pytest.mark.both_engines(lab=[{}], xdp_mode=["native"])
def test_nothing_is_left_behind_and_after_a_crash_the_next_run_cleans_up(lab, serve, client, engine) -> None:
    def rules() -> str:
        return subprocess.run(
            ["ip", "-n", lab.namespace("lb"), "rule"], check=True, capture_output=True, text=True
        ).stdout

    before, line = rules(), flags(lab, "80", 8080)
    crashed = serve(flags=line)
    assert rules().count("sport 8080") == (0 if lab.snat else 3 * len(lab.interfaces))
    crashed.process.kill()
    crashed.process.wait()
    lost = client.requests(3, lost_max=1, timeout_s=1)["errors"]
    assert bool(lost) == (engine == PACKET)  # on XDP the program goes on without its process
    again = serve(flags=line)
    assert eventually(lambda: client.requests(3)["errors"] == [], 10)
    assert again.stop() == 0
    assert rules() == before
