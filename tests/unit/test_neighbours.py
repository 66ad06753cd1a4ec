"""Are questions for a MAC read and answered, by ARP and by neighbour discovery?"""

from __future__ import annotations

from typing import Any

import packets as p
import pytest
from reading import MAC, VIP6, parsed

from dsrlb.wire import arp, icmp


@pytest.mark.parametrize("change", [{"hlim": 254}, {"hlim": 0}])
def test_neighbour_discovery_from_beyond_a_router_is_not_sound(change: dict[str, Any]) -> None:
    frame = p.ether(dst=p.SOLICITED_MAC) / p.IPv6(src=p.ROUTER6, dst=p.SOLICITED, **change)
    frame = frame / p.ICMPv6ND_NS(tgt=p.VIP6)
    assert not icmp.nd_is_sound(bytes(frame), 14, parsed(frame))


@pytest.mark.parametrize(
    ("message", "target"),
    [
        (p.ICMPv6ND_NS(tgt=p.VIP6, code=1), VIP6),
        (p.ICMPv6ND_NS(tgt=p.VIP6, cksum=0x1234), VIP6),
        (p.Raw(bytes(p.ICMPv6ND_NS(tgt=p.VIP6))[:23]), b""),
        (p.ICMPv6ND_NS(tgt="::ffff:" + p.VIP), b""),
    ],
)
def test_neighbour_discovery_that_breaks_the_rules_is_not_sound_or_has_no_target(
    message: p.Packet, target: bytes
) -> None:
    frame = p.ether(dst=p.SOLICITED_MAC) / p.IPv6(src=p.ROUTER6, dst=p.SOLICITED, hlim=255, nh=58) / message
    assert icmp.nd_target(bytes(frame), parsed(frame)) == target
    assert not target or not icmp.nd_is_sound(bytes(frame), 14, parsed(frame))


def test_neighbour_discovery_names_its_target() -> None:
    for frame in (p.solicits(), p.solicits(src="::"), p.advertises()):
        assert icmp.nd_target(bytes(frame), parsed(frame)) == VIP6
        assert icmp.nd_is_sound(bytes(frame), 14, parsed(frame))


@pytest.mark.parametrize("tags", [(), (5,)])
def test_an_advertisement_is_one_that_scapy_would_have_made(tags: tuple[int, ...]) -> None:
    asked = p.solicits(tags=tags)
    at = 14 + 4 * len(tags)
    reply = p.Ether(icmp.advertisement(bytes(asked), at, parsed(asked), MAC))
    assert p.rebuilt(reply) == bytes(reply)
    assert (reply[p.ICMPv6ND_NA].tgt, reply[p.ICMPv6NDOptDstLLAddr].lladdr) == (p.VIP6, p.BALANCER_MAC)
    assert (reply[p.IPv6].hlim, reply.dst) == (255, p.ROUTER_MAC)


def test_an_arp_packet_is_read_and_answered() -> None:
    raw = bytes(p.who_has())
    asked = arp.parse(raw, 14)
    assert asked is not None
    reply = p.Ether(arp.reply(raw, 14, asked, MAC))[p.ARP]
    assert (reply.op, reply.hwsrc, reply.psrc) == (2, p.BALANCER_MAC, p.VIP)
    assert (reply.hwdst, reply.pdst) == (p.ROUTER_MAC, p.ROUTER)


def test_an_arp_packet_cut_anywhere_or_of_another_kind_is_none() -> None:
    raw = bytes(p.who_has())
    assert all(arp.parse(raw[:length], 14) is None for length in range(14, 42))
    others: list[dict[str, Any]] = [{"hwtype": 6}, {"ptype": 0x86DD}, {"hwlen": 8}, {"plen": 16}]
    for field in others:
        assert arp.parse(bytes(p.Ether() / p.ARP(hwsrc=p.ROUTER_MAC, psrc=p.ROUTER, **field)), 14) is None
