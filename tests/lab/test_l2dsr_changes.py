"""L2 DSR on real traffic: do known flows live on when the balancer is started again, or a server goes?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from lab_wire import SOURCES, both, flags

from dsrlb.lab.topology import VIP, VIP6, Lab, link_bytes, run

MEGABYTE = 1_000_000


def wait_until(true: Callable[[], bool], deadline_s: float) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, "what was awaited did not come"
        time.sleep(0.01)


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
