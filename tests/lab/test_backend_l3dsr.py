"""Does a server set up for l3dsr answer for its VIPs, and is every fault named?

With the BPF decapsulator; and with the kernel's tunnel devices as well, where this kernel has them.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_fork import run_forked
from lab_server import (
    CLIENT,
    CLIENT_MAC,
    SERVER,
    SERVER_MAC,
    called,
    run,
    said,
    server,
    snapshot,
    two_namespaces,
)
from lab_wire import inside
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from dsrlb.host import decap

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="root is missing: network namespaces need it"),
]

VIP, VIP6 = "198.18.10.1", "2001:db8:10::1"
BOTH = ("--mode", "l3dsr", "--vip", VIP, "--vip", VIP6)
LINK = Ether(src=CLIENT_MAC, dst=SERVER_MAC)
OUTERS = {4: IP(src="198.18.0.1", dst="198.18.0.2"), 6: IPv6(src="2001:db8::1", dst="2001:db8::2")}
INNERS = {4: IP(src="198.18.0.1", dst=VIP), 6: IPv6(src="2001:db8::1", dst=VIP6)}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
DEADLINE_S = 60
DEVICES = ("tunl0", "sit0", "ip6tnl0")


def has_tunnels() -> bool:
    """Whether a new network namespace has the kernel's tunnel devices, or can be given them."""
    for module in ("ipip", "sit", "ip6_tunnel"):
        subprocess.run(["sh", "-c", f"modprobe -q {module}"], capture_output=True, check=False)
    return all(Path("/sys/class/net", device).exists() for device in DEVICES)


DECAPS = ["bpf", *(["kernel"] if has_tunnels() else [])]


@pytest.fixture(autouse=True)
def link() -> Iterator[None]:
    with two_namespaces():
        yield


def setup(*flags: str, decap: str = "bpf") -> str:
    return called("python", "setup", *BOTH, "--decap", decap, *flags)


def verify(code: int, *flags: str) -> str:
    return called("python", "verify", *BOTH, *flags, code=code)


def send(packet: Packet) -> None:
    with inside(CLIENT), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.bind(("c0", 0))
        wire.send(bytes(LINK / packet))


def answers(inner: int, wrapped: Packet) -> bool:
    """Whether a datagram in a tunnel gets an answer from the VIP, straight."""
    vip = {4: VIP, 6: VIP6}[inner]
    with inside(SERVER):
        service = socket.socket(FAMILY[inner], socket.SOCK_DGRAM)
    with inside(CLIENT):
        client = socket.socket(FAMILY[inner], socket.SOCK_DGRAM)
    with service, client:
        service.bind((vip, 53))
        client.bind((INNERS[inner].src, 4000))
        client.settimeout(DEADLINE_S)
        service.settimeout(DEADLINE_S)
        send(wrapped / UDP(sport=4000, dport=53) / Raw(b"question"))
        question, where = service.recvfrom(100)
        service.sendto(question + b" answered", where)
        answer, source = client.recvfrom(100)
    return (answer, source[0]) == (b"question answered", vip)


@pytest.mark.parametrize("strict", [0, 1])
@pytest.mark.parametrize("inner", [4, 6])
@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("decap", DECAPS)
def test_a_wrapped_question_is_answered_straight_from_the_vip(
    decap: str, outer: int, inner: int, strict: int
) -> None:
    """Also where the kernel checks sources strictly, on every device."""
    values = "/proc/sys/net/ipv4/conf/all/rp_filter /proc/sys/net/ipv4/conf/default/rp_filter"
    server("sh", "-c", f"for file in {values}; do echo {strict} >$file; done")
    setup(decap=decap)
    assert answers(inner, OUTERS[outer] / INNERS[inner])
    told = verify(0)
    assert ("counter  s0 decapsulated 1\n" in told) == (decap == "bpf")


def test_gue_is_taken_off_at_the_port_that_was_asked_for() -> None:
    setup("--encap", "gue", "--encap-port", "7000")
    wrapper = OUTERS[4] / UDP(sport=50_000, dport=7000) / Raw(b"\0\4\0\0")
    assert answers(4, wrapper / INNERS[4])
    assert "advmss 1408" in server("ip", "route")


