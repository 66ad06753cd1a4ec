"""Does a running balancer do what an operator counts on, while links and servers come and go?

Two things are added to the lab, and taken away again::

    guest   one more machine on the switch: 198.18.1.99, 02:00:c6:12:01:99
    x0      a second interface of the balancer; where it leads differs from test to test
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from lab_wire import ETH_P_ALL, GUEST_MAC, PACKET_OUTGOING, eventually, inside, soon

from dsrlb.host import frames
from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import VIP, VIP6, Lab, mac, run
from dsrlb.lab.topology import inside as command_inside

Serve = Callable[..., Balancer]
RS1, RS2, RS3 = "198.18.1.11", "198.18.1.12", "198.18.1.13"
RS1_6 = "2001:db8:1::11"
NEW_MAC = "02:00:c6:12:01:e1"
ARP_LOCKTIME_S = 1.2  # the kernel lets no MAC change within a second of the last change, and some
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


# ----------------------------------------------------------------------------- tools


@contextlib.contextmanager
def tap(namespace: str, device: str) -> Iterator[socket.socket]:
    """Hear every frame on a device, from now on."""
    with inside(namespace):
        hearing = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        hearing.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        hearing.bind((device, ETH_P_ALL))
    with hearing:
        hearing.setblocking(False)
        yield hearing


def heard(hearing: socket.socket, outgoing: bool = False) -> Iterator[bytes]:
    """Yield the frames that have come so far (or that have left, with ``outgoing``)."""
    with contextlib.suppress(BlockingIOError):
        while True:
            frame, origin = hearing.recvfrom(1 << 16)
            if (origin[2] == PACKET_OUTGOING) == outgoing:
                yield frame


def ours(lab: Lab) -> str:
    """Return the policy rules of dsrlb on the balancer's host."""
    namespace = lab.namespace("lb")
    rules = run(["ip", "-n", namespace, "rule"]) + run(["ip", "-n", namespace, "-6", "rule"])
    return "\n".join(line for line in rules.splitlines() if "blackhole" in line)


def is_claimed(lab: Lab, vip: object = VIP) -> bool:
    """Tell whether a running dsrlb holds the VIP on the balancer's host."""
    with inside(lab.namespace("lb")):
        return f"@dsrlb/vip/{vip}" in Path("/proc/thread-self/net/unix").read_text()


def to(
    *backends: str, vip: object = VIP, interfaces: Sequence[str] = ("e0",), more: Sequence[str] = ()
) -> list[str]:
    """Return the flags for a service of these backends."""
    host = f"[{vip}]" if ":" in str(vip) else vip
    line = ["--mode", "l2dsr", "--vip", f"{host}:80"]
    line += [word for name in interfaces for word in ("--interface", name)]
    return [*line, *(word for one in backends for word in ("--backend", one)), *more]


def both_versions(lab: Lab) -> list[str]:
    """Return the flags for the IPv6 VIP as well, where there is IPv6."""
    return ["--vip", f"[{VIP6}]:80"] if lab.ipv6 else []


