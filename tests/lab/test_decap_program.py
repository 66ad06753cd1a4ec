"""Does the decapsulator strip what it should, byte for byte, and leave everything else alone?

It runs in the kernel on frames that scapy makes (BPF_PROG_TEST_RUN); nothing is sent.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import product

import pytest
from scapy.layers.inet import IP, UDP, IPOption
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from dsrlb.bpf.objects import object_path
from dsrlb.host import bpf, bpf_maps
from dsrlb.host.decap import COUNTERS, PROGRAM
from dsrlb.model import wire_address

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="root is missing: BPF programs need it"),
]

VIP, VIP6 = "198.18.10.1", "2001:db8:10::1"
GUE = 6080
NEXT, DROPPED = 0xFFFFFFFF, 2  # linux/pkt_cls.h: TC_ACT_UNSPEC, TC_ACT_SHOT
OWN = Ether(dst="00:00:00:00:00:00", src="02:00:c6:12:01:01")  # a test run comes in by lo
OUTER4 = IP(src="198.18.1.10", dst="198.18.21.2", id=7, flags="DF")
OUTER6 = IPv6(src="2001:db8:1::10", dst="2001:db8:21::2")
NOT_ECT, ECT1, ECT0, CE = range(4)


@pytest.fixture(scope="module")
def loaded() -> Iterator[bpf.Object]:
    with bpf.load(object_path("decap"), {"gue_port": GUE.to_bytes(2, sys.byteorder)}) as opened:
        for vip in (VIP, VIP6):
            bpf_maps.update(opened.map("vips"), wire_address(ip_address(vip)), (1).to_bytes(4, sys.byteorder))
        yield opened


def told(loaded: bpf.Object, frame: bytes) -> tuple[int, bytes, list[str]]:
    """Run the program; return its verdict, the frame after it, and the counters that moved."""
    before = values(loaded)
    done = bpf.run(loaded.program(PROGRAM), frame)
    after = values(loaded)
    return done.retval, done.packet, [name for name in COUNTERS if after[name] != before[name]]


def values(loaded: bpf.Object) -> dict[str, int]:
    table = loaded.map("counters")
    cells = [bpf_maps.lookup(table, number.to_bytes(4, sys.byteorder)) for number in range(len(COUNTERS))]
    return {name: sum(memoryview(cell or b"").cast("Q")) for name, cell in zip(COUNTERS, cells, strict=True)}


def inner4(payload: bytes = b"", **fields: object) -> Packet:
    return IP(src="198.18.0.2", dst=VIP, ttl=61, **fields) / UDP(sport=4000, dport=53) / Raw(payload)


def inner6(payload: bytes = b"", **fields: object) -> Packet:
    return IPv6(src="2001:db8::2", dst=VIP6, hlim=61, **fields) / UDP(sport=4000, dport=53) / Raw(payload)


def tunnel(outer: Packet, inner: Packet, how: str = "ip") -> bytes:
    protocol = 4 if inner.version == 4 else 41
    if how == "gue0":
        outer = outer / UDP(sport=50_000, dport=GUE) / Raw(bytes((0, protocol, 0, 0)))
    elif how == "gue1":
        outer = outer / UDP(sport=50_000, dport=GUE)
    else:
        last = outer.lastlayer()
        last.fields["proto" if isinstance(last, IP) else "nh"] = protocol
    return bytes(OWN / outer / Raw(bytes(inner)))


OUTERS = {
    "ipv4": OUTER4,
    "ipv4 with options": IP(src="198.18.1.10", dst="198.18.21.2", options=[IPOption(b"\x01")] * 40),
    "ipv6": OUTER6,
    "ipv6 with a limit": OUTER6 / IPv6ExtHdrDestOpt(options=[PadN(otype=4, optdata=b"\x04"), PadN()]),
}
INNERS = {"ipv4": inner4, "ipv6": inner6}


@pytest.mark.parametrize("length", [0, 1, 12, 1400])
@pytest.mark.parametrize("how", ["ip", "gue0", "gue1"])
@pytest.mark.parametrize("inner", INNERS)
@pytest.mark.parametrize("outer", OUTERS)
def test_what_is_outside_goes_and_what_is_inside_stays(
    loaded: bpf.Object, outer: str, inner: str, how: str, length: int
) -> None:
    packet = INNERS[inner]((bytes(range(256)) * 6)[:length])
    verdict, frame, counted = told(loaded, tunnel(OUTERS[outer].copy(), packet, how))
    assert (verdict, counted) == (NEXT, ["decapsulated"])
    assert frame == bytes(OWN / packet)


@pytest.mark.parametrize(("outside", "inside"), list(product(range(4), range(4))))
@pytest.mark.parametrize("inner", INNERS)
@pytest.mark.parametrize("outer", ["ipv4", "ipv6"])
def test_congestion_met_in_the_tunnel_reaches_the_server(
    loaded: bpf.Object, outer: str, inner: str, outside: int, inside: int
) -> None:
    """The table is figure 4 of RFC 6040; the expected frame is scapy's, checksum and all."""
    field = {"ipv4": "tos", "ipv6": "tc"}
    around = OUTERS[outer].copy()
    setattr(around, field[outer], outside | 0x28)

    def packet(ecn: int) -> Packet:
        return INNERS[inner](b"payload", **{field[inner]: ecn | 0xB8})

    table = {(CE, ECT0): CE, (CE, ECT1): CE, (ECT1, ECT0): ECT1}
    verdict, frame, counted = told(loaded, tunnel(around, packet(inside)))
    if (outside, inside) == (CE, NOT_ECT):
        assert (verdict, counted) == (DROPPED, ["ecn_drop"])
        return
    assert (verdict, counted) == (NEXT, ["decapsulated"])
    assert frame == bytes(OWN / packet(table.get((outside, inside), inside)))


