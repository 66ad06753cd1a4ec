"""Do real connections work through the decapsulator, with unfinished checksums and joined segments?

In three namespaces, whose names end so::

    d-client                    d-lb                          d-server
    c0  ---------------------  l0   l1  --------------------  s0
    198.18.0.2, 2001:db8::2    .1, ::1   198.18.21.1, ::1     198.18.21.2, 2001:db8:21::2; VIPs on lo

In d-lb a thread wraps what the client sends to a VIP, as a balancer does, and keeps its checksums
unfinished by way of the packet socket's vnet header.  Segments come one by one, since that header cannot tell
of a tunnel; the server's device joins them again (GRO) before the decapsulator sees them.  What the server
answers is routed back without a tunnel.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest
from lab_wire import TEST_PREFIX, eventually, inside
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from dsrlb.bpf.objects import object_path
from dsrlb.errors import HostError
from dsrlb.host import bpf_attach, decap
from dsrlb.lab.topology import run

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="root is missing: network namespaces need it"),
]

CLIENT, LB, SERVER = (f"{TEST_PREFIX}d-{name}" for name in ("client", "lb", "server"))
CLIENT_MAC, LB_MAC, SERVER_MAC = "02:00:c6:12:05:01", "02:00:c6:12:05:02", "02:00:c6:12:05:03"
ENDS = ((CLIENT, "c0", "0.2"), (LB, "l0", "0.1"), (LB, "l1", "21.1"), (SERVER, "s0", "21.2"))
VIPS = {4: "198.18.10.1", 6: "2001:db8:10::1"}
ETH_TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
VNET = struct.Struct("=BBHHHH")  # linux/virtio_net.h: flags, GSO type, header length, GSO size, start, offset
SOL_PACKET, PACKET_VNET_HDR, PACKET_OUTGOING, ETH_P_ALL = 263, 15, 4, 3
GUE = 6080
DEADLINE_S = 60


def ip(namespace: str, line: str) -> str:
    return run(["ip", "-n", namespace, *line.split()])


@pytest.fixture(scope="module")
def link() -> Iterator[None]:
    clean()
    try:
        for namespace in (CLIENT, LB, SERVER):
            run(["ip", "netns", "add", namespace])
            ip(namespace, "link set lo up")
        ip(CLIENT, f"link add c0 address {CLIENT_MAC} type veth peer name l0 netns {LB}")
        ip(LB, f"link add l1 type veth peer name s0 address {SERVER_MAC} netns {SERVER}")
        for namespace, device, own in ENDS:
            net, host = own.split(".")
            ip(namespace, f"address add 198.18.{own}/24 dev {device}")
            ip(namespace, f"address add 2001:db8:{net}::{host}/64 dev {device} nodad")
            ip(namespace, f"link set {device} up")
        for namespace, net in ((CLIENT, 0), (SERVER, 21)):
            ip(namespace, f"route add default via 198.18.{net}.1 advmss 1360")
            ip(namespace, f"-6 route add default via 2001:db8:{net}::1 advmss 1340")
        run(
            [
                "ip",
                "netns",
                "exec",
                LB,
                "sysctl",
                "-qw",
                "net.ipv4.ip_forward=1",
                "net.ipv6.conf.all.forwarding=1",
            ]
        )
        for namespace, device in ((CLIENT, "c0"), (LB, "l1")):  # from a device with TSO veth joins nothing
            run(["ip", "netns", "exec", namespace, "ethtool", "-K", device, "tso", "off", "gso", "off"])
        run(["ip", "netns", "exec", SERVER, "ethtool", "-K", "s0", "gro", "on"])
        hold = "cd /sys/class/net/s0; echo 1 >napi_defer_hard_irqs; echo 2000000 >gro_flush_timeout"
        run(
            ["ip", "netns", "exec", SERVER, "sh", "-ec", hold]
        )  # for so many ns, to be joined with what follows
        for version, vip in VIPS.items():
            ip(LB, f"-{version} route add blackhole {vip}")  # the thread forwards it, the kernel must not
            ip(SERVER, f"address add {vip} dev lo" + " preferred_lft 0" * (version == 6))
        with inside(SERVER):
            bpf_attach.make_clsact(socket.if_nametoindex("s0"))
            decap.attach("s0", GUE)
            for vip in VIPS.values():
                decap.add_vip("s0", ip_address(vip))
        yield
    finally:
        clean()


def clean() -> None:
    for namespace in (CLIENT, LB, SERVER):
        if Path("/run/netns", namespace).exists():
            run(["ip", "netns", "del", namespace])


# --- a balancer in thirty lines -------------------------------------------------------------------


def outer_of(version: int, how: str, inner: bytes, ecn: int) -> bytes:
    """The bytes to put before an inner packet."""
    protocol = 4 if inner[0] >> 4 == 4 else 41
    gue = {"gue0": bytes((0, protocol, 0, 0)), "gue1": b""}.get(how)
    middle = (
        b"" if gue is None else bytes(UDP(sport=50_000, dport=GUE, len=8 + len(gue + inner), chksum=0)) + gue
    )
    number = 17 if gue is not None else protocol
    if version == 6:
        length = len(middle) + len(inner)
        return (
            bytes(IPv6(src="2001:db8:21::1", dst="2001:db8:21::2", nh=number, plen=length & 0xFFFF, tc=ecn))
            + middle
        )
    length = 20 + len(middle) + len(inner)
    return (
        bytes(IP(src="198.18.21.1", dst="198.18.21.2", proto=number, len=length & 0xFFFF, tos=ecn)) + middle
    )


def wrapped(received: bytes, version: int, how: str, ecn: int) -> bytes | None:
    """The frame to send for a received one (both behind their vnet headers), or None."""
    state, frame = VNET.unpack(received[:10]), received[10:]
    inner = frame[14:]
    if (frame[12:14], inner[16:20]) != (ETH_TYPES[4], ip_address(VIPS[4]).packed) and (
        frame[12:14],
        inner[24:40],
    ) != (ETH_TYPES[6], ip_address(VIPS[6]).packed):
        return None
    outer = outer_of(version, how, inner, ecn)
    flags, _, _, _, start, offset = state
    moved = VNET.pack(flags, 0, 0, 0, start + len(outer) if flags else 0, offset)
    macs = bytes.fromhex((SERVER_MAC + LB_MAC).replace(":", ""))
    return moved + macs + ETH_TYPES[version] + outer + inner


@contextlib.contextmanager
def balancing(version: int, how: str, ecn: int = 0) -> Iterator[list[int]]:
    """Wrap what comes in for a VIP, for the length of a with statement; yields the lengths of frames sent."""
    sent: list[int] = []
    with inside(LB):
        taps = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) for _ in range(2)]
    for tap, device in zip(taps, ("l0", "l1"), strict=True):
        tap.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        tap.settimeout(0.05)
        tap.bind((device, ETH_P_ALL))
    stop = threading.Event()

    def forward() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                received, where = taps[0].recvfrom(70_000)
                frame = None if where[2] == PACKET_OUTGOING else wrapped(received, version, how, ecn)
                if frame is not None:
                    taps[1].send(frame)
                    sent.append(len(frame) - 10)

    thread = threading.Thread(target=forward)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()
        for tap in taps:
            tap.close()


# --- the tests ------------------------------------------------------------------------------------


def counted() -> dict[str, int]:
    with inside(SERVER):
        return decap.counters("s0")


def errors_of_checksums() -> int:
    said = run(["ip", "netns", "exec", SERVER, "cat", "/proc/net/snmp", "/proc/net/snmp6"])
    rows = [line.split() for line in said.splitlines()]
    found = [int(row[1]) for row in rows if row[0].endswith("InCsumErrors")]
    for names, values in pairwise(rows):
        if names[0] == values[0] and "InCsumErrors" in names:
            found.append(int(values[names.index("InCsumErrors")]))
    return sum(found)


@pytest.fixture
def listener(request: pytest.FixtureRequest, link: None) -> Iterator[socket.socket]:
    """A server on a VIP: it answers with the digest of what it got, and as many bytes again."""
    version = request.getfixturevalue("inner")
    with inside(SERVER):
        waiting = socket.create_server((VIPS[version], 80), family=family(version))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = waiting.accept()
            connection.settimeout(DEADLINE_S)
            with connection, connection.makefile("rb") as reader:
                content = reader.read()
                connection.sendall(hashlib.sha256(content).digest() + content)

    thread = threading.Thread(target=serve)
    thread.start()
    yield waiting
    with contextlib.suppress(OSError):
        waiting.shutdown(socket.SHUT_RDWR)
    thread.join()
    waiting.close()


def family(version: int) -> socket.AddressFamily:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def exchanged(vip: str, content: bytes) -> bytes:
    """What the client gets for what it sends."""
    with inside(CLIENT), socket.create_connection((vip, 80), timeout=DEADLINE_S) as client:
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as reader:
            return reader.read()


@pytest.mark.parametrize("how", ["ip", "gue0", "gue1"])
@pytest.mark.parametrize("inner", [4, 6])
@pytest.mark.parametrize("outer", [4, 6])
def test_a_connection_carries_its_bytes_both_ways(
    outer: int, inner: int, how: str, listener: socket.socket
) -> None:
    before, wrong = counted(), errors_of_checksums()
    content = os.urandom(1_000_000)
    with balancing(outer, how) as sent:
        answer = exchanged(VIPS[inner], content)
    assert answer == hashlib.sha256(content).digest() + content
    moved = {name: now - before[name] for name, now in counted().items() if now != before[name]}
    assert moved.keys() == {"decapsulated"}
    if how == "ip":
        assert moved["decapsulated"] < len(sent), "no segments were joined: GRO was off"
    assert errors_of_checksums() == wrong


@pytest.mark.parametrize("inner", [4, 6])
@pytest.mark.parametrize("outer", [4, 6])
def test_a_datagram_arrives_with_the_congestion_it_met(outer: int, inner: int, link: None) -> None:
    with inside(SERVER):
        receiver = socket.socket(family(inner), socket.SOCK_DGRAM)
    level, wanted, field, receive = (
        (socket.IPPROTO_IP, socket.IP_TOS, socket.IP_TOS, 13)  # linux/in.h: IP_RECVTOS
        if inner == 4
        else (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, socket.IPV6_TCLASS, socket.IPV6_RECVTCLASS)
    )
    with receiver, balancing(outer, "ip", ecn=3), inside(CLIENT):
        receiver.bind((VIPS[inner], 53))
        receiver.settimeout(DEADLINE_S)
        receiver.setsockopt(level, receive, 1)
        with socket.socket(family(inner), socket.SOCK_DGRAM) as sender:
            sender.sendto(b"cannot say", (VIPS[inner], 53))  # not ECN-capable: dropped
            sender.setsockopt(level, wanted, 2)
            sender.sendto(b"can say", (VIPS[inner], 53))
        message, ancillary, _, _ = receiver.recvmsg(100, 100)
    assert message == b"can say"
    assert [(one, kind, value[0]) for one, kind, value in ancillary] == [(level, field, 3)]


@pytest.mark.parametrize("version", [4, 6])
def test_a_server_that_is_a_router_as_well_leaves_tunnels_of_others_alone(version: int, link: None) -> None:
    """The packet is for the server's MAC and for its VIP, but the tunnel ends at another host."""
    key = "net.ipv4.ip_forward" if version == 4 else "net.ipv6.conf.all.forwarding"
    switch = ["ip", "netns", "exec", SERVER, "sysctl", "-qw"]
    elsewhere = {4: "198.18.21.9", 6: "2001:db8:21::9"}[version]
    inner = IP(src="198.18.0.2", dst=VIPS[4]) / UDP()
    outer = (
        IP(src="198.18.21.1", dst=elsewhere) if version == 4 else IPv6(src="2001:db8:21::1", dst=elsewhere)
    )
    macs = bytes.fromhex((SERVER_MAC + LB_MAC).replace(":", ""))
    frame = macs + ETH_TYPES[version] + bytes(outer / inner)
    with inside(LB):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    run([*switch, f"{key}=1"])
    try:
        before = counted()
        with tap:
            tap.bind(("l1", 0))
            tap.send(frame)
        assert eventually(lambda: counted()["not_local"] == before["not_local"] + 1, DEADLINE_S)
        assert counted()["decapsulated"] == before["decapsulated"]
    finally:
        run([*switch, f"{key}=0"])