def connects(lab: Lab, host: object = VIP, timeout_s: float = 0.2, port: int = 80) -> bool:
    """Tell whether a client gets a connection to a port within a moment."""
    with inside(lab.namespace("client")):
        sock = socket.socket(socket.AF_INET6 if ":" in str(host) else socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        sock.settimeout(timeout_s)
        return sock.connect_ex((str(host), port)) == 0


def reasons(printed: str) -> dict[str, int]:
    """Return the counters by reason of the last report in what was printed."""
    report = printed.rpartition("reason  ")[2].partition("\n\n")[0]
    return {word: int(count) for word, count in re.findall(r"^(\w+) +(\d+)$", report, re.MULTILINE)}


def backends(printed: str) -> dict[str, tuple[int, int, int]]:
    """Return packets, bytes and flows by backend, of all services, of the last report."""
    rows = re.findall(
        r"^\S+/(?:tcp|udp) +(\S+) +(\d+) +(\d+) +(\d+)", printed.rpartition("reason  ")[2], re.MULTILINE
    )
    total: dict[str, tuple[int, int, int]] = {}
    for where, *counts in rows:
        before = total.get(where, (0, 0, 0))
        total[where] = tuple(  # type: ignore[assignment]
            a + int(b) for a, b in zip(before, counts, strict=True)
        )
    return total


def flows_of(running: Balancer) -> list[int]:
    """Return the flows of each backend by the last report."""
    return [flows for _, _, flows in backends(running.stdout).values()]


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """Return how long a process has computed so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share_of_a_second(process: subprocess.Popen[bytes]) -> float:
    """Return how much of the next second a process computes; it must live through it."""
    before = cpu_s(process)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    return cpu_s(process) - before


# ----------------------------------------------------------------------------- what is added to the lab


@pytest.fixture(scope="module")
def guest(guest: str) -> str:
    """The lab's guest, here with an address of the subnet."""
    run(["ip", "-n", guest, "addr", "add", "198.18.1.99/24", "dev", "e0"])
    return guest


@pytest.fixture
def owner(lab: Lab, guest: str) -> Iterator[Callable[[object], None]]:
    """``owner(vip)``: the guest has the VIP, until the end of the test."""

    def own(vip: object) -> None:
        nodad = ["nodad"] if ":" in str(vip) else []
        run(["ip", "-n", guest, "addr", "replace", str(vip), "dev", "e0", *nodad])

    yield own
    for vip in lab.vips:
        run(["ip", "-n", guest, "addr", "flush", "dev", "e0", "to", str(vip)])
    forget_neighbours(lab)


def forget_neighbours(lab: Lab) -> None:
    """Let the router ask anew who has the VIP."""
    run(["ip", "-n", lab.namespace("router"), "neigh", "flush", "dev", "e0"])


@pytest.fixture
def second(lab: Lab) -> Iterator[Callable[[str, str, str], None]]:
    """``second(role, own, other)``: an interface x0 of the balancer, and one of another node, on a wire."""
    lb = lab.namespace("lb")

    def add(role: str, own: str, other: str) -> None:
        there = lab.namespace(role)
        run(["ip", "link", "add", "x0", "netns", lb, "type", "veth", "peer", "name", "x1", "netns", there])
        for namespace, device, address in ((lb, "x0", own), (there, "x1", other)):
            run(["ip", "-n", namespace, "link", "set", device, "up"])
            if address:
                run(["ip", "-n", namespace, "addr", "add", address, "dev", device])

    yield add
    subprocess.run(["ip", "-n", lb, "link", "del", "x0"], capture_output=True, check=False)


@pytest.fixture
def rs1_as_before(lab: Lab) -> Iterator[None]:
    yield
    run(["ip", "-n", lab.namespace("rs1"), "link", "set", "e0", "address", mac("rs1")])


# ----------------------------------------------------------------------------- signals, start and stop


def test_ready_is_logged_once_and_the_first_packet_after_it_is_forwarded(
    lab: Lab, serve: Serve, client: Any
) -> None:
    running = serve()
    assert client.requests(20)["errors"] == []
    assert running.stop() == 0
    assert len(re.findall(r"\bready\b", running.stderr)) == 1
    assert "Traceback" not in running.stderr


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_to_stop_prints_the_counters_and_exits_0(
    sign: signal.Signals, lab: Lab, serve: Serve, client: Any
) -> None:
    running = serve("--scheduler", "rr")
    assert client.requests(6)["errors"] == []
    assert ours(lab) and is_claimed(lab)
    assert running.stop(sign) == 0
    assert {flows for _, _, flows in backends(running.stdout).values()} == {2}
    assert reasons(running.stdout)["forwarded"] >= 6 * 4
    assert not ours(lab) and not is_claimed(lab)


def test_a_second_signal_to_stop_does_no_harm(lab: Lab, serve: Serve) -> None:
    running = serve()
    for _ in range(3):
        running.process.send_signal(signal.SIGTERM)
    assert running.stop(signal.SIGINT) == 0
    assert "Traceback" not in running.stderr and not ours(lab)


def test_sigusr1_prints_the_counters_and_goes_on(lab: Lab, serve: Serve, client: Any) -> None:
    running = serve("--scheduler", "rr")
    for asked in (1, 2):
        assert client.requests(3)["errors"] == []
        running.process.send_signal(signal.SIGUSR1)
        assert eventually(lambda asked=asked: running.stdout.count("reason  ") == asked, 20)
        assert eventually(lambda asked=asked: flows_of(running) == [asked] * 3, 20)
    assert client.requests(3)["errors"] == []
    assert running.stop() == 0
    assert flows_of(running) == [3] * 3


def is_claimed_and_waits_for_a_silent_server(lab: Lab) -> bool:
    return is_claimed(lab)


def has_set_its_rules(lab: Lab) -> bool:
    return bool(ours(lab))


@pytest.mark.parametrize(
    ("moment", "sign"),
    [
        (is_claimed_and_waits_for_a_silent_server, signal.SIGTERM),
        (has_set_its_rules, signal.SIGTERM),
        (has_set_its_rules, signal.SIGINT),
    ],
)
def test_a_signal_during_the_start_stops_it_and_leaves_nothing(
    moment: Callable[[Lab], bool], sign: signal.Signals, lab: Lab, serve: Serve
) -> None:
    silent = ["198.18.1.77"] if moment is is_claimed_and_waits_for_a_silent_server else []
    running = serve(flags=to(RS1, *silent), ready=False)
    assert eventually(lambda: moment(lab), 30)
    assert running.stop(sign) == 0
    assert "Traceback" not in running.stderr
    assert not ours(lab) and not is_claimed(lab)


def test_asking_for_the_counters_during_the_start_changes_nothing(lab: Lab, serve: Serve) -> None:
    running = serve(flags=to("198.18.1.77"), ready=False)
    assert eventually(lambda: is_claimed(lab), 30)
    running.process.send_signal(signal.SIGUSR1)
    assert running.process.wait(30) == 3
    assert "198.18.1.77 did not answer" in running.stderr and not ours(lab)


def test_systemd_is_told_of_ready_and_of_stopping(
    lab: Lab, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager:
        service_manager.bind(str(tmp_path / "notify"))
        service_manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        running = serve()
        assert service_manager.recv(100) == b"READY=1"
        assert running.stop() == 0
        assert service_manager.recv(100) == b"STOPPING=1"


def test_a_service_manager_that_is_gone_is_no_reason_to_fail(
    lab: Lab, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert serve().stop() == 0


@VERSIONS
def test_after_a_crash_the_next_start_works_and_its_stop_leaves_no_rule(
    version: int, lab: Lab, serve: Serve, client: Any
) -> None:
    crashed = serve(version=version)
    assert crashed.stop(signal.SIGKILL) == -signal.SIGKILL
    assert len(ours(lab).splitlines()) == 1, "what the tests of refused starts put there by hand"
    after = serve(version=version)
    assert client.requests(6, host=VIP if version == 4 else VIP6)["errors"] == []
    assert after.stop() == 0
    assert not ours(lab)


def test_after_a_crash_the_start_of_another_vip_takes_the_rules_back_and_says_so(
    lab: Lab, serve: Serve
) -> None:
    serve().stop(signal.SIGKILL)
    after = serve(version=6)
    assert str(VIP) in after.wait_for("crashed")
    assert str(VIP) not in ours(lab) and str(VIP6) in ours(lab)
    assert after.stop() == 0 and not ours(lab)


REFUSED = {
    "its backend is off-link": to("198.19.5.5"),
    "no interface of that name": to(RS1, interfaces=["eth77"]),
    "its backend does not answer": to("198.18.1.77"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_after_a_crash_a_start_that_is_refused_leaves_no_rule(
    why: str, lab: Lab, dsrlb: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    what_a_crash_leaves = ["pref", "10", "iif", "e0", "to", f"{VIP}/32", "blackhole", "protocol", "213"]
    rule = ["ip", "-n", lab.namespace("lb"), "rule"]
    run([*rule, "add", *what_a_crash_leaves])
    try:
        assert dsrlb("serve", *REFUSED[why]).returncode == 3
        assert not ours(lab)
    finally:
        subprocess.run([*rule, "del", *what_a_crash_leaves], capture_output=True, check=False)


def test_the_interface_is_that_of_the_default_route_unless_given(lab: Lab, serve: Serve, client: Any) -> None:
    running = serve(flags=to(RS1, interfaces=[]))
    assert running.wait_for("ready").endswith("on e0")
    assert client.requests(3)["servers"] == ["rs1"] * 3


# ----------------------------------------------------------------------------- owning the VIP


def test_the_start_announces_the_vips_to_the_network(lab: Lab, serve: Serve) -> None:
    with tap(lab.namespace("switch"), "p-lb") as hearing:
        serve(flags=to(RS1, more=both_versions(lab)))
        seen: list[bytes] = []
        lb = bytes.fromhex(mac("lb").replace(":", ""))
        wanted = set(frames.gratuitous_arp(lb, VIP))  # type: ignore[arg-type]
        if lab.ipv6:
            wanted.add(frames.unsolicited_advertisement(lb, VIP6))  # type: ignore[arg-type]

        def all_seen() -> bool:
            seen.extend(heard(hearing))
            return wanted <= set(seen)

        assert eventually(all_seen, 1), f"missing: {[one.hex() for one in wanted - set(seen)]}"


def test_who_has_is_answered_once_by_the_balancer_and_by_nobody_else(lab: Lab, serve: Serve) -> None:
    serve()
    router, lb = (bytes.fromhex(mac(role).replace(":", "")) for role in ("router", "lb"))
    with tap(lab.namespace("router"), "e0") as wire:
        for _ in range(3):
            wire.send(frames.arp_request(router, ip_address("198.18.1.1"), VIP))  # type: ignore[arg-type]
        answers: list[bytes] = []

        def answered() -> bool:
            # ARP to the asker, operation 2, from the VIP.
            told = (one for one in heard(wire) if one[:6] == router and one[12:14] == b"\x08\x06")
            answers.extend(one for one in told if one[20:22] == b"\0\x02" and one[28:32] == VIP.packed)
            return len(answers) >= 3

        assert eventually(answered, 20)
        assert not eventually(lambda: answered() and len(answers) > 3, 0.3)
    assert {(one[6:12], one[22:28]) for one in answers} == {(lb, lb)}


def test_with_force_another_owner_is_a_warning_and_the_vip_is_served(
    lab: Lab, serve: Serve, owner: Callable[[object], None], guest: str, client: Any
) -> None:
    owner(VIP)
    running = serve("--force")
    assert GUEST_MAC in running.wait_for(f"VIP {VIP} already belongs")
    run(["ip", "-n", guest, "addr", "flush", "dev", "e0", "to", str(VIP)])
    forget_neighbours(lab)
    assert client.requests(6)["errors"] == []
    assert running.stop() == 0


def test_a_later_intruder_is_reported_with_its_mac(
    lab: Lab, serve: Serve, owner: Callable[[object], None]
) -> None:
    running = serve(flags=to(RS1, more=both_versions(lab)))
    for vip in lab.vips:
        owner(vip)
    for vip in lab.vips:
        told = running.wait_for(f"{vip} .*{GUEST_MAC}")
        assert "e0" in told


def test_an_intruder_that_checks_for_duplicates_gives_up(lab: Lab, serve: Serve, guest: str) -> None:
    serve(version=6)

    def state() -> list[dict[str, Any]]:
        shown = run(["ip", "-j", "-n", guest, "addr", "show", "dev", "e0", "to", str(VIP6)])
        return [one for link in json.loads(shown) for one in link.get("addr_info", [])]

    try:
        run(["ip", "-n", guest, "addr", "add", f"{VIP6}/128", "dev", "e0"])
        assert eventually(lambda: any(one.get("dadfailed") for one in state()), 20), state()
    finally:
        run(["ip", "-n", guest, "addr", "flush", "dev", "e0", "to", str(VIP6)])


def test_two_interfaces_on_one_segment_are_no_intruders_to_each_other(
    lab: Lab, serve: Serve, second: Callable[..., None], client: Any
) -> None:
    second("switch", "", "")
    run(["ip", "-n", lab.namespace("switch"), "link", "set", "x1", "master", "br0"])
    running = serve(flags=to(RS1, interfaces=["e0", "x0"], more=both_versions(lab)))
    with pytest.raises(Exception, match="is silent"):
        running.wait_for("claimed|belongs", 3)
    assert client.requests(6)["errors"] == []


# ----------------------------------------------------------------------------- links that come and go


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
    assert not ours(lab)
    assert eventually(lambda: ours(lab) == before, 20)
    assert running.stop() == 0 and not ours(lab)


# ----------------------------------------------------------------------------- servers that come and go


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


# ----------------------------------------------------------------------------- counters


def concerns(frame: bytes, vips: Sequence[Any]) -> bool:
    """Tell whether a frame is one that dsrlb takes: to a VIP, or ARP or neighbour discovery about one."""
    kind = frame[12:14]
    if kind == b"\x08\x00":
        return frame[30:34] in vips
    if kind == b"\x08\x06":
        return frame[28:32] in vips or frame[38:42] in vips
    if kind == b"\x86\xdd":
        return frame[38:54] in vips or (frame[20] == 58 and frame[54] in (135, 136) and frame[62:78] in vips)
    return False


def test_every_frame_taken_is_counted_under_one_reason_and_every_one_sent_at_one_backend(
    lab: Lab, serve: Serve, client: Any
) -> None:
    more = ["--vip", f"{VIP}:5353/udp", "--backend", RS2]
    if lab.ipv6:
        more += ["--vip", f"[{VIP6}]:80", "--vip", f"[{VIP6}]:5353/udp"]
    running = serve(flags=to(RS1, more=more))
    with tap(lab.namespace("lb"), "e0") as hearing:
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
        taken = sum(concerns(one, packed) for one in heard(hearing))
    first, last = (reasons("reason  " + part) for part in running.stdout.split("reason  ")[1:])
    assert sum(last.values()) - sum(first.values()) == taken, (first, last)
    assert last["echo_reply"] == 3 * len(lab.vips)
    assert last["no_service"] >= len(lab.vips)
    by_backend = backends(running.stdout)
    assert sum(packets for packets, _, _ in by_backend.values()) == last["forwarded"]
    assert sum(flows for _, _, flows in by_backend.values()) == 40 * len(lab.vips)