def stranger4() -> Packet:
    return IP(src="198.18.0.2", dst="198.18.10.2") / UDP()


def gue(header: bytes, port: int = GUE) -> bytes:
    return bytes(OWN / OUTER4 / UDP(dport=port) / Raw(header + bytes(inner4())))


LONG4 = Raw(bytes(inner4(b"as long as an IPv6 header")))
OTHERS = {
    "a plain packet for the VIP": (bytes(OWN / inner4()), []),
    "a plain IPv6 packet for the VIP": (bytes(OWN / inner6()), []),
    "a tunnel packet for another address": (tunnel(OUTER4.copy(), stranger4()), ["not_vip"]),
    "a fragment of a tunnel packet": (tunnel(IP(dst="198.18.21.2", flags="MF"), inner4()), ["fragment"]),
    "a later fragment": (tunnel(IP(dst="198.18.21.2", frag=9), inner4()), ["fragment"]),
    "a fragment in IPv6": (tunnel(OUTER6 / IPv6ExtHdrFragment(m=1), inner4()), ["fragment"]),
    "a fragment of something else in IPv6": (bytes(OWN / OUTER6 / IPv6ExtHdrFragment(m=1) / UDP()), []),
    "an inner header cut short": (tunnel(OUTER4.copy(), inner4())[:-28], ["malformed"]),
    "an inner IPv6 header cut short": (tunnel(OUTER6.copy(), inner6())[:-9], ["malformed"]),
    "IPv6 announced as IPv4": (bytes(OWN / IP(dst="198.18.21.2", proto=4) / inner6()), ["malformed"]),
    "IPv4 announced as IPv6": (bytes(OWN / IP(dst="198.18.21.2", proto=41) / LONG4), ["malformed"]),
    "GUE to another port": (gue(b"\0\4\0\0", port=6081), []),
    "a GUE control message": (gue(b"\x20\4\0\0"), []),
    "GUE with extensions": (gue(b"\1\4\x80\0"), []),
    "GUE with flags": (gue(b"\0\4\x80\0"), []),
    "GUE around something else": (gue(b"\0\6\0\0"), []),
    "a tunnel packet for another MAC": (b"\x02" + tunnel(OUTER4.copy(), inner4())[1:], []),
    "GRE": (bytes(OWN / IP(dst="198.18.21.2", proto=47) / Raw(bytes(inner4()))), []),
    "ARP": (bytes(OWN)[:12] + b"\x08\x06" + bytes(28), []),
}  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_not_for_a_vip_passes_untouched(loaded: bpf.Object, other: str) -> None:
    frame, counted = OTHERS[other]
    assert told(loaded, frame) == (NEXT, frame, counted)


@pytest.mark.parametrize("seed", range(4))
def test_no_frame_is_damaged_whatever_its_bytes(loaded: bpf.Object, seed: int) -> None:
    """Mutated tunnel frames: what is decapsulated ends as it came, the rest stays as it is."""
    chance = random.Random(seed)
    whole = [tunnel(OUTERS[o].copy(), INNERS[i](b"x" * 40), h)
             for o in OUTERS for i in INNERS for h in ("ip", "gue0", "gue1")]  # fmt: skip
    for _ in range(500):
        frame = bytearray(chance.choice(whole))
        for _ in range(chance.choice((1, 1, 2, 8))):
            frame[chance.randrange(12, len(frame))] = chance.randrange(256)
        del frame[chance.randrange(54, len(frame) + 1) :]  # the least that a test run takes
        verdict, after, counted = told(loaded, bytes(frame))
        if "decapsulated" in counted:
            assert verdict == NEXT and after[:12] == frame[:12] and len(after) < len(frame)
            assert bytes(frame).endswith(after[14 + 12 :])  # before that: type, ECN, header checksum
        elif verdict == NEXT:
            assert after == frame
        else:
            assert counted in (["ecn_drop"], ["failed"])
