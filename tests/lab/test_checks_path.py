"""Does a check at the VIP, by the path of the traffic, see what is wrong there, and name it?"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab_clients import LONG_S, PORT, Clients, clients_of
from lab_engine import PACKET, Engine
from lab_faults import (
    TCP,
    Fault,
    config,
    network_gone,
    own_address_only,
    process_killed,
    require_left_in_time,
    vip_gone,
    vip_gone_and_forwarding,
)
from lab_reload import reload, service
from lab_running import Serve
from lab_wire import eventually

from dsrlb.health.asking import AGAIN_AFTER_S
from dsrlb.host.probe_path import TUN
from dsrlb.host.probe_rules import MARK, PREFERENCE
from dsrlb.lab.balancer import Balancer, dsrlb
from dsrlb.lab.servers import ECHO_PORT
from dsrlb.lab.topology import Lab, run

LATER = {4: (), 6: ("preferred_lft", "0")}  # as backend setup gives it
Begin = Callable[..., Balancer]
FAULTS: dict[Fault, str] = {
    process_killed: "refused",
    own_address_only: "not_on_vip",
    network_gone: "(no_answer|unreachable)",
    vip_gone: "no_vip",
    vip_gone_and_forwarding: "no_vip",
}


@pytest.fixture
def clients(lab: Lab) -> Iterator[Clients]:
    with clients_of(lab) as it:
        yield it


@pytest.fixture
def begin(lab: Lab, serve: Serve, tmp_path: Path) -> Begin:
    """Serve all servers at the VIP, checked so."""
    return lambda *shape: serve(flags=config(lab, tmp_path, *shape))


def rules(lab: Lab) -> str:
    """Return the rules of the path of checks."""
    every = "".join(run(["ip", "-n", lab.namespace("lb"), family, "rule"]) for family in ("-4", "-6"))
    return "\n".join(line for line in every.splitlines() if line.startswith(f"{PREFERENCE}:"))


def devices(lab: Lab) -> list[str]:
    """Return its devices that are up."""
    every = run(["ip", "-n", lab.namespace("lb"), "-br", "link", "show", "up"])
    return re.findall(r"^dsrlb-p\d+", every, re.MULTILINE)


@pytest.mark.both_engines(xdp_mode=["native"])
def test_a_server_that_fails_at_the_vip_is_left_in_time_by_name_and_comes_back(
    clients: Clients, begin: Begin, engine: Engine
) -> None:
    running = begin()
    held = [(name, sock) for name, sock in (clients.connect() for _ in range(9)) if name != "rs1"]
    for fault, word in FAULTS.items():
        if engine == PACKET or fault is vip_gone:
            require_left_in_time(clients, running, fault, word)
    for name, sock in held:
        server = clients.server_of(sock)
        server.sendall(b"still " + name.encode())
        assert sock.recv(16) == b"still " + name.encode()
    others = "|".join(map(str, clients.lab.server_addresses(4)[1:]))
    assert not re.search(rf"({others}) of \S+ is down", running.stderr), "others were left alone"
    assert "dsrlb backend setup --mode l2dsr --vip" in running.stderr, "what mends it is told"
    assert running.stop() == 0
    assert not rules(clients.lab) and not devices(clients.lab)


def test_every_kind_asks_at_the_vip_in_both_families(lab: Lab, serve: Serve, tmp_path: Path) -> None:
    kinds = {
        "8080/tcp": "kind = 'http'\nstatus = '200-499'\n",
        "80/tcp": "kind = 'tcp'\n",
        f"{ECHO_PORT}/udp": "kind = 'udp'\nsend = 'hello'\nexpect = 'hello'\n",
        "53/udp": f"kind = 'udp'\nport = {ECHO_PORT}\nsend = '{'long' * 1000}'\n",
        "54/udp": "kind = 'icmp'\n",
    }
    about = 'interfaces = ["e0"]\n'
    for vip, version in zip(lab.vips, (4, 6), strict=True):
        for port, check in kinds.items():
            servers = map(str, lab.server_addresses(version))
            about += service(*servers, vip=vip, port=port, more=f"[service.check]\ninterval = 0.4\n{check}")
    (tmp_path / "dsrlb.toml").write_text(about)
    running = serve(flags=["--config", str(tmp_path / "dsrlb.toml")])
    there = ["ip", "-n", lab.namespace("rs1"), "addr"]
    for vip in lab.vips:
        run([*there, "del", f"{vip}/{vip.max_prefixlen}", "dev", "lo"])
    try:
        assert eventually(lambda: running.stderr.count("is down: no_vip") == 2 * len(kinds), LONG_S), (
            running.stderr
        )
    finally:
        for vip in lab.vips:
            run([*there, "add", f"{vip}/{vip.max_prefixlen}", "dev", "lo", *LATER[vip.version]])
    assert eventually(lambda: running.stderr.count("is up again") == 2 * len(kinds), LONG_S), running.stderr
    assert not re.search(r"(1[23]|::1[23]) of \S+ is down", running.stderr), "others were left alone"


def test_direct_asks_at_the_own_address_and_a_reload_goes_over_to_the_path(
    lab: Lab, clients: Clients, begin: Begin, tmp_path: Path
) -> None:
    running = begin(f"{TCP}direct = true\n", 2)
    with vip_gone(clients):
        assert not rules(lab) and not devices(lab)
        config(lab, tmp_path)
        reload(running)
        assert eventually(lambda: "is down: no_vip" in running.stderr, LONG_S), running.stderr
    assert eventually(lambda: {clients.connect()[0] for _ in range(6)} == {"rs1", "rs2", "rs3"}, LONG_S)
    assert running.stderr.count("is down") == 1, "nor is one that joins taken for down"


@pytest.mark.only_engine("packet", reason="an interface has one program: a second one is refused")
def test_what_a_killed_one_left_goes_at_the_next_start_and_two_do_not_meet(
    lab: Lab, clients: Clients, begin: Begin, serve: Serve
) -> None:
    killed = begin()
    assert eventually(lambda: rules(lab).count("lookup") == 2, LONG_S)
    killed.process.kill()
    killed.process.wait()
    assert rules(lab).count(f"fwmark {MARK:#x}") == 2 and not devices(lab)
    first = begin()
    flags = ["--mode", "l2dsr", "--interface", "e0", "--vip", f"[{lab.vips[-1]}]:{PORT}"]
    flags += ["--check", "icmp,interval=0.3"]
    flags += [word for one in lab.server_addresses(6) for word in ("--backend", str(one))]
    second = serve(flags=flags)
    assert eventually(lambda: rules(lab).count("lookup") == 4, LONG_S), rules(lab)
    assert len(devices(lab)) == 2
    assert second.stop() == 0
    assert rules(lab).count("lookup") == 2 and len(devices(lab)) == 1
    with vip_gone(clients):
        assert eventually(lambda: "is down: no_vip" in first.stderr, LONG_S), first.stderr
    assert "is down" not in second.stderr


def test_rules_that_are_flushed_and_a_device_that_is_taken_away_take_no_server_out(
    lab: Lab, clients: Clients, begin: Begin
) -> None:
    running = begin()
    assert eventually(lambda: rules(lab).count("lookup") == 2, LONG_S)
    run(["ip", "-n", lab.namespace("lb"), "rule", "del", "pref", str(PREFERENCE)])
    assert eventually(lambda: rules(lab).count("lookup") == 2, LONG_S)
    for words in ("set {} down", "del {}"):
        assert eventually(lambda: devices(lab), LONG_S)
        run(["ip", "-n", lab.namespace("lb"), "link", *words.format(*devices(lab)).split()])
    assert eventually(lambda: devices(lab), AGAIN_AFTER_S + LONG_S)  # if it went as it was made, it is let be
    with vip_gone(clients):
        assert eventually(lambda: "is down: no_vip" in running.stderr, LONG_S), running.stderr
    assert running.stderr.count("is down") == 1


@pytest.mark.only_engine("packet", reason="it is started by hand")
def test_without_the_device_servers_are_asked_at_their_own_addresses_which_is_told_once(
    lab: Lab, clients: Clients, tmp_path: Path
) -> None:
    serving = " ".join(
        [*dsrlb("serve", "--admin", "off", "--state-dir", f"{tmp_path}/state"), *config(lab, tmp_path)]
    )
    words = f"mount --bind /dev/null {TUN} && exec {serving}"
    command = ["ip", "netns", "exec", lab.namespace("lb"), "unshare", "-m", "sh", "-c", words]
    log, told = tmp_path / "log", "servers are checked at their own addresses, not at the VIP"
    with log.open("w") as said, subprocess.Popen(command, stderr=said) as process:
        try:
            assert eventually(lambda: told in log.read_text(), LONG_S), log.read_text()
            clients.listeners.pop("rs1").socket.close()
            assert eventually(lambda: "is down: refused" in log.read_text(), LONG_S), log.read_text()
        finally:
            process.terminate()
            process.wait()
    assert log.read_text().count(told) == 1
