"""L2 DSR on real traffic: real clients, real servers, and the balancer in between.

What single frames look like on the wire is in ``test_l2dsr_paths.py``.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lab_wire import SOURCES, about_vips, both, counters, flags, forwarding

from dsrlb.lab.topology import MORE_CLIENTS, MORE_CLIENTS6, VIP, VIP6, Lab, inside, link_bytes, run

MEGABYTE = 1_000_000


@pytest.mark.both_engines(routing=[0])
@pytest.mark.parametrize("routing", [0, 1])
def test_of_1000_requests_none_is_lost_and_rr_is_even_whether_or_not_the_host_forwards(
    lab, serve, client, routing
) -> None:
    with forwarding(lab, routing):
        balancer = serve(flags=flags(lab, *both("80"), scheduler="rr"))
        for vip in (VIP, VIP6):
            answers = client.requests(1000, vip)
            assert answers["errors"] == []
            shares = Counter(answers["servers"])
            assert sorted(shares.values()) == [333, 333, 334], shares
            assert sorted(shares) == ["rs1", "rs2", "rs3"]
        counted = counters(balancer)
    assert about_vips(counted) <= {"forwarded", "arp_reply", "nd_reply"}


@pytest.mark.both_engines(routing=[1])
@pytest.mark.parametrize("routing", [0, 1])
def test_20_mb_uploads_with_offloads_on_arrive_intact(lab, serve, client, routing) -> None:
    with forwarding(lab, routing):
        serve(flags=flags(lab, *both("8080"), scheduler="maglev"))
        for vip in (VIP, VIP6):
            upload = client.upload(20 * MEGABYTE, vip)
            assert upload["bytes"] == 20 * MEGABYTE
            assert upload["received"] == upload["sent"]


def test_many_clients_at_once_lose_nothing(lab, serve, client) -> None:
    serve(flags=flags(lab, *both("80"), scheduler="rr"))
    begun = [client.begin("requests", vip, count=400, parallel=16) for vip in (VIP, VIP6)]
    for process in begun:
        answers = client.result(process)
        assert answers["errors"] == []
        assert sorted(Counter(answers["servers"]).values()) == [133, 133, 134]


def test_replies_do_not_pass_the_balancer(lab, serve, client) -> None:
    serve(flags=flags(lab, *both("80"), scheduler="rr"))
    for vip in (VIP, VIP6):
        before = {role: link_bytes(lab, role) for role in ("lb", *lab.server_names)}
        answers = client.requests(1, vip, path="/file/20m")
        assert answers["bytes"] == 20 * MEGABYTE
        crossed = {role: link_bytes(lab, role) - before[role] for role in before}
        assert sum(crossed[name].sent for name in lab.server_names) > 20 * MEGABYTE
        assert crossed["lb"].sent + crossed["lb"].received < 2 * MEGABYTE  # the client's ACKs


@contextmanager
def narrow_way_to_the_client(lab: Lab) -> Iterator[None]:
    """The router sends the client 1400 bytes at most; the client knows nothing of it and asks for more."""
    router = lab.namespace("router")
    forget = [["ip", "-n", lab.namespace(name), family, "route", "flush", "cache"]
              for name in lab.server_names for family in ("-4", "-6")]  # fmt: skip
    for command in (*forget, ["ip", "-n", router, "link", "set", "c1", "mtu", "1400"]):
        run(command)
    try:
        yield
    finally:
        for command in (["ip", "-n", router, "link", "set", "c1", "mtu", "1500"], *forget):
            run(command)


@pytest.mark.both_engines(scheduler=["maglev"])
@pytest.mark.parametrize("scheduler", ["rr", "maglev"])
def test_downloads_over_a_narrow_path_complete_since_icmp_errors_reach_the_right_server(
    lab, serve, client, scheduler
) -> None:
    balancer = serve(flags=flags(lab, *both("80"), scheduler=scheduler))
    with narrow_way_to_the_client(lab):
        for vip, sources in SOURCES.items():
            thrice = [source for source in sources for _ in range(3)]
            answers = client.requests(len(thrice), vip, path="/file/64k", source=thrice, parallel=3)
            assert (answers["errors"], answers["bytes"]) == ([], len(thrice) << 16)
            answers = client.requests(2, vip, path="/file/1m", source=SOURCES[vip][1])
            assert (answers["errors"], answers["bytes"]) == ([], 2 << 20)
    counted = counters(balancer)
    assert counted["icmp_steered"] >= len(MORE_CLIENTS) + len(MORE_CLIENTS6)
    assert counted["icmp_unmatched"] == 0


def test_the_balancer_answers_pings_of_the_vip_whether_or_not_the_host_forwards(lab, serve) -> None:
    def ping(vip: object, size_bytes: int) -> str:
        # One at a time: ping waits for the last of several no longer than twice the slowest before it took.
        line = ("ping", "-c", "1", "-W", "10", "-s", str(size_bytes), str(vip))
        command = inside(lab.namespace("client"), *line)
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    balancer = serve(flags=flags(lab, *both("80"), scheduler="rr"))
    for routing in (0, 1):
        with forwarding(lab, routing):
            for vip in (VIP, VIP6):
                for size_bytes in (0, 56, 1400):
                    for _ in range(3):
                        assert " 1 received, 0% packet loss" in ping(vip, size_bytes)
    assert counters(balancer)["echo_reply"] == 36


@pytest.mark.both_engines(scheduler=["rr"])
@pytest.mark.parametrize("scheduler", ["rr", "maglev"])
def test_every_datagram_is_answered_from_the_vip_whole_or_in_pieces(lab, serve, client, scheduler) -> None:
    balancer = serve(flags=flags(lab, *both("5353/udp"), scheduler=scheduler))
    for vip in (VIP, VIP6):
        for size_bytes in (32, 1473, 4000, 60_000):
            servers = client.echo(39, vip, size_bytes=size_bytes, timeout_s=5)["servers"]
            assert set(servers) == {"rs1", "rs2", "rs3"}, (vip, size_bytes, servers)
            # 13 each, but for ports that were used before: those are known flows, and keep their server.
            assert scheduler == "maglev" or min(Counter(servers).values()) >= 10
    counted = counters(balancer)
    assert counted["forwarded"] == 2 * 4 * 39
    assert counted["fragment_forwarded"] >= 2 * 39 * (1 + 2 + 40)
    assert not {word for word in counted if "held" in word or "expired" in word or "full" in word}
