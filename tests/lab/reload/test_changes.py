"""Does a reload change what the file changed, and nothing else?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab_reload import DEADLINE_S, Start, Write, answers_for, open_files, packet_sockets, reload, service
from lab_running import RS1, RS2, RS3, connects, is_claimed, ours
from lab_wire import eventually

from dsrlb.lab.topology import VIP, VIP6, Lab, run


def test_a_new_vip_is_served_after_a_reload_and_a_removed_one_leaves_no_trace(
    lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(service(RS1, RS2))
    running = start()
    assert client.requests(4)["errors"] == []
    before = open_files(running)

    write(service(RS1, RS2), service(RS1, RS2, vip=VIP6))
    said = reload(running)
    assert f"added [{VIP6}]:80/tcp" in said and "removed" not in said
    assert client.requests(4)["errors"] == client.requests(4, host=VIP6)["errors"] == []
    assert answers_for(lab, VIP6) and is_claimed(lab, VIP6) and len(ours(lab).splitlines()) == 2

    write(service(RS1, RS2, vip=VIP6))
    assert f"removed {VIP}:80/tcp" in reload(running)
    assert client.requests(4, host=VIP6)["errors"] == []
    assert not answers_for(lab, VIP) and not is_claimed(lab, VIP)
    assert str(VIP) not in ours(lab) and str(VIP6) in ours(lab)
    assert not connects(lab)

    write(service(RS1, RS2))
    reload(running)
    assert client.requests(4)["errors"] == []
    assert not answers_for(lab, VIP6)
    assert eventually(lambda: open_files(running) == before, DEADLINE_S), (before, open_files(running))
    assert running.stop() == 0
    assert not ours(lab) and "Traceback" not in running.stderr


def test_servers_weights_and_schedulers_are_those_of_the_file(
    start: Start, write: Write, client: Any
) -> None:
    write(service(RS1, scheduler="rr"))
    running = start()
    assert set(client.requests(4)["servers"]) == {"rs1"}
    write(service(RS1, f"{RS2},3", scheduler="wrr"))
    assert f"changed {VIP}:80/tcp" in reload(running)
    servers = client.requests(8)["servers"]
    assert (servers.count("rs1"), servers.count("rs2")) == (2, 6)
    write(service(f"{RS1},0", f"{RS2},3", RS3, scheduler="wrr"))  # rs1 is drained
    reload(running)
    servers = client.requests(8)["servers"]
    assert (servers.count("rs1"), servers.count("rs2"), servers.count("rs3")) == (0, 6, 2)
    assert "nothing changed" in reload(running)


def test_a_new_server_gets_its_share_from_the_first_connection_on(
    lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(service(RS1))
    running = start()
    run(["ip", "-n", lab.namespace("lb"), "neigh", "flush", "dev", "e0", "to", RS2])
    write(service(RS1, RS2))
    reload(running)
    assert client.requests(2)["servers"].count("rs2") == 1


def test_an_interface_that_is_new_in_the_file_is_served_and_one_that_is_gone_is_not(
    lab: Lab, start: Start, write: Write, second: Callable[..., None], client: Any
) -> None:
    second("router", "198.18.3.10/24", "198.18.3.1/24")
    write(service(RS1))
    running = start()
    sockets, files = packet_sockets(lab), open_files(running)
    router = lab.namespace("router")

    write(service(RS1), interfaces=["e0", "x0"])
    assert "interfaces e0, x0" in reload(running)
    assert len(ours(lab).splitlines()) == 2
    run(["ip", "-n", router, "route", "add", f"{VIP}/32", "dev", "x1"])
    try:
        assert client.requests(4)["errors"] == []
    finally:
        run(["ip", "-n", router, "route", "del", f"{VIP}/32", "dev", "x1"])

    write(service(RS1))
    reload(running)
    assert len(ours(lab).splitlines()) == 1
    assert client.requests(4)["errors"] == []
    assert eventually(lambda: packet_sockets(lab) == sockets, DEADLINE_S)
    assert eventually(lambda: open_files(running) == files, DEADLINE_S)


def test_an_interface_that_was_deleted_and_is_back_is_served_again_also_when_a_reload_comes_first(
    lab: Lab, start: Start, write: Write, second: Callable[..., None], client: Any
) -> None:
    second("router", "198.18.3.10/24", "198.18.3.1/24")
    write(service(RS1), interfaces=["e0", "x0"])
    running = start()
    sockets = packet_sockets(lab)
    run(["ip", "-n", lab.namespace("lb"), "link", "del", "x0"])
    running.wait_for("interface x0 is down .gone", DEADLINE_S)
    assert "There is no interface x0" in reload(running, "reload refused")
    second("router", "198.18.3.10/24", "198.18.3.1/24")
    reload(running)
    router = lab.namespace("router")
    run(["ip", "-n", router, "route", "add", f"{VIP}/32", "dev", "x1"])
    try:
        assert client.requests(4)["errors"] == []
    finally:
        run(["ip", "-n", router, "route", "del", f"{VIP}/32", "dev", "x1"])
    assert eventually(lambda: packet_sockets(lab) == sockets, DEADLINE_S)
    assert running.stop() == 0
    assert "Traceback" not in running.stderr
