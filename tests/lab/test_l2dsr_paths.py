"""L2 DSR frame by frame: what is put on the balancer's segment, and what leaves the balancer.

Frames are sent from the router's interface, as scapy builds them, and read by plain packet sockets
at the balancer and at the servers.  Nothing of dsrlb's own frame code is used for either.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile

import pytest
from lab_engine import PACKET
from lab_wire import (
    LB_MAC,
    SERVERS,
    TO_BALANCER,
    both,
    counters,
    flags,
    forwarded,
    forwarded_to,
    forwarding,
    ip4,
    ip6,
    is_neighbourly,
    marker,
    routed_by_the_host,
    server_of,
    settle,
    to_vip,
)
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR, IPOption_Timestamp, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    fragment6,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from dsrlb.lab.topology import CLIENT, CLIENT6, VIP, VIP6, mac

PORT_9 = (*both("9"), *both("9/udp"))


# What a balancer may lose on a machine that is too busy, and TCP sends again.
LOSSES = ("receive_ring_full", "send_failed", "backend_unresolved", "no_backend")


def up_to(last: bytes, frames: Sequence[bytes]) -> list[bytes]:
    """The frames before one, whatever its MAC addresses are."""
    return list(takewhile(lambda frame: frame[12:] != last[12:], frames))


def left_out(came: Sequence[bytes], went: Sequence[bytes]) -> list[bytes]:
    """What came and did not leave; all else left in the order in which it came, and nothing besides."""
    waiting, missing = iter(came), []
    for frame in went:
        missing += takewhile(lambda one, frame=frame: one != frame, waiting)
    missing += waiting
    assert len(missing) == len(came) - len(went), "a frame left that did not come, or came later"
    return missing


@pytest.mark.parametrize("routing", [0, 1])
def test_of_real_traffic_only_the_two_mac_addresses_change(
    lab, serve, client, tap, inject, engine, routing
) -> None:
    with forwarding(lab, routing):
        vips = *both("80"), *both("8080"), *both("5353/udp"), *both("9/udp")
        balancer = serve(flags=flags(lab, *vips, scheduler="rr"))
        routed_by_the_host(lab, forget=True)
        wire = tap("lb")
        for vip in (VIP, VIP6):
            assert client.requests(20, vip)["errors"] == []
            upload = client.upload(2_000_000, vip)
            assert upload["sent"] == upload["received"]
            assert None not in client.echo(6, vip, size_bytes=4000)["servers"]
        [last] = inject(marker(0))  # once it is out, all frames before it have met their fate
        wire.until(lambda: any(frame[12:] == last[12:] for frame in wire.sent))
        assert routed_by_the_host(lab) == ""
    came, went = (up_to(last, to_vip(side)) for side in (wire.received, wire.sent))
    if engine == PACKET:  # offloads are on: segments as large as the kernel hands them over
        assert max(map(len, came)) > 5000
    lost = left_out([frame[12:] for frame in came], [frame[12:] for frame in went])
    counted = counters(balancer)
    assert len(lost) <= sum(counted[word] for word in LOSSES), (len(lost), counted)
    assert {frame[6:12] for frame in went} == {LB_MAC}
    assert {server_of(frame) for frame in went} == {"rs1", "rs2", "rs3"}
    known = {frame[12:] for frame in to_vip(wire.received)}
    others = [frame for frame in wire.sent if frame[12:] not in known]
    assert all(map(is_neighbourly, others))  # no reset, no ICMP error, no copy routed by the host


def options_and_tags() -> list[Packet]:
    """Frames out of the ordinary, each to be forwarded as it is."""
    udp, tcp = UDP(sport=7, dport=9) / Raw(b"contents"), TCP(sport=7, dport=9, flags="S")
    four, six = IP(src=str(CLIENT), dst=str(VIP)), IPv6(src=str(CLIENT6), dst=str(VIP6))
    options = [IPOption_NOP(), IPOption_RR(routers=["0.0.0.0"] * 3), IPOption_Timestamp()]
    return [
        ip4(options=options) / udp,
        ip4(options=options) / tcp,
        ip4(options=[IPOption_NOP()] * 40) / udp,
        ip4(ttl=1, tos=0xB9, flags="DF") / udp,
        TO_BALANCER / four / UDP(sport=7, dport=9, chksum=0) / Raw(b"sum left out"),
        TO_BALANCER / four / UDP(sport=7, dport=9),
        TO_BALANCER / four / tcp / Raw(bytes(1400)),
        TO_BALANCER / four / udp / Raw(bytes(18)),
        Ether(bytes(TO_BALANCER / four / udp) + b"a trailer that Ethernet padding may be"),
        TO_BALANCER / Dot1Q(vlan=5, prio=3) / four / udp,
        TO_BALANCER / Dot1Q(vlan=0, prio=7) / four / tcp,
        TO_BALANCER / Dot1Q(vlan=4094) / six / udp,
        TO_BALANCER / Dot1AD(vlan=9) / Dot1Q(vlan=5) / four / udp,
        TO_BALANCER / Dot1Q(vlan=9) / Dot1Q(vlan=5) / six / tcp,
        TO_BALANCER / six / udp,
        TO_BALANCER / six / IPv6ExtHdrHopByHop() / udp,
        TO_BALANCER / six / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / tcp,
        TO_BALANCER / six / IPv6ExtHdrFragment(id=9) / udp,
        ip6(tc=0xB9, fl=0xABCDE, hlim=1) / udp,
    ]


def test_options_extension_headers_padding_and_vlan_tags_pass_untouched(lab, serve, tap, inject) -> None:
    serve(flags=flags(lab, *PORT_9))
    wire = tap("lb")
    servers = {name: tap(name) for name in lab.server_names}
    sent = inject(*options_and_tags())
    settle(wire, inject)
    went = forwarded(wire)
    assert [frame[12:] for frame in went] == [frame[12:] for frame in sent]
    assert {frame[6:12] for frame in went} == {LB_MAC}
    for name, there in servers.items():
        mine = [frame for frame in went if server_of(frame) == name]
        there.until(lambda there=there, mine=mine: len(forwarded_to(there)) >= len(mine))
        assert forwarded_to(there) == mine


def refused() -> list[Packet | bytes]:
    """Frames for the VIP of which nothing may be sent on, and nothing answered."""
    good4, good6 = bytes(ip4() / UDP(sport=7, dport=9) / b"x"), bytes(ip6() / UDP(sport=7, dport=9) / b"x")
    tcp4, tcp6 = bytes(ip4() / TCP(sport=7, dport=9, flags="S")), bytes(ip6() / TCP(sport=7, dport=9))
    cut = [frame[:size] for frame in (good4, good6, tcp4, tcp6) for size in range(14, len(frame) - 1)]
    return [
        *cut,
        ip4(version=5) / UDP(dport=9),
        ip4(ihl=4) / UDP(dport=9),
        ip4(ihl=15) / UDP(dport=9),
        ip4(len=19) / UDP(dport=9),
        ip4(len=9000) / UDP(dport=9),
        ip4(chksum=0x1234) / UDP(dport=9),
        ip4() / UDP(dport=9, len=7),
        ip4() / UDP(dport=9, len=200),
        ip4() / TCP(dport=9, dataofs=4),
        ip4() / TCP(dport=9, dataofs=15),
        ip4(proto=132) / Raw(bytes(20)),
        ip4(proto=47) / Raw(bytes(20)),
        ip6(version=4) / UDP(dport=9),
        ip6(plen=9000) / UDP(dport=9),
        ip6(nh=59) / Raw(bytes(20)),
        ip6(nh=132) / Raw(bytes(20)),
        ip6(nh=0) / Raw(b"\x00\xff" + bytes(14)),
        ip6(nh=60) / Raw((b"\x3c\x00" + bytes(6)) * 100),
        ip4() / TCP(dport=10, flags="S"),
        ip4() / UDP(dport=10),
        ip6() / TCP(dport=10, flags="S"),
        ip6() / UDP(dport=10),
        ip4() / ICMP(type=13),
        ip4() / ICMP(type=8, chksum=1),
        ip4() / ICMP(type=3, code=4) / Raw(bytes(20)),
        ip6() / ICMPv6EchoRequest(cksum=1),
        *(TO_BALANCER / IP(src=src, dst=str(VIP)) / UDP(dport=9)
          for src in ("127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", str(VIP))),
        *(TO_BALANCER / IPv6(src=src, dst=str(VIP6)) / UDP(dport=9)
          for src in ("::1", "ff02::1", "::", str(VIP6))),
        Ether(src=mac("router"), dst="ff:ff:ff:ff:ff:ff") / IP(src=str(CLIENT), dst=str(VIP)) / UDP(dport=9),
        Ether(src=mac("router"), dst="01:00:5e:00:00:01") / IP(src=str(CLIENT), dst=str(VIP)) / UDP(dport=9),
        TO_BALANCER / Dot1Q() / Dot1Q() / Dot1Q() / IP(src=str(CLIENT), dst=str(VIP)) / UDP(dport=9),
        TO_BALANCER / ARP(op=1, psrc=str(CLIENT), pdst=str(VIP), hwlen=5),
        bytes(TO_BALANCER / ARP(op=1, pdst=str(VIP)))[:30],
    ]  # fmt: skip


REFUSALS = ("no_service", "malformed", "truncated", "bad_checksum", "martian_source", "not_for_us",
            "protocol_unknown", "icmp_ignored", "icmp_unmatched")  # fmt: skip


@pytest.mark.parametrize("routing", [0, 1])
def test_what_has_no_service_or_no_sense_ends_in_silence(lab, serve, tap, inject, client, routing) -> None:
    with forwarding(lab, routing):
        balancer = serve(flags=flags(lab, *PORT_9))
        routed_by_the_host(lab, forget=True)
        wire = tap("lb")
        inject(*refused())
        settle(wire, inject)
        for vip in (VIP, VIP6):
            answers = client.requests(1, vip, timeout_s=0.5)  # port 80 is no service of this balancer
            assert answers["errors"] == ["TimeoutError: timed out"]
            assert client.echo(1, vip, timeout_s=0.1)["servers"] == [None]
        settle(wire, inject, 1)
        assert routed_by_the_host(lab) == ""
    strange = [frame for frame in wire.sent if b"marker" not in frame and not is_neighbourly(frame)]
    assert [Ether(frame).summary() for frame in strange] == []
    counted = counters(balancer)
    assert [word for word in REFUSALS if not counted[word]] == []
    assert counted["no_service"] >= 8
    assert counted["forwarded"] >= 2  # the markers


def datagrams_in_pieces() -> Iterator[list[Packet]]:
    """Datagrams of 4000 bytes, each in three pieces or more, for several ports of both families."""
    for number in range(12):
        udp = UDP(sport=50_000 + number, dport=9) / Raw(bytes([number]) * 4000)
        yield [
            TO_BALANCER / piece
            for piece in fragment(IP(src=str(CLIENT), dst=str(VIP), id=0x7000 + number) / udp, 1400)
        ]
        whole = IPv6(src=str(CLIENT6), dst=str(VIP6)) / IPv6ExtHdrFragment(id=0x7000_0000 + number) / udp
        yield [TO_BALANCER / piece for piece in fragment6(whole, 1400)]  # fmt: skip


ORDERS = {
    "last piece first": lambda pieces: pieces[::-1],
    "first piece in the middle": lambda pieces: [*pieces[1:2], pieces[0], *pieces[2:]],
    "second piece twice and early": lambda pieces: [pieces[1], pieces[1], pieces[0], *pieces[2:]],
}


def mixed(lines: Sequence[Sequence[bytes]]) -> Iterator[bytes]:
    """The datagrams' pieces mixed with each other, each datagram's own in their order."""
    turns = [number for number, pieces in enumerate(lines) for _ in pieces]
    random.Random(1).shuffle(turns)
    ways = [iter(pieces) for pieces in lines]
    return (next(ways[number]) for number in turns)


@pytest.mark.both_engines(order=["first piece in the middle"])
@pytest.mark.parametrize("order", ORDERS)
def test_pieces_in_any_order_reach_one_server(lab, serve, tap, inject, order) -> None:
    balancer = serve(flags=flags(lab, *both("9/udp"), scheduler="rr"))
    wire = tap("lb")
    lines = [[bytes(piece) for piece in ORDERS[order](pieces)] for pieces in datagrams_in_pieces()]
    sent = inject(*mixed(lines))
    wire.until(lambda: len(forwarded(wire)) >= len(sent))  # on XDP held ones wait for a moment more
    settle(wire, inject)
    went = forwarded(wire)
    assert Counter(frame[12:] for frame in went) == Counter(frame[12:] for frame in sent)
    server = {frame[12:]: server_of(frame) for frame in went}
    chosen = [{server[piece[12:]] for piece in pieces} for pieces in lines]
    assert all(len(servers) == 1 for servers in chosen), chosen
    assert sorted(Counter(min(servers) for servers in chosen).values()) == [8, 8, 8]
    counted = counters(balancer)
    assert counted["fragment_held"] == 0
    assert counted["fragment_forwarded"] == sum(len(pieces) - 1 for pieces in lines)


def test_pieces_whose_first_never_comes_are_given_up_and_counted(lab, serve, tap, inject) -> None:
    balancer = serve(flags=flags(lab, *both("9/udp")))
    wire = tap("lb")
    orphans = [piece for pieces in datagrams_in_pieces() for piece in pieces[1:]]
    inject(*orphans)
    settle(wire, inject)
    assert forwarded(wire) == []
    counted = counters(balancer)
    assert counted["fragment_held"] + counted["fragment_expired"] == len(orphans)


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A frame to the balancer, damaged in some way; the MAC addresses stay, the switch learns from them."""
    frame = bytearray(rng.choice(seeds))
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(frame[:12]) + rng.randbytes(rng.randrange(2, 200))
    if kind == 1:
        return bytes(frame[: rng.randrange(14, len(frame) + 1)])
    if kind == 2:
        return bytes(frame + rng.randbytes(rng.randrange(1, 64)))
    for _ in range(rng.randrange(1, 6)):
        frame[rng.randrange(12, min(len(frame), 90))] = rng.randrange(256)
    return repaired(bytes(frame)) if kind == 4 else bytes(frame)