@pytest.mark.parametrize("decap", DECAPS)
def test_undo_leaves_nothing_behind(decap: str) -> None:
    before = snapshot()
    setup(decap=decap)
    after = snapshot()
    assert "done  " not in setup(decap=decap)
    assert snapshot() == after != before
    called("python", "undo", *BOTH)
    assert snapshot() == before


def test_filters_of_others_stay_and_so_do_the_hooks_they_are_on() -> None:
    other = "tc filter add dev s0 egress pref 7 protocol ip u32 match ip dst 198.18.0.99/32"
    setup()
    server(*other.split())
    assert "kept     clsact on s0: others use it by now" in called("python", "undo", *BOTH)
    assert "u32" in server(*["tc", "filter", "show", "dev", "s0", "egress"])
    assert "dsrlb_decap" not in server(*["tc", "filter", "show", "dev", "s0", "ingress"])


def test_a_decapsulator_that_went_away_or_forgot_a_vip_is_named() -> None:
    setup()
    with inside(SERVER):
        decap.remove_vip("s0", next(vip for vip in decap.vips("s0") if vip.version == 6))
    assert f"missing  {VIP6} in dsrlb_decap on s0: " in verify(1)
    server(*["tc", "filter", "del", "dev", "s0", "ingress"])
    assert "missing  dsrlb_decap on s0: tc filter add dev s0 ingress" in verify(1)
    setup()
    verify(0)
    server(*["tc", "qdisc", "del", "dev", "s0", "clsact"])
    assert "missing  clsact on s0: tc qdisc add dev s0 clsact" in verify(1)


def test_a_line_of_the_plan_pasted_by_a_person_counts() -> None:
    planned = called("python", "setup", *BOTH, "--decap", "bpf", "--plan").splitlines()
    server("sh", "-ec", "\n".join(line for line in planned if not line.startswith("bpftool")))
    told = called("python", "verify", *BOTH, "--decap", "bpf", code=1)
    missing = [line.split()[1] for line in told.splitlines() if not line.startswith("present")]
    assert missing == [VIP, VIP6]  # in the program's map


def test_verify_says_what_it_cannot_see_without_root() -> None:
    setup()
    told = said(run_forked(SERVER, "backend", "verify", *BOTH, uid=65534), 4)
    assert "needs root" in told


def test_a_wrong_device_is_named() -> None:
    told = called("python", "setup", *BOTH, "--decap", "bpf", "--device", "s9", code=3)
    assert "There is no device s9; this machine has" in told
    told = called("python", "setup", *BOTH, "--decap", "bpf", "--device", "lo", code=3)
    assert "lo is not an Ethernet device" in told
    run(*f"ip -n {SERVER} route del default".split())
    run(*f"ip -n {SERVER} -6 route del default".split())
    assert "default route" in called("python", "setup", *BOTH, "--decap", "bpf", code=3)


def test_the_script_leaves_a_decapsulator_to_dsrlb(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says what is missing where there is none."""
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    needed = "install dsrlb here, on the server; one that PATH lacks is told by --dsrlb."
    assert needed in called("sh", "setup", *BOTH, "--decap", "bpf", code=4)
    setup()
    after = snapshot()
    assert needed in called("sh", "undo", *BOTH, code=4)
    assert snapshot() == after


def test_clients_are_asked_for_segments_that_fit() -> None:
    """What the client may send follows from the SYN+ACK that the server sends from the VIP."""
    setup("--outer", "4")
    run(
        *f"ip -n {CLIENT} address add 198.18.50.1/32 dev lo".split()
    )  # the server knows it by its default route
    run(*f"ip -n {CLIENT} route add {VIP} via 198.18.0.2".split())
    with inside(SERVER):
        listener = socket.create_server((VIP, 80))
    with listener, inside(CLIENT):
        client = socket.create_connection((VIP, 80), DEADLINE_S, source_address=("198.18.50.1", 0))
        with client:
            assert (
                client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) == 1440 - 12
            )  # less the time stamps
