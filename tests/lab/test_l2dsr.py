"""L2 DSR on real traffic: real clients, real servers, and the balancer in between.

What single frames look like on the wire is in ``test_l2dsr_paths.py``.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest
from lab_wire import both, counters, flags, forwarding

from dsrlb.lab.topology import (
    CLIENT,
    CLIENT6,
    MORE_CLIENTS,
    MORE_CLIENTS6,
    VIP,
    VIP6,
    Lab,
    inside,
    link_bytes,
    run,
)

SOURCES = {VIP: (CLIENT, *MORE_CLIENTS), VIP6: (CLIENT6, *MORE_CLIENTS6)}
MEGABYTE = 1_000_000


def wait_until(true: Callable[[], bool], deadline_s: float) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, "what was awaited did not come"
        time.sleep(0.01)


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
    assert set(counted) <= {"forwarded", "arp_reply", "nd_reply"}


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


def test_wrr_follows_the_weights_exactly_in_every_cycle_and_not_in_bursts(lab, serve, client) -> None:
    serve(flags=flags(lab, f"{VIP}:80", scheduler="wrr", weights=(3, 2, 1)))
    answers = client.requests(600)
    assert answers["errors"] == []
    cycles = [answers["servers"][at : at + 6] for at in range(0, 600, 6)]
    assert all(Counter(cycle) == {"rs1": 3, "rs2": 2, "rs3": 1} for cycle in cycles)
    assert not any(a == b == c for a, b, c in zip(*(answers["servers"][i:] for i in range(3)), strict=False))


def test_a_backend_of_weight_zero_gets_nothing(lab, serve, client) -> None:
    serve(flags=flags(lab, f"{VIP}:80", scheduler="maglev", weights=(1, 0, 1)))
    answers = client.requests(100)
    assert answers["errors"] == []
    assert set(answers["servers"]) == {"rs1", "rs3"}


def test_hash_gives_each_client_one_server_and_uses_several(lab, serve, client) -> None:
    chosen: dict[object, set[str]] = {}
    for _ in range(2):  # the second round is another balancer's: it knows nothing and picks the same
        balancer = serve(flags=flags(lab, *both("80"), scheduler="hash"))
        for vip, sources in SOURCES.items():
            answers = client.requests(6 * 20, vip, source=sources[:6], parallel=6)
            assert answers["errors"] == []
            for server, body in zip(answers["servers"], answers["bodies"], strict=True):
                chosen.setdefault(ip_address(body.split()[1]), set()).add(server)
        balancer.stop()
    assert set(chosen) == {source for sources in SOURCES.values() for source in sources[:6]}
    assert all(len(servers) == 1 for servers in chosen.values()), chosen
    for sources in SOURCES.values():
        assert len(set.union(*(chosen[source] for source in sources[:6]))) > 1


def test_maglev_spreads_connections_plausibly(lab, serve, client) -> None:
    serve(flags=flags(lab, *both("80"), scheduler="maglev"))
    for vip in (VIP, VIP6):
        answers = client.requests(600, vip)
        assert answers["errors"] == []
        shares = Counter(answers["servers"])
        # 200 each are expected, with a standard deviation of 11.5.
        assert all(140 < shares[name] < 260 for name in lab.server_names), shares


def test_replies_do_not_pass_the_balancer(lab, serve, client) -> None:
    serve(flags=flags(lab, *both("80"), scheduler="rr"))
    for vip in (VIP, VIP6):
        before = {role: link_bytes(lab, role) for role in ("lb", *lab.server_names)}
        answers = client.requests(1, vip, path="/file/20m")
        assert answers["bytes"] == 20 * MEGABYTE
        crossed = {role: link_bytes(lab, role) - before[role] for role in before}
        assert sum(crossed[name].sent for name in lab.server_names) > 20 * MEGABYTE
        assert crossed["lb"].sent + crossed["lb"].received < 2 * MEGABYTE  # the client's ACKs


@pytest.mark.parametrize("scheduler", ["maglev", "hash"])
def test_long_downloads_go_on_byte_for_byte_over_a_restart_of_the_balancer(
    lab, serve, client, scheduler
) -> None:
    line = flags(lab, *both("8080"), scheduler=scheduler)
    balancer = serve(flags=line)
    sources = [(vip, source) for vip in (VIP, VIP6) for source in SOURCES[vip][:5]]
    shape = {"size_bytes": 1_200_000, "rate": 200_000}
    before = link_bytes(lab, "client", "c0").received
    begun = [client.begin("download", vip, source=source, **shape) for vip, source in sources]
    wait_until(lambda: link_bytes(lab, "client", "c0").received - before > 2 * MEGABYTE, 60)
    stopped_at = time.monotonic()
    assert balancer.stop() == 0
    wait_until(lambda: time.monotonic() - stopped_at > 1, 2)
    serve(flags=line)
    downloads = [client.result(process) for process in begun]
    assert [one["error"] for one in downloads] == [""] * len(begun)
    assert all(one["intact"] for one in downloads)
    assert all(one["longest_pause_s"] > 0.5 for one in downloads), "the restart came too early or too late"
    assert len({one["server"] for one in downloads}) > 1


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


def test_port_star_takes_every_port_and_a_named_port_comes_before_it(lab, serve, client) -> None:
    balancer = serve(flags=flags(lab, f"{VIP}:80", *both("*"), *both("*/udp"), scheduler="rr"))
    assert client.requests(6)["errors"] == []
    for vip in (VIP, VIP6):
        assert client.requests(6, vip, port=8080)["errors"] == []
        assert None not in client.echo(6, vip)["servers"]
    assert client.requests(6, VIP6)["errors"] == []
    balancer.stop()
    packets: Counter[str] = Counter()
    for service, count in re.findall(r"^(\S+/\w+) +\S+ +(\d+) ", balancer.stdout, re.M):
        packets[service] += int(count)
    assert all(packets[f"{VIP}:{port}"] for port in ("80/tcp", "*/tcp", "*/udp"))
    assert all(packets[f"[{VIP6}]:{port}"] for port in ("*/tcp", "*/udp"))


def test_two_services_on_one_vip_are_balanced_each_on_its_own(lab, serve, client) -> None:
    serve(flags=flags(lab, f"{VIP}:80", f"{VIP}:8080", f"{VIP}:5353/udp", scheduler="rr"))
    # In turn: if the services shared one count, each would meet one and the same server every time.
    rounds = [(client.requests(1), client.requests(1, port=8080), client.echo(1)) for _ in range(3)]
    for answers in zip(*rounds, strict=True):
        assert sorted(one["servers"][0] for one in answers) == ["rs1", "rs2", "rs3"]


@contextmanager
def unplugged(lab: Lab, server: str) -> Iterator[Callable[[], str]]:
    """Pull a server's cable out of the switch; the value plugs it in again."""
    port = ["ip", "-n", lab.namespace("switch"), "link", "set", f"p-{server}"]
    run([*port, "down"])
    try:
        yield lambda: run([*port, "up"])
    finally:
        run([*port, "up"])