def test_another_program_in_its_place_is_named_and_left_alone(link: None) -> None:
    ip(SERVER, "link add x0 type veth peer name x1")
    with inside(SERVER):
        where = bpf_attach.TcPlace(socket.if_nametoindex("x0"), decap.PRIORITY, decap.HANDLE)
        assert bpf_attach.make_clsact(where.ifindex)
        assert not bpf_attach.make_clsact(where.ifindex)
        assert decap.attach("x0")
        assert not decap.attach("x0")
        assert decap.is_attached("x0") and not decap.is_attached("x0", 7000)
        decap.add_vip("x0", ip_address("198.18.10.9"))
        assert decap.attach("x0", 7000)  # another port: replaced, with its VIPs
        assert decap.vips("x0") == {ip_address("198.18.10.9")}
        decap.detach("x0")
        assert decap.vips("x0") == frozenset() and decap.counters("x0") == {}
        place = f"dev x0 ingress pref {decap.PRIORITY} handle {decap.HANDLE}"
        # What a person pastes is ours as well.  By netns exec tc has mounts of its own: what it makes in
        # /sys/fs/bpf when it loads a program ends with it.
        run(f"ip netns exec {SERVER} tc filter add {place} bpf da obj {object_path('decap')} sec tc".split())
        assert decap.is_attached("x0")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decap, "PROGRAM", "someone_elses")
            with pytest.raises(HostError, match="taken by another BPF program, dsrlb_decap"):
                decap.attach("x0")
    ip(SERVER, "link del x0")
