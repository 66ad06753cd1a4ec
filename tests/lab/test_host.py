"""Does dsrlb see and change the host as it promises?  On real namespaces, whose names end so:

::

    hlb e0 -- [br0 in hsw] -- e0 hs1 (server)
       .1                       .21   198.18.40.0/24, 2001:db8:40::/64
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from lab_wire import TEST_PREFIX, eventually, inside, soon

from dsrlb.errors import ConfigError
from dsrlb.host import frames, guard, links, neighbours, ownership
from dsrlb.host import watch as watch_module
from dsrlb.host.resolver import Resolver
from dsrlb.host.watch import Event, Watch
from dsrlb.model import person_mac, wire_address

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

LB, SWITCH, SERVER = (f"{TEST_PREFIX}{name}" for name in ("hlb", "hsw", "hs1"))
ARP_REPLY_HEAD = bytes.fromhex("08060001080006040002")  # bytes 12 to 21 of the frame
LB_V4 = ip_address("198.18.40.1")
SERVER_V4, SERVER_V6 = ip_address("198.18.40.21"), ip_address("2001:db8:40::21")
VIP_V4, VIP_V6 = ip_address("198.18.40.100"), ip_address("2001:db8:40::100")
BOTH = pytest.mark.parametrize("server", [SERVER_V4, SERVER_V6], ids=["ipv4", "ipv6"])
VIPS = pytest.mark.parametrize("vip", [VIP_V4, VIP_V6], ids=["ipv4", "ipv6"])
LB_MAC, SERVER_MAC = bytes.fromhex("0200c6122801"), bytes.fromhex("0200c6122815")


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True, timeout=60)


def sysctl(namespace: str, **values: int) -> None:
    with inside(namespace):
        for key, value in values.items():
            Path("/proc/sys/net", *key.split("__")).write_text(str(value))


def tear_down() -> None:
    for namespace in (LB, SWITCH, SERVER):
        ip("netns", "del", namespace, check=False)


@pytest.fixture
def lab() -> Iterator[None]:
    tear_down()
    try:
        ip("netns", "add", SWITCH)
        ip("-n", SWITCH, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        ip("-n", SWITCH, "link", "set", "br0", "up")
        for namespace, mac, last in ((LB, LB_MAC, "1"), (SERVER, SERVER_MAC, "21")):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
            port = f"p-{last}"
            ip("link", "add", "e0", "netns", namespace, "address", person_mac(mac), "type", "veth",
               "peer", "name", port, "netns", SWITCH)  # fmt: skip
            sysctl(namespace, ipv6__conf__e0__accept_dad=0, ipv6__conf__e0__keep_addr_on_down=1)
            ip("-n", SWITCH, "link", "set", port, "master", "br0", "up")
            ip("-n", namespace, "addr", "add", f"198.18.40.{last}/24", "dev", "e0")
            ip("-n", namespace, "addr", "add", f"2001:db8:40::{last}/64", "dev", "e0", "nodad")
            ip("-n", namespace, "link", "set", "e0", "up")
        sysctl(SERVER, ipv4__conf__all__arp_ignore=1, ipv4__conf__all__arp_announce=2)
        yield
    finally:
        tear_down()


class Control:
    """The part of the control loop that keeps MACs: step every 0.25 s, look at once on an event."""

    def __init__(self, *targets) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        with inside(LB):
            self.watch = Watch(self.events)
            self.resolver = Resolver(dict.fromkeys(targets, links.link("e0").ifindex))
        self.macs: dict = {}
        self.next_step = time.monotonic()

    def turn(self) -> dict:
        now = time.monotonic()
        with inside(LB):
            if now >= self.next_step:
                self.next_step = now + 0.25
                self.macs = self.resolver.step(now)
                return self.macs
            with contextlib.suppress(queue.Empty):
                if self.events.get(timeout=self.next_step - now)[0] == "neighbour":
                    self.macs = self.resolver.known(time.monotonic())
        return self.macs

    def until(self, target, mac, within_s: float) -> float:
        """Turn until the target has that MAC; return the seconds it took."""
        start = time.monotonic()
        while self.turn().get(target) != mac or target not in self.macs:
            assert time.monotonic() < start + within_s, f"{target} is {self.macs.get(target)}, not {mac}"
        return time.monotonic() - start

    def until_reachable(self, target, within_s: float) -> None:
        """Turn until the kernel has had an answer lately."""
        end = time.monotonic() + within_s
        while state_of(target) != neighbours.NUD_REACHABLE:
            assert time.monotonic() < end, f"{target} is in state {state_of(target):#x}"
            self.turn()

    def turn_for(self, duration_s: float) -> None:
        """Turn until that time has passed."""
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            self.turn()

    def close(self) -> None:
        self.watch.stop()
        self.resolver.close()


@contextlib.contextmanager
def control(*targets) -> Iterator[Control]:
    running = Control(*targets)
    try:
        yield running
    finally:
        running.close()


def state_of(address) -> int:
    with inside(LB):
        key = (links.link("e0").ifindex, wire_address(address))
        return neighbours.neighbours(key[0])[key].state


@BOTH
@pytest.mark.parametrize("down", [True, False], ids=["after link down", "while up"])
def test_a_new_mac_of_a_server_that_announces_nothing_is_followed_within_a_second(lab, server, down):
    with control(server) as running:
        running.until(server, SERVER_MAC, 30)

        def took_s(number: int) -> float:
            running.turn_for(1.2)  # past ARP's locktime: the kernel lets no MAC change within it
            running.until_reachable(server, 30)
            new = bytes.fromhex("0200c6122899")[:5] + bytes([0x90 + number])
            if down:
                ip("-n", SERVER, "link", "set", "e0", "down")
            ip("-n", SERVER, "link", "set", "e0", "address", person_mac(new))
            ip("-n", SERVER, "link", "set", "e0", "up")
            return running.until(server, new, 30)

        soon(took_s, promised_s=1.0)


@BOTH
def test_a_silent_server_becomes_unresolved_and_is_back_soon_after_it_answers_again(lab, server):
    with control(server) as running:
        running.until(server, SERVER_MAC, 30)

        def took_s(_: int) -> float:
            ip("-n", SWITCH, "link", "set", "p-21", "nomaster")
            print(f"unresolved after {running.until(server, None, 30):.3f} s")
            end = time.monotonic() + 3
            while time.monotonic() < end:
                assert running.turn()[server] is None
            ip("-n", SWITCH, "link", "set", "p-21", "master", "br0")
            return running.until(server, SERVER_MAC, 30)

        soon(took_s, promised_s=2.0)


def test_a_server_that_never_answered_is_unresolved(lab):
    nobody = ip_address("198.18.40.250")
    with control(nobody, SERVER_V4) as running:
        running.until(SERVER_V4, SERVER_MAC, 30)
        assert running.macs[nobody] is None


def test_a_balancer_without_an_address_of_the_subnet_still_resolves(lab):
    ip("-n", LB, "addr", "flush", "dev", "e0")
    ip("-n", LB, "addr", "add", "fe80::1/64", "dev", "e0", "nodad")
    with control(SERVER_V4) as running:
        running.until(SERVER_V4, SERVER_MAC, 30)
        running.turn_for(1.0)
        running.until_reachable(SERVER_V4, 30)


def test_resolving_survives_the_balancers_interface_going_down_and_up(lab):
    with control(SERVER_V4) as running:
        running.until(SERVER_V4, SERVER_MAC, 30)
        ip("-n", LB, "link", "set", "e0", "down")
        running.until(SERVER_V4, None, 30)
        ip("-n", LB, "link", "set", "e0", "up")
        running.until(SERVER_V4, SERVER_MAC, 30)


def test_the_watch_reports_links_addresses_and_neighbours(lab):
    events: queue.Queue[Event] = queue.Queue()
    with inside(LB):
        watch = Watch(events)
    try:
        for words, expected in (
            (("link", "set", "e0", "down"), ("link",)),
            (("link", "set", "e0", "up"), ("link",)),
            (("addr", "add", "198.18.41.1/24", "dev", "e0"), ("route",)),
            (("neigh", "add", "198.18.40.7", "lladdr", "02:00:00:00:00:07", "dev", "e0"), ("neighbour",)),
        ):
            ip("-n", LB, *words)
            assert eventually(lambda expected=expected: events.get(timeout=30) == expected, 30)
    finally:
        watch.stop()


def test_the_watch_subscribes_again_after_an_error(lab, monkeypatch):
    good = watch_module.events_of

    def broken_once(kind):
        monkeypatch.setattr(watch_module, "events_of", good)
        raise OSError("no such luck")

    monkeypatch.setattr(watch_module, "events_of", broken_once)
    events: queue.Queue[Event] = queue.Queue()
    with inside(LB):  # the thread stays in the namespace in which it was started
        watch = Watch(events)
    try:
        ip("-n", LB, "link", "set", "e0", "down")
        assert eventually(lambda: events.get(timeout=30) == ("resync",), 30)
        ip("-n", LB, "link", "set", "e0", "up")
        assert eventually(lambda: events.get(timeout=30) == ("link",), 30)
    finally:
        watch.stop()


def test_more_changes_than_the_kernel_can_hold_for_us_ask_for_a_full_look(lab, monkeypatch, tmp_path):
    monkeypatch.setattr(watch_module, "BUFFER_BYTES", 1)  # the kernel makes that its least
    batch = tmp_path / "batch"
    batch.write_text(
        "".join(f"neigh add 198.18.40.{n} lladdr 02:00:00:00:00:07 dev e0\n" for n in range(30, 250))
    )
    events: queue.Queue[Event] = queue.Queue()
    with inside(LB):
        watch = Watch(events)
    try:
        ip("-n", LB, "-batch", str(batch))
        assert eventually(lambda: events.get(timeout=30) == ("resync",), 30)
    finally:
        watch.stop()


def test_links_and_routes_are_told_as_they_are(lab):
    with inside(LB):
        here = links.link("e0")
        assert (here.mac, here.mtu_bytes, here.up) == (LB_MAC, 1500, True)
        assert [str(address) for address in here.ipv4] == ["198.18.40.1/24"]
        assert "2001:db8:40::1/64" in [str(address) for address in here.ipv6]
        broadcast = ip_address("198.18.40.255")
        own = [ip_address("198.18.40.1"), ip_address("2001:db8:40::1")]
        found = links.own_addresses([*own, SERVER_V4])
        assert {str(one) for one in found} == {"198.18.40.1/24 dev e0", "2001:db8:40::1/64 dev e0"}
        ip("-n", LB, "route", "add", "198.18.50.0/24", "via", "198.18.40.21")
        others = [ip_address(text) for text in ("198.18.50.9", "198.18.40.1", "198.19.0.1", "2001:db8:99::1")]
        routes = neighbours.routes_to([SERVER_V6, *others])
        direct, routed = routes[SERVER_V6], routes[others[0]]
        assert (direct.ifname, direct.gateway) == ("e0", None)
        assert (routed.gateway, routed.source) == (SERVER_V4, ip_address("198.18.40.1"))
        assert routes[others[1]].is_local
        assert neighbours.routes_to([broadcast])[broadcast].is_broadcast
        assert routes[others[2]] is None
        assert routes[others[3]] is None
        with pytest.raises(ConfigError, match="e0, lo"):
            links.link("e7")
        with pytest.raises(ConfigError, match="not an Ethernet interface"):
            links.link("lo")


@VIPS
def test_another_owner_of_the_vip_is_found_by_its_mac(lab, vip):
    with inside(LB):
        here = links.link("e0")
        assert ownership.find_owner(vip, here) is None
        ip("-n", SERVER, "addr", "add", f"{vip}/{vip.max_prefixlen}", "dev", "e0",
           *(["nodad"] if vip.version == 6 else []))  # fmt: skip
        assert ownership.find_owner(vip, here) == SERVER_MAC


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


@VIPS
def test_an_announcement_makes_neighbours_replace_the_mac_they_know(lab, vip):
    ip("-n", SERVER, "neigh", "add", str(vip), "lladdr", "02:00:00:00:00:07", "dev", "e0", "nud", "stale")
    with inside(SERVER):
        peer = links.link("e0").ifindex

    def known() -> bytes | None:
        with inside(LB):  # again and again: ARP's locktime may eat the first
            ownership.announce([vip], links.link("e0"))
        with inside(SERVER):
            return neighbours.neighbours(peer)[peer, wire_address(vip)].mac

    assert eventually(lambda: known() == LB_MAC, 30)


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