def test_when_a_server_goes_away_known_flows_stay_and_new_ones_avoid_it_until_it_is_back(
    lab, serve, client
) -> None:
    balancer = serve(flags=flags(lab, f"{VIP}:80", f"{VIP}:8080", scheduler="rr"))
    before = {name: link_bytes(lab, name).sent for name in lab.server_names}
    begun = [client.begin("download", size_bytes=800_000, rate=80_000) for _ in range(3)]
    for name in lab.server_names:
        wait_until(lambda name=name: link_bytes(lab, name).sent - before[name] > 50_000, 30)
    with unplugged(lab, "rs2") as plug_in:
        balancer.wait_for(r"backend 198\.18\.1\.12 is unresolved")
        answers = client.requests(30)
        assert answers["errors"] == []
        assert Counter(answers["servers"]) == {"rs1": 15, "rs3": 15}
        plug_in()
        balancer.wait_for(r"backend 198\.18\.1\.12 is at 02:00:c6:12:01:12")
    assert Counter(client.requests(30)["servers"]) == {"rs1": 10, "rs2": 10, "rs3": 10}
    downloads = {one["server"]: one for one in map(client.result, begun)}
    assert sorted(downloads) == ["rs1", "rs2", "rs3"]
    assert all(one["intact"] for one in downloads.values()), downloads
    paused_s = {name: one["longest_pause_s"] for name, one in downloads.items()}
    assert max(paused_s["rs1"], paused_s["rs3"]) < paused_s["rs2"] / 2, paused_s  # it was away for 5 s
