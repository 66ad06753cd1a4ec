"""L3 DSR frame by frame: what comes to the balancer, what leaves it, what its server gets in the end."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from lab_wire import TEST_PREFIX, TO_BALANCER, Inject, Tap, eventually, inside, socket_in
from reassembly import reassembled_ipv4
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw
from spec.l3dsr import received

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import CLIENT, CLIENT6, Lab, run

IP_RECVTOS, IPV6_RECVTCLASS, IPV6_TCLASS = 13, 66, 67
ECT_0, CE = 2, 3


@pytest.fixture(scope="module")
def lab(shared_directories: None) -> Iterator[Lab]:
    with standing(Lab(prefix=f"{TEST_PREFIX}w-", mode="l3dsr", servers=1)) as it:
        yield it


@pytest.fixture
def balancer(lab: Lab, serve: Callable[..., Balancer]) -> Balancer:
    line = ["--mode", "l3dsr", "--interface", "e0"]
    for port in ("80", "8080", "9/udp"):
        line += ["--vip", f"{lab.vips[0]}:{port}", "--vip", f"[{lab.vips[1]}]:{port}"]
    return serve(flags=[*line, "--backend", str(lab.server_addresses(4)[0])])


def four(lab: Lab, **fields: Any) -> Packet:
    return IP(src=str(CLIENT), dst=str(lab.vips[0]), **fields)


def six(lab: Lab, **fields: Any) -> Packet:
    return IPv6(src=str(CLIENT6), dst=str(lab.vips[1]), **fields)


def to_server(lab: Lab, tap: Tap) -> list[bytes]:
    """Return the wrapped packets that have left, outer header first."""
    server = lab.server_addresses(4)[0].packed
    return [frame[14:] for frame in tap.sent if frame[12:14] == b"\x08\x00" and frame[30:34] == server]


def packet_in(frame: bytes) -> bytes:
    """Return the IP packet in a frame, without tags and padding."""
    layers = Ether(frame)
    layer = layers.getlayer(IP) or layers.getlayer(IPv6)
    raw = bytes(layer.original)
    length = int.from_bytes(raw[2:4], "big") if layer.version == 4 else 40 + layer.plen
    return raw[:length]


def test_the_stripped_outer_header_leaves_the_very_packet(
    lab: Lab, balancer: Balancer, tap: Callable[[str], Tap], inject: Inject
) -> None:
    wire, rng = tap("lb"), random.Random(20260103)
    udp, tcp = UDP(sport=7, dport=9) / Raw(b"contents"), TCP(sport=7, dport=80, flags="A")
    odd = [
        TO_BALANCER / four(lab, options=[IPOption_NOP(), IPOption_RR(routers=["0.0.0.0"] * 3)]) / udp,
        TO_BALANCER / four(lab, ttl=1, tos=0xB9, flags="DF", id=77) / tcp,
        TO_BALANCER / four(lab) / UDP(sport=7, dport=9, chksum=0) / Raw(b"sum left out"),
        TO_BALANCER / four(lab, flags="DF") / tcp / Raw(bytes(1440)),
        Ether(bytes(TO_BALANCER / four(lab) / udp) + b"a trailer that Ethernet padding may be"),
        TO_BALANCER / Dot1Q(vlan=5, prio=3) / four(lab) / udp,
        TO_BALANCER / six(lab, tc=0xB9, fl=0x12345, hlim=1) / udp,
        TO_BALANCER / six(lab) / IPv6ExtHdrDestOpt() / tcp,
    ]
    for _ in range(300):
        head, load = rng.choice([four, six])(lab), rng.randbytes(rng.randrange(1400))
        odd.append(TO_BALANCER / head / UDP(sport=rng.randrange(1, 65536), dport=9) / Raw(load))
    came = inject(*odd)
    wire.until(lambda: len(to_server(lab, wire)) >= len(came))
    own, server = ip_address("198.18.1.10").packed, lab.server_addresses(4)[0].packed
    got = [received([one], own, server, "ipip", 1500) for one in to_server(lab, wire)]
    assert got == [packet_in(frame) for frame in came]


@pytest.mark.both_engines
def test_a_packet_that_may_be_cut_comes_in_pieces(
    lab: Lab, balancer: Balancer, tap: Callable[[str], Tap], inject: Inject
) -> None:
    wire = tap("lb")
    (whole,) = inject(TO_BALANCER / four(lab, id=5) / UDP(sport=7, dport=9) / Raw(bytes(1470)))
    wire.until(lambda: len(to_server(lab, wire)) >= 2)
    assert reassembled_ipv4([one[20:] for one in to_server(lab, wire)]) == whole[14:]


@pytest.mark.parametrize("version", [4, 6])
def test_the_sender_of_one_that_may_not_is_told_in_the_name_of_the_vip(
    lab: Lab, balancer: Balancer, tap: Callable[[str], Tap], inject: Inject, version: int
) -> None:
    wire, head = tap("lb"), four(lab, flags="DF") if version == 4 else six(lab)
    (asked,) = inject(TO_BALANCER / head / UDP(sport=7, dport=9) / Raw(bytes(1440 + 20 * (version == 4))))
    kind = ICMP if version == 4 else ICMPv6PacketTooBig
    wire.until(lambda: any(kind in Ether(frame) for frame in wire.sent))
    answer = next(Ether(frame) for frame in wire.sent if kind in Ether(frame))
    assert bytes(answer)[:12] == asked[6:12] + asked[:6]
    assert (answer[1].src, answer[1].dst) == (head.dst, head.src)
    assert (answer[ICMP].nexthopmtu if version == 4 else answer[kind].mtu) == 1480
    quote = bytes(answer[kind].payload)
    assert asked[14:].startswith(quote)
    assert len(bytes(answer)) - 14 == (576 if version == 4 else 1280)


def learned_mtu(lab: Lab, version: int) -> str:
    there = str(lab.vips[0] if version == 4 else lab.vips[1])
    return run(["ip", f"-{version}", "-n", lab.namespace("client"), "route", "get", there])


@pytest.mark.parametrize("version", [4, 6])
def test_the_client_s_kernel_learns_what_fits(
    lab: Lab, balancer: Balancer, client: Any, version: int
) -> None:
    """By a datagram that must not be cut: what TCP sends is small enough by the server's MSS already."""
    run(["ip", f"-{version}", "-n", lab.namespace("client"), "route", "flush", "cache"])
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with inside(lab.namespace("client")), socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(*((0, 10, 2) if version == 4 else (41, 23, 2)))  # IP_MTU_DISCOVER: DO
        sender.connect((str(lab.vips[0] if version == 4 else lab.vips[1]), 9))

        def learns() -> bool:
            with contextlib.suppress(OSError):  # EMSGSIZE: has learned
                sender.send(bytes(1440 + 20 * (version == 4)))
            return " mtu 1480 " in learned_mtu(lab, version)

        assert eventually(learns, 20)


