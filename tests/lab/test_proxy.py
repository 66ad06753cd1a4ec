"""Does mode proxy serve, and go on, whatever happens to HAProxy, to dsrlb, to servers and to its file?"""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from lab_proxy import (
    CHECK,
    HTTP,
    TCP,
    ask_once,
    asking,
    connection,
    folder,
    haproxy_pid,
    listener,
    proxied,
    server_of,
    vip,
    worker_pid,
)
from lab_reload import DEADLINE_S, Start, Write, reload, service
from lab_running import VERSIONS, Serve
from lab_wire import eventually, inside

from dsrlb.admin.asking import ask
from dsrlb.lab.balancer import Balancer, run_dsrlb
from dsrlb.lab.topology import Lab, run

V2_MARK = b"\r\n\r\n\0\r\nQUIT\n"  # HAProxy, doc/proxy-protocol.txt, section 2.2


@pytest.fixture(scope="module")
def lab(inline_lab: Lab) -> Lab:
    return inline_lab


@pytest.fixture
def write(write: Write, tmp_path: Path) -> Write:
    """As ever, with state beside the file."""
    return partial(write, f'state_dir = "{tmp_path}/state"\n')


def flows_of(running: Balancer) -> int:
    return sum(row["flows"] for row in ask(running.admin, {"do": "show", "what": "backends"}))


def is_alive(pid: int) -> bool:
    """Whether a process lives; one that has ended has no command line."""
    line = Path(f"/proc/{pid}/cmdline")
    return line.exists() and bool(line.read_bytes())


def addresses(lab: Lab) -> str:
    return run(["ip", "-n", lab.namespace("lb"), "-o", "addr", "show"])


@VERSIONS
def test_each_request_of_one_connection_is_balanced_by_itself(
    lab: Lab, start: Start, write: Write, version: int
) -> None:
    write(proxied(lab, version=version))
    running = start()
    on = connection(lab, vip(lab, version))
    seen = Counter(server_of(on) for _ in range(300))
    assert set(seen) == {"rs1", "rs2", "rs3"} and max(seen.values()) - min(seen.values()) <= 1, seen
    rows = ask(running.admin, {"do": "show", "what": "backends"})
    assert sorted(row["flows"] for row in rows) == sorted(seen.values())
    assert f"{vip(lab, version)}/" in addresses(lab)
    assert running.stop() == 0 and f"{vip(lab, version)}/" not in addresses(lab)
    assert not folder(running).exists()


def test_all_requests_of_one_connection_go_to_one_server_at_layer_4(
    lab: Lab, start: Start, write: Write
) -> None:
    write(proxied(lab, TCP))
    start()
    on = connection(lab, vip(lab))
    assert len({server_of(on) for _ in range(30)}) == 1
    assert len({ask_once(lab, vip(lab)) for _ in range(30)}) == 3


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_a_server_is_told_the_client_by_the_proxy_protocol_and_so_is_the_balancer(
    lab: Lab, start: Start, write: Write, kind: str
) -> None:
    server = f"{lab.server_addresses()[0]}"
    words = f'[service.proxy]\nsend_proxy = "{kind}"\n'
    ahead = service(server, vip=vip(lab), port=9080, mode="proxy", more=words)
    behind = service(server, vip=vip(lab), port=9081, mode="proxy", more=f"{words}accept_proxy = true\n")
    write(ahead, behind)
    start()
    with listener(lab, "rs1", 9080) as plain, listener(lab, "rs1", 9081) as told:
        with inside(lab.namespace("client")):
            one = socket.create_connection((str(vip(lab)), 9080), DEADLINE_S)
            other = socket.create_connection((str(vip(lab)), 9081), DEADLINE_S)
        with one, other:
            one.sendall(b"hello")
            assert _client_in(_begin_of(plain, b"hello"), kind) == str(lab.address("client"))
            other.sendall(b"PROXY TCP4 203.0.113.7 198.18.1.100 4711 9081\r\nhello")
            assert _client_in(_begin_of(told, b"hello"), kind) == "203.0.113.7"


