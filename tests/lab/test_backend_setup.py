"""Do `dsrlb backend` and `scripts/backend-setup` do the same, and does a server set up by them keep quiet?

In two namespaces, whose names end so::

    b-client                             b-server
    c0 02:00:c6:12:00:01  ------------  s0 02:00:c6:12:00:02
    198.18.0.1/24, 2001:db8::1/64        198.18.0.2/24, 2001:db8::2/64; VIPs on lo
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from lab_fork import run_forked
from lab_wire import TEST_PREFIX, eventually
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from dsrlb.host import steps
from dsrlb.modes.l2dsr import host_steps

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="root is missing: network namespaces need it"),
]

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "scripts/backend-setup")
SHELLS = {"sh": ["sh", SCRIPT], "busybox": ["busybox", "sh", SCRIPT]}
CLIENT, SERVER = f"{TEST_PREFIX}b-client", f"{TEST_PREFIX}b-server"
CLIENT_MAC, SERVER_MAC = "02:00:c6:12:00:01", "02:00:c6:12:00:02"
VIP, VIP6 = "198.18.0.10", "2001:db8::10"
VIP_SETS = [(VIP,), (VIP6,), (VIP6, "198.18.0.11", VIP, VIP)]
DEADLINE_S = 60


def run(*words: str, code: int | None = 0, text: str = "") -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    return said(done, code)


def said(done: subprocess.CompletedProcess[str], code: int | None) -> str:
    assert code is None or done.returncode == code, (
        f"{done.args}: {done.returncode} {done.stdout}{done.stderr}"
    )
    return done.stdout + done.stderr


def server(*words: str, code: int | None = 0) -> str:
    return run("ip", "netns", "exec", SERVER, *words, code=code)


def tool(name: str, verb: str, *vips: str, plan: bool = False, code: int | None = 0) -> str:
    if name == "busybox" and shutil.which("busybox") is None:
        pytest.skip("busybox is missing")
    flags = [word for vip in vips for word in ("--vip", vip)] + ["--plan"] * plan
    return called(name, verb, "--mode", "l2dsr", *flags, code=code)


def called(name: str, *words: str, code: int | None) -> str:
    if name == "python":
        return said(run_forked(SERVER, "backend", *words), code)
    return server(*SHELLS[name], *words, code=code)


def snapshot() -> tuple[list[str], str]:
    # A new address of lo is tentative for a moment, though nobody could have a duplicate of it.
    assert eventually(lambda: "tentative" not in server("ip", "-o", "address", "show"), DEADLINE_S)
    addresses = server("ip", "-o", "address", "show").splitlines()
    return sorted(addresses), server("grep", "-r", "", "/proc/sys/net/ipv4/conf", "--include=arp_*")


def remove(namespace: str) -> None:
    handle = Path("/run/netns") / namespace
    if not handle.exists():
        return
    shutil.rmtree(steps.record.BASE / f"netns-{handle.stat().st_ino}", ignore_errors=True)
    run("ip", "netns", "del", namespace)


def _wait_for_link_local_addresses() -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    for namespace in (CLIENT, SERVER):
        ready = f"ip -n {namespace} -6 -o address show up scope link -tentative".split()
        while "fe80:" not in run(*ready):
            assert time.monotonic() < deadline_s, f"{namespace} got no link-local address"


@pytest.fixture(autouse=True)
def link() -> Iterator[None]:
    for namespace in (CLIENT, SERVER):
        remove(namespace)
    try:
        for namespace in (CLIENT, SERVER):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            no_dad = "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"
            run("ip", "netns", "exec", namespace, "sh", "-c", no_dad)
        run(*f"ip link add c0 netns {CLIENT} address {CLIENT_MAC} type veth peer name s0".split(),
            "netns", SERVER, "address", SERVER_MAC)  # fmt: skip
        for namespace, device, number in ((CLIENT, "c0", 1), (SERVER, "s0", 2)):
            run("ip", "-n", namespace, "address", "add", f"198.18.0.{number}/24", "dev", device)
            run("ip", "-n", namespace, "address", "add", f"2001:db8::{number}/64", "dev", device, "nodad")
            run("ip", "-n", namespace, "link", "set", device, "up")
        _wait_for_link_local_addresses()
        yield
    finally:
        for namespace in (CLIENT, SERVER):
            remove(namespace)


@pytest.mark.parametrize("vips", VIP_SETS)
@pytest.mark.parametrize("shell", ["sh", "busybox"])
def test_both_plan_the_steps_of_the_mode_and_change_nothing(shell: str, vips: tuple[str, ...]) -> None:
    before = snapshot()
    of_the_mode = steps.for_vips([ip_address(vip) for vip in vips], host_steps)
    expected = "".join(f"{steps.command(step)}\n" for step in of_the_mode)
    assert tool("python", "setup", *vips, plan=True) == expected
    assert tool(shell, "setup", *vips, plan=True) == expected
    assert snapshot() == before


@pytest.mark.parametrize("vips", VIP_SETS)
@pytest.mark.parametrize(("first", "second"), [("python", "sh"), ("sh", "python"), ("busybox", "busybox")])
def test_either_undoes_what_the_other_set_up(first: str, second: str, vips: tuple[str, ...]) -> None:
    server("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/arp_announce; ip a add 198.18.0.11/32 dev lo")
    server("sh", "-c", "echo 3 >/proc/sys/net/ipv4/conf/s0/arp_ignore")
    before = snapshot()
    assert "done  " in tool(first, "setup", *vips)
    after = snapshot()
    again = tool(second, "setup", *vips)
    assert "done  " not in again
    assert snapshot() == after != before
    planned = tool(first, "undo", *vips, plan=True)
    assert tool(second, "undo", *vips, plan=True) == planned
    done = tool(second, "undo", *vips)
    assert [line[9:] for line in done.splitlines() if line.startswith("done ")] == planned.splitlines()
    assert snapshot() == before
    assert "nothing  to undo" in tool(first, "undo", *vips)
    assert snapshot() == before


@pytest.mark.parametrize("vips", VIP_SETS)
@pytest.mark.parametrize("shell", ["sh", "busybox"])
def test_both_say_and_do_the_same_at_every_stage(shell: str, vips: tuple[str, ...]) -> None:
    server("sh", "-c", "echo 3 >/proc/sys/net/ipv4/conf/s0/arp_ignore")
    told, held = [], []
    for name in ("python", shell):
        first = tool(name, "undo", *vips)
        unready = tool(name, "verify", *vips, code=1)
        done = tool(name, "setup", *vips)
        held.append(snapshot())
        again = tool(name, "setup", *vips)
        ready = tool(name, "verify", *vips)
        told.append([first, unready, done, again, ready, tool(name, "undo", *vips)])
    assert told[0] == told[1]
    assert held[0] == held[1]
    assert all(line.startswith("present  ") for line in told[0][4].splitlines())


@pytest.mark.parametrize("name", ["python", "sh"])
def test_the_lines_of_the_plan_pasted_into_a_shell_are_the_setup(name: str) -> None:
    if shutil.which("sysctl") is None:
        pytest.skip("sysctl (procps) is missing")
    server("sh", "-ec", tool(name, "setup", VIP, VIP6, plan=True))
    tool("python", "verify", VIP, VIP6)
    pasted = snapshot()
    server("ip", "address", "flush", "dev", "lo", "scope", "global")
    tool(name, "setup", VIP, VIP6)
    assert snapshot() == pasted


@pytest.mark.parametrize("name", ["python", "sh"])
def test_of_several_vips_the_last_one_takes_the_sysctls_back(name: str) -> None:
    before = snapshot()
    for vip in (VIP, "198.18.0.11", VIP6):
        tool(name, "setup", vip)
    assert "sysctl" not in tool(name, "undo", VIP)
    assert "sysctl" not in tool(name, "undo", VIP6)
    tool(name, "verify", "198.18.0.11")
    assert "arp_ignore=0" in tool(name, "undo", "198.18.0.11")
    assert snapshot() == before


@pytest.mark.parametrize("flags", [["undo"], ["setup", "--mode", "l4dsr"], ["verify", "--plan"], []])
def test_a_wrong_command_line_ends_with_exit_code_2(flags: list[str]) -> None:
    vip = ["--vip", VIP] if flags else []
    for name in ("python", "sh"):
        called(name, *flags, *vip, code=2)


def test_without_root_the_script_verifies_and_plans_but_refuses_to_change() -> None:
    def nobody(*words: str, code: int) -> str:
        enter = f"ip netns exec {SERVER} setpriv --reuid=65534 --clear-groups sh -s --".split()
        return run(*enter, *words, "--mode", "l2dsr", "--vip", VIP, code=code, text=Path(SCRIPT).read_text())

    assert "missing  198.18.0.10/32 on lo" in nobody("verify", code=1)
    assert "needs root" in nobody("setup", code=4)
    assert "needs root" in nobody("undo", code=4)
    assert "dev lo" in nobody("setup", "--plan", code=0)
    tool("python", "setup", VIP)
    assert "ip address del 198.18.0.10/32 dev lo" in nobody("undo", "--plan", code=0)


def test_a_kernel_that_refuses_is_one_sentence_and_exit_code_4_and_undo_still_works() -> None:
    server("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6")
    before = snapshot()
    said = [tool(name, "setup", VIP6, code=4).strip() for name in ("python", "sh")]
    assert "cannot add 2001:db8::10/128 on lo" in said[0]
    assert said[0].startswith("dsrlb: cannot") and said[1].startswith("backend-setup: cannot")
    assert tool("sh", "undo", VIP6).startswith("gone ")
    assert snapshot() == before


# --- what it is for: the server answers for the VIP without telling the link ------------------

ASK = """
import socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.bind(("c0", 0)); link.settimeout(30)
for frame in sys.argv[2:]: link.send(bytes.fromhex(frame))
while True:
    frame, where = link.recvfrom(2000)
    reply = frame[12:14] == b"\\x08\\x06" and frame[20:22] == b"\\0\\2" and frame[28:32]
    reply = reply or frame[12:14] == b"\\x86\\xdd" and frame[20] == 58 and frame[54] == 136 and frame[62:78]
    if reply and where[2] != socket.PACKET_OUTGOING: print(reply.hex(), flush=True)
    if reply and reply.hex() == sys.argv[1]: break