def test_a_change_of_the_interface_s_mtu_is_followed(
    lab: Lab, balancer: Balancer, tap: Callable[[str], Tap], inject: Inject
) -> None:
    wire, asked = tap("lb"), TO_BALANCER / four(lab, flags="DF") / UDP(sport=7, dport=9) / Raw(bytes(1362))

    def told() -> set[int]:
        inject(asked)
        wire.read(0.2)
        answers = [Ether(frame) for frame in wire.sent]
        return {answer[ICMP].nexthopmtu for answer in answers if ICMP in answer}

    set_mtu = ["ip", "-n", lab.namespace("lb"), "link", "set", "e0", "mtu"]
    run([*set_mtu, "1400"])
    try:
        assert eventually(lambda: told() == {1380}, 20)
    finally:
        run([*set_mtu, "1500"])
    wire.sent.clear()
    assert eventually(lambda: inject(asked) and wire.read(0.2) and to_server(lab, wire), 20)


@contextlib.contextmanager
def program(lab: Lab, version: int) -> Iterator[Callable[[], int]]:
    """A program at the server; the value waits for a datagram and returns the TOS that it came with."""
    family, there = (socket.AF_INET, lab.vips[0]) if version == 4 else (socket.AF_INET6, lab.vips[1])
    with inside(lab.namespace("rs1")):
        opened = socket.socket(family, socket.SOCK_DGRAM)

    def heard() -> int:
        _, ((_, kind, value), *_), _, _ = opened.recvmsg(100, 100)
        assert kind in (1, IPV6_TCLASS)
        return value[0]

    with opened:
        opened.setsockopt(*((0, IP_RECVTOS, 1) if version == 4 else (41, IPV6_RECVTCLASS, 1)))
        opened.bind((str(there), 9))
        opened.settimeout(20)
        yield heard


def mark(lab: Lab, wrapped: bytes) -> None:
    """Hand a wrapped packet to the server once more, as if a router on the way had met congestion."""
    marked = IP(wrapped)
    marked.tos |= CE
    del marked.chksum
    with socket_in(lab, "router") as wire:
        wire.bind(("s1", 0))
        wire.send(bytes(Ether(src=lab.mac("router", "s1"), dst=lab.mac("rs1")) / marked))


@pytest.mark.parametrize("version", [4, 6])
def test_a_mark_of_congestion_survives_from_before_the_tunnel_and_from_inside(
    lab: Lab, balancer: Balancer, tap: Callable[[str], Tap], inject: Inject, version: int
) -> None:
    wire = tap("lb")
    with program(lab, version) as heard:
        for tos in (0, 0xB8 | CE, 0xB8 | ECT_0):
            head = four(lab, tos=tos) if version == 4 else six(lab, tc=tos)
            inject(TO_BALANCER / head / UDP(sport=7, dport=9) / Raw(b"marked?"))
            assert heard() == tos
        wire.until(lambda: len(to_server(lab, wire)) >= 3)
        last = to_server(lab, wire)[-1]
        assert last[1] == 0xB8 | ECT_0
        mark(lab, last)
        assert heard() == 0xB8 | CE