def _begin_of(listening: socket.socket, end: bytes) -> bytes:
    """Return what a server gets first, up to what the client has sent itself."""
    got = b""
    with listening.accept()[0] as there:
        there.settimeout(DEADLINE_S)
        while not got.endswith(end):
            piece = there.recv(4096)
            assert piece, got
            got += piece
    return got.removesuffix(end)


def _client_in(header: bytes, kind: str) -> str:
    if kind == "v1":
        assert header.startswith(b"PROXY TCP4 ") and header.endswith(b"\r\n"), header
        return header.split()[2].decode()
    assert header.startswith(V2_MARK) and header[12:14] == b"\x21\x11", header
    return ".".join(map(str, header[16:20]))


def test_a_drained_server_gets_no_more_requests_and_none_fails(lab: Lab, start: Start, write: Write) -> None:
    write(proxied(lab))
    running = start()
    on = connection(lab, vip(lab))
    with asking(lab, vip(lab)) as asked:
        assert eventually(lambda: len(asked.servers) == 3, DEADLINE_S)
        server = str(lab.server_addresses()[1])
        assert run_dsrlb(lab, "lb", "drain", server, "--admin", str(running.admin)).returncode == 0
        before = asked.servers["rs2"]
        assert {server_of(on) for _ in range(30)} == {"rs1", "rs3"}
        seen = asked.count
        assert eventually(lambda: asked.count > seen + 100, DEADLINE_S)
        assert asked.servers["rs2"] <= before + 2  # one that each client had just asked
        assert run_dsrlb(lab, "lb", "undrain", server, "--admin", str(running.admin)).returncode == 0
        assert eventually(lambda: asked.servers["rs2"] > before + 10, DEADLINE_S)
    assert not asked.failures and "is drained" in running.stderr


def test_a_server_that_dies_costs_no_request_and_gets_them_again_when_it_is_back(
    lab: Lab, start: Start, write: Write
) -> None:
    write(proxied(lab, f"{HTTP}connect_timeout = 0.3\nidle_timeout = 2\n{CHECK}"))
    running = start()
    link = ["ip", "-n", lab.namespace("switch2"), "link", "set", "p-rs3"]
    with asking(lab, vip(lab)) as asked:
        assert eventually(lambda: len(asked.servers) == 3, DEADLINE_S)
        run([*link, "down"])
        try:
            running.wait_for(f"{lab.server_addresses()[2]}.* is down")
            before, seen = asked.servers["rs3"], asked.count
            assert eventually(lambda: asked.count > seen + 30, DEADLINE_S)
            assert asked.servers["rs3"] <= before + 2
        finally:
            run([*link, "up"])
        assert eventually(lambda: asked.servers["rs3"] > before + 5, DEADLINE_S)
    assert not asked.failures, asked.failures[:3]


def test_where_nobody_listens_another_server_is_asked(lab: Lab, start: Start, write: Write) -> None:
    write(proxied(lab).replace("weight = 1\n", "weight = 1\nport = 9082\n", 1))  # and no check that tells
    start()
    on = connection(lab, vip(lab))
    assert {server_of(on) for _ in range(20)} == {"rs2", "rs3"}


@pytest.mark.parametrize("which", ["master", "worker"])
def test_a_haproxy_that_is_killed_is_back_within_a_second(
    lab: Lab, start: Start, write: Write, which: str
) -> None:
    write(proxied(lab))
    running = start()
    before = haproxy_pid(running)
    with asking(lab, vip(lab)) as asked:
        assert eventually(lambda: asked.count > 10, DEADLINE_S)
        before_flows = flows_of(running)
        os.kill(before if which == "master" else worker_pid(running), signal.SIGKILL)
        line = running.wait_for(r"HAProxy serves again, [\d.]+ s after")
        seen = asked.count
        assert eventually(lambda: asked.count > seen + 10, DEADLINE_S)
    assert float(line.partition("again, ")[2].partition(" s ")[0]) < 1.0, line
    assert haproxy_pid(running) != before and "HAProxy has ended by itself" in running.stderr
    assert flows_of(running) >= before_flows + 10