"""


def who_answers(vip: str, own: str) -> set[str]:
    """Ask for the VIP, then for the server's own address; the second answer ends the waiting."""
    frames = [bytes(_question(target)).hex() for target in (vip, own)]
    answers = run(
        "ip", "netns", "exec", CLIENT, sys.executable, "-c", ASK, ip_address(own).packed.hex(), *frames
    )
    return {str(ip_address(bytes.fromhex(line))) for line in answers.split()}


def _question(target: str) -> Ether:
    ether = Ether(src=CLIENT_MAC, dst=SERVER_MAC)
    if ":" not in target:
        return ether / ARP(op=1, hwsrc=CLIENT_MAC, psrc="198.18.0.1", pdst=target)
    solicitation = ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=CLIENT_MAC)
    return ether / IPv6(src="2001:db8::1", dst=target, hlim=255) / solicitation


def test_a_server_with_the_vip_and_nothing_else_answers_arp_for_it() -> None:
    server("ip", "address", "add", f"{VIP}/32", "dev", "lo")
    assert who_answers(VIP, "198.18.0.2") == {VIP, "198.18.0.2"}


@pytest.mark.parametrize("name", ["python", "sh"])
@pytest.mark.parametrize(("vip", "own"), [(VIP, "198.18.0.2"), (VIP6, "2001:db8::2")])
def test_a_server_that_is_set_up_never_answers_for_the_vip(name: str, vip: str, own: str) -> None:
    tool(name, "setup", vip)
    assert who_answers(vip, own) == {own}


