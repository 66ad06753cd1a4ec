"""Does an operator see what a running balancer does, and steer it without breaking a connection?"""

from __future__ import annotations

import json
import signal
import socket
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lab_reload import Held, Start, Write, all_answer, holding, service
from lab_running import RS1, RS2, RS3, Serve, connects, to
from lab_wire import eventually

from dsrlb.admin.asking import ask
from dsrlb.lab.balancer import Balancer, run_dsrlb
from dsrlb.lab.topology import VIP, VIP6, Lab

SERVERS = {"rs1": RS1, "rs2": RS2, "rs3": RS3}
both_engines = pytest.mark.both_engines(xdp_mode=["native"])


def command(lab: Lab, running: Balancer, *words: str) -> Any:
    """Run a command against a balancer; returns its answer."""
    done = run_dsrlb(lab, "lb", *words, "--json", "--admin", str(running.admin))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)


def do(running: Balancer, verb: str, **words: Any) -> Any:
    """Ask what commands ask for."""
    return ask(running.admin, {"do": verb, **words})


def shares_of(client: Any, requests: int) -> Counter[str]:
    """Return how many of so many requests each server got."""
    answers = client.requests(requests)
    assert answers["errors"] == []
    return Counter(answers["servers"])


def approx(shares: dict[str, int]) -> Any:
    """Return these shares but for one or two: a cycle goes on where it was when a weight changes."""
    return pytest.approx(shares, abs=2)


def of(rows: list[dict[str, Any]], backend: str) -> dict[str, Any]:
    [row] = [row for row in rows if row["backend"] == backend]
    return row


def name_of(held: Held) -> str:
    host, port = held.connection.getsockname()
    return f"{host}:{port}"


@both_engines
def test_draining_and_disabling_break_nothing_and_give_nothing_new(
    lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(service(RS1, RS2, RS3))
    running = start()
    with holding(lab, 30) as held:
        shown = command(lab, running, "show", "flows", "--limit", "1000")
        assert shown["complete"] is True
        assert {flow["client"]: flow["backend"] for flow in shown["flows"]} == {
            name_of(one): SERVERS[one.server] for one in held
        }
        for verb, back, server in (("drain", "undrain", "rs1"), ("disable", "enable", "rs2")):
            [row] = do(running, verb, backend=SERVERS[server])["backends"]
            assert row["remaining"]["active"] == 10 and row["remaining"]["at_least"] is False
            asked = client.requests(12)
            assert asked["errors"] == [] and Counter(asked["servers"])[server] == 0, (verb, asked["servers"])
            all_answer(held)
            assert do(running, back, backend=SERVERS[server])["backends"][0]["drift"] == []
            assert Counter(client.requests(12)["servers"])[server] >= 3  # of 4: a late packet may take a turn
        all_answer(held)


@both_engines
def test_a_weight_changes_shares_at_once_and_holds_over_a_reload(
    lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(service(RS1, RS2, RS3, scheduler="wrr"))
    running = start()
    with holding(lab, 6) as held:
        command(lab, running, "weight", RS1, "4")
        assert shares_of(client, 60) == approx({"rs1": 40, "rs2": 10, "rs3": 10})
        row = of(do(running, "show", what="backends"), RS1)
        assert (row["weight"], row["drift"]) == (4, ["weight 4, file says 1"])
        assert row["expected_percent"] == 66.7 and 60 < row["share_percent"] < 66.7  # six came before
        write(service(RS1, RS2, scheduler="wrr"))
        do(running, "reload")
        assert [row["backend"] for row in do(running, "show", what="backends")] == [RS1, RS2]
        assert shares_of(client, 20) == approx({"rs1": 16, "rs2": 4})
        do(running, "weight", backend=RS1, weight="configured")
        assert shares_of(client, 20) == approx({"rs1": 10, "rs2": 10})
        all_answer([one for one in held if one.server != "rs3"])
    [engine] = do(running, "show", what="engines")
    assert engine["interfaces"] == {"e0": "native" if engine["engine"] == "xdp" else "socket"}
    assert (engine["pid"], engine["engine"]) == (running.process.pid, running_engine(running))
    assert of_reason(do(running, "show", what="counters"), "forwarded") >= 100 * 4


def running_engine(running: Balancer) -> str:
    command = Path(f"/proc/{running.process.pid}/cmdline").read_text().split("\0")
    return "xdp" if "xdp" in command else "packet"


def of_reason(rows: list[dict[str, Any]], reason: str) -> int:
    return sum(row["frames"] for row in rows if row["reason"] == reason)


def test_a_bad_file_and_a_wrong_name_are_told_with_their_exit_codes(
    lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(service(RS1, RS2))
    running = start()
    write(service("198.18.1.999", RS2))
    for words, code, sentence in (
        (["reload"], 3, "198.18.1.999"),
        (["drain", "rs9"], 2, "no backend is 'rs9'"),
        (["show", "flows", "--client", "x"], 2, "client 'x'"),
    ):
        done = run_dsrlb(lab, "lb", *words, "--admin", str(running.admin))
        assert done.returncode == code and sentence in done.stderr and done.stderr.count("\n") == 1
    assert client.requests(4)["errors"] == []


def test_the_socket_is_its_owner_s_one_process_s_and_gone_at_the_end(lab: Lab, serve: Serve) -> None:
    running = serve(flags=to(RS1, RS2))
    assert stat.S_IMODE(running.admin.stat().st_mode) == 0o600
    refused = run_dsrlb(lab, "lb", "serve", "--admin", str(running.admin), *to(RS1, vip=VIP6))
    assert refused.returncode == 3
    assert refused.stderr.startswith(f"dsrlb: Another dsrlb has the admin socket {running.admin}")
    assert len(do(running, "show", what="backends")) == 2
    running.stop(signal.SIGKILL)
    assert running.admin.exists()
    again = serve("--admin", str(running.admin), flags=to(RS1, RS2, RS3))
    assert len(do(running, "show", what="backends")) == 3
    assert again.stop() == 0 and not running.admin.exists()


def test_clients_of_the_socket_that_stop_reading_or_say_nothing_keep_nothing_back(
    lab: Lab, serve: Serve, client: Any
) -> None:
    running = serve(flags=to(RS1, RS2, RS3, more=("--scheduler", "rr")))
    assert client.requests(30)["errors"] == []
    stuck = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(20)]
    try:
        for number, one in enumerate(stuck):
            one.connect(str(running.admin))
            one.setblocking(False)
            if number % 2:  # a request whose answer fills what the kernel keeps for it, again and again
                eventually(lambda one=one: sent(one) < 0, 0.1)
        do(running, "drain", backend=RS1)
        assert connects(lab, VIP)
        assert Counter(client.requests(20)["servers"]) == {"rs2": 10, "rs3": 10}
    finally:
        for one in stuck:
            one.close()
    assert len(do(running, "show", what="backends")) == 3


def sent(one: socket.socket) -> int:
    """Ask for flows without reading any; -1 when the kernel takes no more."""
    try:
        return one.send(b'{"do": "show", "what": "flows", "limit": 10000}\n' * 100)
    except BlockingIOError:
        return -1