def test_traffic_goes_on_without_dsrlb_and_the_next_one_takes_over_without_a_failure(
    lab: Lab, kept: Start, write: Write
) -> None:
    write(proxied(lab))
    first = kept()
    on = connection(lab, vip(lab))
    with asking(lab, vip(lab)) as asked:
        assert eventually(lambda: asked.count > 10, DEADLINE_S)
        first.process.kill()
        first.process.wait()
        seen = asked.count
        assert eventually(lambda: asked.count > seen + 50, DEADLINE_S)
        assert f"{vip(lab)}/" in addresses(lab)
        second, master = kept("--on-exit", "keep"), haproxy_pid(first)
        assert haproxy_pid(second) == master and "it is taken over" in second.stderr
        assert server_of(on) in ("rs1", "rs2", "rs3")
        assert second.stop() == 0
        seen = asked.count
        assert eventually(lambda: asked.count > seen + 50, DEADLINE_S)
        third = kept()
        seen = asked.count
        assert eventually(lambda: asked.count > seen + 50, DEADLINE_S)
    assert not asked.failures, asked.failures[:3]
    assert haproxy_pid(third) == master
    assert third.stop() == 0 and f"{vip(lab)}/" not in addresses(lab) and not is_alive(master)


def test_what_was_left_is_taken_away_by_detach_and_by_a_start_without_mode_proxy(
    lab: Lab, kept: Start, write: Write
) -> None:
    for is_by_start in (False, True):
        write(proxied(lab))
        running = kept()
        master = haproxy_pid(running)
        running.process.kill()
        running.process.wait()
        if is_by_start:
            write(service(*map(str, lab.server_addresses()), vip=vip(lab), mode="inline"))
            kept()
        else:
            done = run_dsrlb(lab, "lb", "detach", "--admin", str(running.admin))
            assert "HAProxy ended" in done.stdout, done
        assert f"{vip(lab)}/" not in addresses(lab) and not is_alive(master)
        assert not folder(running).exists()


def test_a_start_that_is_refused_touches_nothing_of_what_was_left_at_work(
    lab: Lab, kept: Start, write: Write
) -> None:
    write(proxied(lab))
    running = kept()
    master = haproxy_pid(running)
    running.process.kill()
    running.process.wait()
    missing = "[service.proxy]\nlayer = 7\ncertificates = '/nowhere.pem'\n"
    for refused, why in (
        (proxied(lab, missing), "/nowhere.pem"),
        (service("192.0.2.1", vip="198.18.1.101", mode="inline"), "192.0.2.1"),
    ):
        write(refused)
        done = run_dsrlb(
            lab, "lb", "serve", "--admin", str(running.admin), "--config", running.process.args[-1]
        )
        assert done.returncode and why in done.stderr, done
        assert f"{vip(lab)}/" in addresses(lab) and is_alive(master)
        assert ask_once(lab, vip(lab)) in ("rs1", "rs2", "rs3")
    write(proxied(lab))
    assert haproxy_pid(kept()) == master


def test_a_reload_under_load_costs_no_request(lab: Lab, start: Start, write: Write) -> None:
    write(proxied(lab, servers=2))
    running = start()
    on = connection(lab, vip(lab))
    with asking(lab, vip(lab)) as asked:
        assert eventually(lambda: len(asked.servers) == 2, DEADLINE_S)
        write(proxied(lab), proxied(lab, TCP, port=81))
        reload(running)
        assert eventually(lambda: len(asked.servers) == 3, DEADLINE_S)
        write(proxied(lab, servers=1))
        reload(running)
        seen, before = asked.count, asked.servers["rs1"]
        assert eventually(lambda: asked.count > seen + 50, DEADLINE_S)
        assert asked.servers["rs1"] > before + 40
        assert server_of(on) in ("rs1", "rs2")  # its worker is that of before, and knows these
    assert not asked.failures, asked.failures[:3]
    rows = ask(running.admin, {"do": "show", "what": "services"})
    assert asked.count <= rows[0]["flows"] + 2 * asked.count / 3 + 10