SERVE = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.create_server((sys.argv[1], 80), family=family)
print("ready", flush=True)
connection, _ = listener.accept()
connection.sendall(connection.recv(100) + b" from " + connection.getsockname()[0].encode())
"""
CONNECT = """
import socket, sys
client = socket.create_connection((sys.argv[1], 80), timeout=30)
client.sendall(b"hello"); print(client.makefile("rb").read().decode())
"""


@pytest.mark.parametrize("name", ["python", "sh"])
@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_a_client_whose_frames_are_sent_to_the_server_is_answered_from_the_vip(name: str, vip: str) -> None:
    tool(name, "setup", vip)
    run(*f"ip -n {CLIENT} neigh replace {vip} lladdr {SERVER_MAC} dev c0 nud permanent".split())
    enter = ["ip", "netns", "exec", SERVER, sys.executable, "-c", SERVE, vip]
    with subprocess.Popen(enter, stdout=subprocess.PIPE, text=True) as listening:
        try:
            assert listening.stdout is not None and listening.stdout.readline() == "ready\n"
            answer = run("ip", "netns", "exec", CLIENT, sys.executable, "-c", CONNECT, vip)
        finally:
            listening.kill()
    assert answer == f"hello from {vip}\n"


@pytest.mark.parametrize("name", ["python", "sh"])
def test_a_server_never_picks_the_ipv6_vip_as_the_source_of_its_own_connections(name: str) -> None:
    server("ip", "-6", "route", "add", "2001:db8:ff::/48", "via", "2001:db8::1")
    longest_match = "2001:db8:ff::10"  # by RFC 6724 rule 8 alone this VIP would be the source
    tool(name, "setup", longest_match)
    assert " src 2001:db8::2 " in server("ip", "-6", "route", "get", "2001:db8:ff::1")
