"""Does the host stay silent about a VIP behind the guard, and is the guard taken back?"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest
from lab_host import (
    ARP_REPLY_HEAD,
    LB,
    LB_MAC,
    LB_V4,
    SERVER,
    SERVER_MAC,
    SERVER_V4,
    SERVER_V6,
    VIP_V4,
    VIP_V6,
    VIPS,
    ip,
    sysctl,
)
from lab_wire import eventually, inside

from dsrlb.errors import ConfigError
from dsrlb.host import frames, guard, ownership
from dsrlb.model import person_mac


@contextlib.contextmanager
def tap(namespace: str) -> Iterator[socket.socket]:
    with inside(namespace), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as packets:
        packets.bind(("e0", 3))
        packets.settimeout(30)
        yield packets


def received(packets: socket.socket, until: Callable[[bytes], bool]) -> list[bytes]:
    """Return the incoming frames up to the one awaited."""
    seen: list[bytes] = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        frame, origin = packets.recvfrom(70000)
        if origin[2] == ownership.PACKET_OUTGOING:
            continue
        if until(frame):
            return seen
        seen.append(frame)
    raise AssertionError("the awaited frame did not come")


# A TCP SYN, a UDP datagram and an echo request to the VIP, from the server's address.
def frames_to(vip) -> list[bytes]:
    from scapy.all import ICMP, IP, TCP, UDP, Ether, ICMPv6EchoRequest, IPv6

    network, source, echo = (
        (IP, SERVER_V4, ICMP()) if vip.version == 4 else (IPv6, SERVER_V6, ICMPv6EchoRequest())
    )
    head = Ether(src=person_mac(SERVER_MAC), dst=person_mac(LB_MAC)) / network(src=str(source), dst=str(vip))
    return [
        bytes(head / TCP(sport=4000, dport=80)),
        bytes(head / UDP(sport=4000, dport=53) / b"question"),
        bytes(head / echo),
    ]


def what_the_host_says_about(vip) -> list[bytes]:
    """Send frames to the VIP; return what the balancer's host sent to the server or about the VIP.

    The last frame is an ARP request for its own address: when that is answered, the rest is dealt with.
    """
    last = frames.arp_request(SERVER_MAC, SERVER_V4, LB_V4)
    asked = (
        frames.arp_request(SERVER_MAC, SERVER_V4, vip)
        if vip.version == 4
        else frames.neighbour_solicitation(SERVER_MAC, SERVER_V6, vip)
    )
    with tap(SERVER) as packets:
        for frame in [asked, *frames_to(vip), last]:
            packets.send(frame)
        seen = received(packets, lambda frame: frame[12:32] == ARP_REPLY_HEAD + LB_MAC + LB_V4.packed)
    from_lb = [frame for frame in seen if frame[6:12] == LB_MAC]
    return [frame for frame in from_lb if frame[0:6] == SERVER_MAC or vip.packed in frame]


@VIPS
@pytest.mark.parametrize("forwarding", [0, 1])
def test_behind_the_guard_the_host_says_nothing_about_the_vip_and_taps_still_see_it(lab, vip, forwarding):
    # Settle: neither side has to ask for the other in between.
    ip("-n", LB, "neigh", "replace", str(SERVER_V4), "lladdr", person_mac(SERVER_MAC), "dev", "e0")
    ip("-n", LB, "neigh", "replace", str(SERVER_V6), "lladdr", person_mac(SERVER_MAC), "dev", "e0")
    ip("-n", SERVER, "neigh", "replace", "198.18.40.1", "lladdr", person_mac(LB_MAC), "dev", "e0")
    sysctl(LB, ipv4__ip_forward=forwarding, ipv6__conf__all__forwarding=forwarding)
    if forwarding:
        # The control of this experiment: without the guard the host does speak.
        assert eventually(lambda: what_the_host_says_about(vip), 30)
    with inside(LB):
        guard.install([vip], ["e0"])
        with tap(LB) as packets:
            assert what_the_host_says_about(vip) == []
            sent = frames_to(vip)
            received(packets, lambda frame: frame == sent[-1])
        guard.remove([vip])
    if forwarding:
        assert eventually(lambda: what_the_host_says_about(vip), 30)


def rules(family: str) -> str:
    return subprocess.run(["ip", "-n", LB, family, "rule"], check=True, capture_output=True, text=True).stdout


def test_rules_of_a_crashed_run_are_adopted_and_those_of_others_left_alone(lab):
    other = ip_address("198.18.40.101")
    before = rules("-4"), rules("-6")
    with inside(LB):
        guard.install([VIP_V4, VIP_V6], ["e0", "e9"])  # a run that crashed
        theirs = guard.claim([other])  # another dsrlb, alive
        guard.install([other], ["e0"])
        guard.install([VIP_V4, VIP_V6], ["e0"])  # the next start
        assert rules("-4").count("blackhole") == 2
        assert rules("-6").count("blackhole") == 1
        assert "e9" not in rules("-4") + rules("-6")
        assert set(guard.remove_stale()) == {VIP_V4, VIP_V6}
        assert rules("-4").count("blackhole") == 1
        guard.remove([other, VIP_V4])
        theirs.release()
    assert (rules("-4"), rules("-6")) == before


def test_a_rule_like_ours_that_is_not_ours_stays(lab):
    rule = "pref 10 iif e0 to 198.18.40.102/32 blackhole protocol 99"
    ip("-n", LB, "rule", "add", *rule.split())
    with inside(LB):
        assert guard.remove_stale() == ()
        guard.remove([ip_address("198.18.40.102")])
    assert "198.18.40.102" in rules("-4")


def test_a_vip_is_served_by_one_process_until_that_one_ends(lab):
    with inside(LB):
        first = guard.claim([VIP_V4])
        with pytest.raises(ConfigError, match=r"already serves VIP 198\.18\.40\.100"):
            guard.claim([VIP_V6, VIP_V4])
        guard.claim([VIP_V6]).release()  # the refused claim kept nothing
        first.release()
        guard.claim([VIP_V4]).release()
    with inside(SERVER):  # a namespace is a host of its own
        guard.claim([VIP_V4]).release()