def test_how_servers_stand_is_told_to_haproxy_without_a_reload(lab: Lab, start: Start, write: Write) -> None:
    write(proxied(lab))
    running = start()
    worker = worker_pid(running)
    for more in ("weight = 3\n", "weight = 1\n"):
        write(proxied(lab).replace("weight = 1\n", more, 1))
        reload(running)
    server = str(lab.server_addresses()[0])
    run_dsrlb(lab, "lb", "disable", server, "--admin", str(running.admin))
    on = connection(lab, vip(lab))
    assert {server_of(on) for _ in range(12)} == {"rs2", "rs3"}
    assert worker_pid(running) == worker
    shown = run_dsrlb(lab, "lb", "show", "haproxy", "--admin", str(running.admin)).stdout
    assert f"server {server} ipv4@{server}:80 weight" in shown and shown.count(" disabled") == 1
    (engine,) = ask(running.admin, {"do": "show", "what": "engines"})
    assert engine["haproxy"]["pid"] == haproxy_pid(running) and engine["haproxy"]["reloads"] == 0


def test_what_cannot_be_served_is_refused_in_a_sentence_before_anything_is_touched(
    lab: Lab, start: Start, write: Write, serve: Serve
) -> None:
    write(proxied(lab))
    running = start()
    with listener(lab, "lb", 8083):
        write(proxied(lab), proxied(lab, port=8083))
        said = reload(running, "reload refused")
        assert f"{vip(lab)}:8083/tcp: another program listens there" in said
        assert ask_once(lab, vip(lab)) in ("rs1", "rs2", "rs3") and addresses(lab).count(f"{vip(lab)}/") == 1
    run(["ip", "-n", lab.namespace("router"), "addr", "add", "198.18.1.101/32", "dev", "e0"])
    try:
        server = str(lab.server_addresses()[0])
        write(proxied(lab), service(server, vip="198.18.1.101", mode="proxy"))
        said = reload(running, "reload refused")
        assert "VIP 198.18.1.101 already belongs to another machine" in said
    finally:
        run(["ip", "-n", lab.namespace("router"), "addr", "del", "198.18.1.101/32", "dev", "e0"])
    assert "198.18.1.101" not in addresses(lab)


@pytest.mark.both_engines(xdp_mode=["native"])
def test_modes_are_served_beside_each_other_and_a_vip_goes_from_one_to_the_other(
    lab: Lab, start: Start, write: Write
) -> None:
    servers = list(map(str, lab.server_addresses()))
    forwarded = service(*servers, vip=vip(lab), mode="inline")
    other = service(*servers, vip="198.18.1.101", mode="proxy", more=HTTP)
    write(forwarded, other)
    running = start()
    for host in (vip(lab), type(vip(lab))("198.18.1.101")):
        assert ask_once(lab, host) in ("rs1", "rs2", "rs3")
    for now in (proxied(lab), forwarded, proxied(lab)):
        write(now)
        reload(running)
        run(["ip", "-n", lab.namespace("router"), "neigh", "flush", "dev", "e0"])
        assert ask_once(lab, vip(lab)) in ("rs1", "rs2", "rs3")
        assert (f"{vip(lab)}/" in addresses(lab)) == ("proxy" in now)
    assert running.stop() == 0 and f"{vip(lab)}/" not in addresses(lab)


def test_an_address_that_the_host_has_anyway_is_used_and_stays(lab: Lab, start: Start, write: Write) -> None:
    own = ["ip", "-n", lab.namespace("lb"), "addr"]
    run([*own, "add", f"{vip(lab)}/32", "dev", "lo"])
    try:
        write(proxied(lab))
        running = start()
        assert ask_once(lab, vip(lab)) in ("rs1", "rs2", "rs3")
        assert running.stop() == 0 and f"{vip(lab)}/" in addresses(lab)
    finally:
        run([*own, "del", f"{vip(lab)}/32", "dev", "lo"])
