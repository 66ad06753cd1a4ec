"""Are the frames that tests/parity builds field by field those that scapy builds?"""

from __future__ import annotations

import packets as p
import pytest
from parity import frames as f
from parity.frames import Ip, Link

ENDS = {p.VIP: f.packed(p.CLIENT), p.VIP6: f.packed(p.CLIENT6)}


@pytest.mark.parametrize("vip", [p.VIP, p.VIP6])
@pytest.mark.parametrize("flags", ["S", "FA", None])
def test_segments(vip: str, flags: str | None) -> None:
    head = Ip(ENDS[vip], f.packed(vip), f.UDP if flags is None else f.TCP, ttl=9, tos=0x2E, ident=7)
    fields = {"hlim": 9, "tc": 0x2E} if vip == p.VIP6 else {"ttl": 9, "tos": 0x2E, "id": 7}
    l4 = (
        p.UDP(sport=4000, dport=53)
        if flags is None
        else p.TCP(sport=4000, dport=53, flags=flags, seq=1, ack=1)
    )
    expected = p.ether(tags=(5, 6)) / p.ip(None, vip, **fields) / l4 / p.Raw(b"odd")
    number = None if flags is None else int(p.TCP(flags=flags).flags)
    made = f.packet(head, f.segment(head, 4000, 53, number, b"odd"))
    assert (f.link(Link(tags=(5, 6)), made[0] >> 4) + made).hex() == p.rebuilt(expected).hex()


@pytest.mark.parametrize("vip", [p.VIP, p.VIP6])
def test_pieces(vip: str) -> None:
    head = Ip(ENDS[vip], f.packed(vip), f.UDP, ident=0x1234)
    whole = f.segment(head, 4000, 53, None, bytes(100))
    expected = p.pieces(p.udp(4000, dst=vip, load=bytes(100)), 48)
    assert [one.hex() for one in f.cut(head, whole, 48)] == [bytes(one)[14:].hex() for one in expected]


MESSAGES = [
    (p.IP(src=p.CLIENT, dst=p.VIP, id=0) / p.ICMP(type=3, code=4, nexthopmtu=1400), f.ICMP, 3, 4),
    (p.IPv6(src=p.CLIENT6, dst=p.VIP6) / p.ICMPv6PacketTooBig(mtu=1400), f.ICMPV6, 2, 0),
]


@pytest.mark.parametrize(("error", "protocol", "kind", "code"), MESSAGES)
def test_messages(error: p.Packet, protocol: int, kind: int, code: int) -> None:
    head = Ip(f.packed(error.src), f.packed(error.dst), protocol)
    made = f.packet(head, f.message(head, kind, code, 1400, b"quoted!"))
    assert made.hex() == bytes(error / p.Raw(b"quoted!")).hex()


def test_extension_headers() -> None:
    head = f.extended(Ip(ENDS[p.VIP6], f.packed(p.VIP6), f.UDP), (f.HOP_BY_HOP, f.DESTINATION))
    made = p.IPv6(f.packet(head, f.segment(head, 4000, 53, None, b"")))
    assert [layer.__name__ for layer in made.layers()] == [
        "IPv6", "IPv6ExtHdrHopByHop", "IPv6ExtHdrDestOpt", "UDP",
    ]  # fmt: skip
    assert made[p.UDP].dport == 53
