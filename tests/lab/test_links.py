"""Does a running balancer go on while its own interfaces come and go?"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab_running import (
    NEW_MAC,
    RS1,
    RS1_6,
    Serve,
    both_versions,
    connects,
    forget_neighbours,
    ours,
    share_of_a_second,
    to,
)
from lab_wire import eventually

from dsrlb.lab.topology import Lab, mac, run
from dsrlb.lab.topology import inside as command_inside


@contextlib.contextmanager
def balancer_link_restored(lab: Lab) -> Iterator[None]:
    """Bring the balancer's interface up after the block, with the routes that its fall took."""
    lb = lab.namespace("lb")
    keep = command_inside(lb, "sysctl", "-qw", "net.ipv6.conf.e0.keep_addr_on_down")
    if lab.ipv6:
        run([*keep[:-1], f"{keep[-1]}=1"])
    try:
        yield
    finally:
        run(["ip", "-n", lb, "link", "set", "e0", "up"])
        run(["ip", "-n", lab.namespace("switch"), "link", "set", "p-lb", "up"])
        run(["ip", "-n", lb, "route", "replace", "default", "via", "198.18.1.1", "src", "198.18.1.10"])
        if lab.ipv6:
            run([*keep[:-1], f"{keep[-1]}=0"])
            run(["ip", "-n", lb, "route", "replace", "::/0", "via", "2001:db8:1::1", "src", "2001:db8:1::10"])


@pytest.mark.parametrize(
    ("role", "device"), [("lb", "e0"), ("switch", "p-lb")], ids=["switched off", "cable out"]
)
def test_an_interface_that_goes_down_and_comes_back_is_logged_and_forwards_again(
    role: str, device: str, lab: Lab, serve: Serve
) -> None:
    running = serve(flags=to(RS1, *[RS1_6] * lab.ipv6, more=both_versions(lab)))

    def all_connect() -> bool:
        return all(connects(lab, vip) for vip in lab.vips)

    with balancer_link_restored(lab):
        for times in (1, 2):
            assert eventually(all_connect, 20)
            run(["ip", "-n", lab.namespace(role), "link", "set", device, "down"])
            assert eventually(lambda times=times: running.stderr.count("interface e0 is down") == times, 20)
            assert not connects(lab)
            run(["ip", "-n", lab.namespace(role), "link", "set", device, "up"])
            assert eventually(lambda times=times: running.stderr.count("interface e0 is up") == times, 20)
        assert eventually(all_connect, 20)
        assert share_of_a_second(running.process) < 0.5
    assert running.stop() == 0
    assert "Traceback" not in running.stderr


def test_an_interface_that_is_deleted_leaves_the_others_forwarding(
    lab: Lab, serve: Serve, second: Callable[..., None], client: Any
) -> None:
    second("router", "198.18.3.10/24", "198.18.3.1/24")
    running = serve(flags=to(RS1, interfaces=["e0", "x0"]))
    run(["ip", "-n", lab.namespace("lb"), "link", "del", "x0"])
    running.wait_for("interface x0 is (gone|down)")
    assert client.requests(6)["errors"] == []
    assert share_of_a_second(running.process) < 0.5
    assert running.stop() == 0
    assert "Traceback" not in running.stderr and not ours(lab)


def test_when_its_only_interface_is_deleted_the_process_rests(
    lab: Lab, serve: Serve, second: Callable[..., None]
) -> None:
    second("router", "198.18.3.10/24", "198.18.3.1/24")
    running = serve(flags=to(RS1, interfaces=["x0"]))
    run(["ip", "-n", lab.namespace("lb"), "link", "del", "x0"])
    running.wait_for("interface x0 is (gone|down)")
    assert share_of_a_second(running.process) < 0.5
    assert running.stop() == 0
    assert "Traceback" not in running.stderr and not ours(lab)


def test_the_balancer_s_own_new_mac_is_announced_and_used(lab: Lab, serve: Serve) -> None:
    serve()
    assert eventually(lambda: connects(lab), 20)
    try:
        run(["ip", "-n", lab.namespace("lb"), "link", "set", "e0", "address", NEW_MAC])
        assert eventually(lambda: connects(lab), 20)
    finally:
        run(["ip", "-n", lab.namespace("lb"), "link", "set", "e0", "address", mac("lb")])
        forget_neighbours(lab)


def test_rules_that_somebody_flushes_come_back(lab: Lab, serve: Serve) -> None:
    # systemd-networkd does that when it starts again (ManageForeignRoutingPolicyRules=).
    running = serve(flags=to(RS1, more=both_versions(lab)))
    before = ours(lab)
    for rule in before.splitlines():
        vip = rule.split(" to ")[1].split()[0]
        family = ["-6"] if ":" in vip else []
        run(["ip", "-n", lab.namespace("lb"), *family, "rule", "del", "iif", "e0", "to", vip, "pref", "10"])
    assert eventually(lambda: ours(lab) == before, 20)  # it may take no time at all
    assert running.stop() == 0 and not ours(lab)


@contextlib.contextmanager
def clients_behind_x0(lab: Lab) -> Iterator[None]:
    """Have the router reach the VIP by the balancer's second interface."""
    route = ["ip", "-n", lab.namespace("router"), "route"]
    run([*route, "replace", "198.18.1.100/32", "dev", "x1"])
    try:
        yield
    finally:
        subprocess.run([*route, "del", "198.18.1.100/32"], capture_output=True, check=False)


@pytest.mark.both_engines(xdp_mode=["native"])
def test_an_interface_that_is_renamed_or_deleted_and_made_anew_forwards_again(
    lab: Lab, serve: Serve, second: Callable[..., None]
) -> None:
    x0 = ["ip", "-n", lab.namespace("lb"), "link"]
    wire = "router", "198.18.3.10/24", "198.18.3.1/24"
    second(*wire)
    with clients_behind_x0(lab):
        running = serve(flags=to(RS1, interfaces=["x0"]))
        assert eventually(lambda: connects(lab), 20)
        for old, new in (("x0", "y0"), ("y0", "x0")):
            for change in (("down",), ("name", new), ("up",)):
                run([*x0, "set", old if change == ("down",) or change[0] == "name" else new, *change])
            assert eventually(lambda new=new: f"iif {new} " in ours(lab), 20)
            assert eventually(lambda: connects(lab), 20)
        run([*x0, "del", "x0"])
        running.wait_for("interface x0 is down \\(gone\\)")
        assert not connects(lab)
        second(*wire)
    with clients_behind_x0(lab):  # its route went with the interface
        running.wait_for("interface x0 is there again")
        assert eventually(lambda: connects(lab), 20)
        assert share_of_a_second(running.process) < 0.5
    assert running.stop() == 0
    assert "Traceback" not in running.stderr and not ours(lab)


@pytest.mark.both_engines(xdp_mode=["native"])
def test_a_server_is_found_again_behind_an_interface_that_is_deleted_and_made_anew(
    lab: Lab, serve: Serve, second: Callable[..., None]
) -> None:
    wire = "rs1", "198.18.3.10/24", "198.18.3.11/24"
    second(*wire)
    running = serve(flags=to("198.18.3.11"))
    assert eventually(lambda: connects(lab), 20)
    run(["ip", "-n", lab.namespace("lb"), "link", "del", "x0"])
    running.wait_for("backend 198.18.3.11 is unresolved")
    assert not connects(lab)
    second(*wire)
    assert eventually(lambda: connects(lab), 20), running.stderr
    assert running.stop() == 0
    assert "Traceback" not in running.stderr and not ours(lab)