def repaired(frame: bytes) -> bytes:
    """Let an IPv4 header's checksum be right again: what is damaged beyond it is looked at then."""
    size = (frame[14] & 15) * 4
    if frame[12:14] != b"\x08\x00" or size < 20 or len(frame) < 14 + size:
        return frame
    header = frame[14:24] + b"\0\0" + frame[26 : 14 + size]
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return frame[:24] + struct.pack("!H", total ^ 0xFFFF) + frame[26:]


def test_after_thousands_of_mutated_frames_it_serves_as_before(lab, serve, client, tap, inject) -> None:
    balancer = serve(flags=flags(lab, *both("80"), *PORT_9))
    wire = tap("lb")
    rng = random.Random(1)
    sane = [*options_and_tags(), *(piece for pieces in datagrams_in_pieces() for piece in pieces),
            ip4() / ICMP(), ip6() / ICMPv6EchoRequest(), ip4() / ICMP(type=3, code=4) / bytes(ip4())[14:],
            TO_BALANCER / ARP(op=1, psrc=str(CLIENT), pdst=str(VIP))]  # fmt: skip
    seeds = [bytes(frame) for frame in sane]
    tails = set()
    for number in range(20):
        batch = [mutated(rng, seeds) for _ in range(250)]
        tails.update(frame[12:] for frame in inject(*batch))
        settle(wire, inject, number)
    went = forwarded(wire)
    assert len(went) > 500  # not all are damaged beyond use
    assert {frame[12:] for frame in went} <= tails
    assert {frame[6:12] for frame in went} == {LB_MAC}
    assert {frame[:6] for frame in went} <= set(SERVERS)
    assert client.requests(50, VIP)["errors"] == []
    assert client.requests(50, VIP6)["errors"] == []
    counted = counters(balancer)
    assert counted["receive_ring_full"] == counted["send_failed"] == 0
    assert "Traceback" not in balancer.stderr
