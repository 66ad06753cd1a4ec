"""Does a running balancer follow its servers, wherever they move, and count what it sends them?"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from lab_running import (
    ARP_LOCKTIME_S,
    NEW_MAC,
    RS1,
    RS1_6,
    RS2,
    VERSIONS,
    Serve,
    backends,
    concerns,
    connects,
    heard,
    ours,
    reasons,
    share_of_a_second,
    tap,
    to,
)
from lab_wire import HOSTS_OWN, eventually, soon

from dsrlb.lab.topology import VIP, VIP6, Lab, mac, run
from dsrlb.lab.topology import inside as command_inside


@pytest.fixture
def rs1_as_before(lab: Lab) -> Iterator[None]:
    yield
    run(["ip", "-n", lab.namespace("rs1"), "link", "set", "e0", "address", mac("rs1")])


@VERSIONS
def test_a_server_s_new_mac_is_followed_within_1_s_without_its_announcing_it(
    version: int, lab: Lab, serve: Serve, rs1_as_before: None
) -> None:
    vip, rs1 = (VIP, RS1) if version == 4 else (VIP6, RS1_6)
    running = serve(flags=to(rs1, vip=vip))

    def took_s(number: int) -> float:
        new = f"{NEW_MAC[:-1]}{number}"
        assert eventually(lambda: connects(lab, vip), 20)
        time_of_rest = time.monotonic() + ARP_LOCKTIME_S
        assert eventually(lambda: time.monotonic() > time_of_rest, 20)
        run(["ip", "-n", lab.namespace("rs1"), "link", "set", "e0", "address", new])
        changed = time.monotonic()
        assert eventually(lambda: connects(lab, vip, timeout_s=0.1), 20)
        after_s = time.monotonic() - changed
        running.wait_for(f"backend {rs1} is at {new}")
        return after_s

    soon(took_s, promised_s=1)


def test_an_unresolved_server_is_named_gets_nothing_and_is_named_again_when_it_is_found(
    lab: Lab, serve: Serve, client: Any
) -> None:
    switch = lab.namespace("switch")
    run(["ip", "-n", switch, "link", "set", "p-rs2", "down"])
    try:
        running = serve("--scheduler", "rr")
        running.wait_for(f"backend {RS2} is unresolved")
        assert set(client.requests(12)["servers"]) == {"rs1", "rs3"}
        run(["ip", "-n", switch, "link", "set", "p-rs2", "up"])
        assert mac("rs2") in running.wait_for(f"backend {RS2} is at")
        assert set(client.requests(12)["servers"]) == {"rs1", "rs2", "rs3"}
    finally:
        run(["ip", "-n", switch, "link", "set", "p-rs2", "up"])
    assert running.stop() == 0
    assert running.stderr.count(f"backend {RS2} is unresolved") == 1


def test_a_server_that_dies_is_named_and_new_connections_go_to_the_others(
    lab: Lab, serve: Serve, client: Any
) -> None:
    switch = lab.namespace("switch")
    running = serve("--scheduler", "rr")
    try:
        run(["ip", "-n", switch, "link", "set", "p-rs2", "down"])
        running.wait_for(f"backend {RS2} is unresolved")
        answers = client.requests(12)
        assert answers["errors"] == [] and set(answers["servers"]) == {"rs1", "rs3"}
    finally:
        run(["ip", "-n", switch, "link", "set", "p-rs2", "up"])


def test_a_server_whose_mac_is_given_is_never_asked_for(lab: Lab, serve: Serve, client: Any) -> None:
    nobody = ip_address("198.18.1.77")  # nobody has this address: only the MAC leads to rs1
    with tap(lab.namespace("switch"), "p-lb") as hearing:
        running = serve(flags=to(f"{nobody},mac={mac('rs1')}"))
        assert client.requests(6)["servers"] == ["rs1"] * 6
        assert running.stop() == 0
        asked = [one for one in heard(hearing) if one[12:14] == b"\x08\x06" and one[38:42] == nobody.packed]
    assert asked == []
    assert backends(running.stdout)[str(nobody)][2] == 6


def test_a_server_behind_another_interface_than_the_vip_s_is_served_by_that_one(
    lab: Lab, serve: Serve, second: Callable[..., None], client: Any
) -> None:
    second("rs3", "198.18.2.10/24", "198.18.2.13/24")
    with tap(lab.namespace("rs3"), "x1") as hearing:
        running = serve(flags=to("198.18.2.13", RS1, more=["--scheduler", "rr"]))
        answers = client.requests(8)
        assert answers["errors"] == [] and answers["servers"].count("rs3") == 4
        client_packets = [one for one in heard(hearing) if concerns(one, [VIP.packed])]
    assert running.stop() == 0
    assert len(client_packets) == backends(running.stdout)["198.18.2.13"][0] > 0


def test_the_way_to_a_server_can_be_deleted_while_others_are_served(
    lab: Lab, serve: Serve, second: Callable[..., None], client: Any
) -> None:
    second("rs3", "198.18.2.10/24", "198.18.2.13/24")
    running = serve(flags=to("198.18.2.13", RS1, more=["--scheduler", "rr"]))
    assert set(client.requests(4)["servers"]) == {"rs1", "rs3"}
    run(["ip", "-n", lab.namespace("lb"), "link", "del", "x0"])
    running.wait_for("backend 198.18.2.13 is unresolved")
    answers = client.requests(8)
    assert answers["errors"] == [] and set(answers["servers"]) == {"rs1"}
    assert share_of_a_second(running.process) < 0.5
    assert running.stop() == 0
    assert "Traceback" not in running.stderr


def test_frames_of_a_vip_are_taken_from_every_interface_given(
    lab: Lab, serve: Serve, second: Callable[..., None], client: Any
) -> None:
    second("router", "198.18.3.10/24", "198.18.3.1/24")
    running = serve(flags=to(RS1, interfaces=["e0", "x0"]))
    assert len(ours(lab).splitlines()) == 2
    assert client.requests(4)["errors"] == []
    router = lab.namespace("router")
    with tap(router, "x1") as hearing:
        run(["ip", "-n", router, "route", "add", f"{VIP}/32", "dev", "x1"])
        try:
            assert client.requests(4)["errors"] == []
        finally:
            run(["ip", "-n", router, "route", "del", f"{VIP}/32", "dev", "x1"])
        assert sum(one[30:34] == VIP.packed for one in heard(hearing, outgoing=True)) >= 4 * 4
    assert running.stop() == 0
    assert backends(running.stdout)[RS1][2] == 8
    assert not ours(lab)


def test_every_frame_taken_is_counted_under_one_reason_and_every_one_sent_at_one_backend(
    lab: Lab, serve: Serve, client: Any
) -> None:
    more = ["--vip", f"{VIP}:5353/udp", "--backend", RS2]
    if lab.ipv6:
        more += ["--vip", f"[{VIP6}]:80", "--vip", f"[{VIP6}]:5353/udp"]
    running = serve(flags=to(RS1, more=more))
    with tap(lab.namespace("switch"), "p-lb") as hearing:  # no socket of the balancer's hears what XDP takes
        running.process.send_signal(signal.SIGUSR1)
        assert eventually(lambda: "reason  " in running.stdout, 20)
        for vip in lab.vips:
            assert client.requests(20, host=vip)["errors"] == []
            assert None not in client.echo(20, host=vip)["servers"]
            assert not connects(lab, vip, port=81)
            for _ in range(
                3
            ):  # one at a time: ping waits for the last of several no longer than for the others
                run(command_inside(lab.namespace("client"), "ping", "-c", "1", "-W", "10", str(vip)))
        assert running.stop() == 0
        packed = [vip.packed for vip in lab.vips]
        taken = sum(concerns(one, packed) for one in heard(hearing, outgoing=True))
    first, last = (
        {word: count for word, count in reasons("reason  " + part).items() if word not in HOSTS_OWN}
        for part in running.stdout.split("reason  ")[1:]
    )
    assert sum(last.values()) - sum(first.values()) == taken, (first, last)
    assert last["echo_reply"] == 3 * len(lab.vips)
    assert last["no_service"] >= len(lab.vips)
    by_backend = backends(running.stdout)
    assert sum(packets for packets, _, _ in by_backend.values()) == last["forwarded"]
    syns = sum(flows for _, _, flows in by_backend.values())  # by maglev: a repeated one counts again
    assert 20 * len(lab.vips) <= syns < 30 * len(lab.vips)
