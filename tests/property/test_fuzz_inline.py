"""Of 100,000 random and mutated frames, does inline raise at any, or send one that is wrong in itself?"""

from __future__ import annotations

import random
from typing import NamedTuple

import balancer
import packets as p
import pytest
from fuzzing import EPOCH_FRAMES, FRAMES, LEAP_S, SEED, content, mutate, seeds
from reassembly import ones_sum

from dsrlb.datapath import process
from dsrlb.model import Action, ModeOptions, Reason
from dsrlb.state import State, expire
from dsrlb.table import ForwardingTable, compile_table

Arrival = tuple[bytes, int]  # frame, interface
TRANSLATED = {Reason.FORWARDED, Reason.FRAGMENT_FORWARDED, Reason.REPLY_FORWARDED, Reason.ICMP_STEERED}
LINKS = {  # where frames leave by: the MAC addresses that they then have
    p.IFINDEX: p.mac_bytes(p.ROUTER_MAC) + balancer.BALANCER,
    p.OTHER_IFINDEX: p.mac_bytes(p.SERVER_MACS[0]) + balancer.INNER,
}


def table(snat: bool, mtu_bytes: int = 1500) -> ForwardingTable:
    """Return the table of VIPs of both families, each before a server of its own."""
    options = ModeOptions(snat=snat)
    made = [
        service
        for vip, server in ((p.VIP, p.SERVERS[0]), (f"[{p.VIP6}]", p.SERVERS6[0]))
        for service in balancer.services(
            [f"{vip}:80", f"{vip}:53/udp"], [f"{server},mac={p.SERVER_MACS[0]}"], "rr", "inline", options
        )
    ]
    hops = balancer.hops([one for service in made for one in service.backends], mtu_bytes=mtu_bytes)
    return compile_table(made, hops, {p.IFINDEX: balancer.BALANCER, p.OTHER_IFINDEX: balancer.INNER})


def answers_to(out: bytes) -> list[p.Packet]:
    """Return what a server, and routers before it, may send about a packet that it got."""
    asked = p.Ether(out)
    if not (p.TCP in asked or p.UDP in asked):
        return []
    is_v6, link = p.IPv6 in asked, p.from_server()
    ip = asked[p.IPv6] if is_v6 else asked[p.IP]
    answer = link / p.answer_of(asked, b"answer" * 20)
    if is_v6:
        errors = [p.ICMPv6DestUnreach(code=4), p.ICMPv6PacketTooBig(mtu=1300), p.ICMPv6TimeExceeded()]
        heads = [p.IPv6(src=src, dst=ip.src) for src in (ip.dst, p.INNER_ROUTER6)]
    else:
        errors = [p.ICMP(type=3, code=3), p.ICMP(type=3, code=4, nexthopmtu=1300), p.ICMP(type=11)]
        heads = [p.IP(src=src, dst=ip.src) for src in (ip.dst, p.INNER_ROUTER)]
    quote = p.Raw(bytes(ip)[:90])
    return [
        answer,
        *p.pieces(answer, 64, 77),
        *(link / head / error / quote for head in heads for error in errors),
    ]


def conversations(to: ForwardingTable, state: State) -> list[Arrival]:
    """Return valid frames of both sides: what clients send, what servers answer, and traffic of neither."""
    valid = [(frame, p.IFINDEX) for frame in seeds()]
    valid += [(bytes(make(sport, dst=vip, load=b"q" * 90)), p.IFINDEX)
              for make in (lambda sport, **more: p.tcp("A", sport, **more), p.udp)
              for vip in (p.VIP, p.VIP6) for sport in (4000, 4001)]  # fmt: skip
    heard: list[Arrival] = []
    for frame, ifindex in valid:
        action, reason, _, out = process(frame, ifindex, to, state, 0)
        state.released.clear()
        if reason is Reason.FORWARDED:
            assert action >= Action.TX
            heard += [(bytes(one), p.OTHER_IFINDEX) for one in answers_to(out)]
    own = p.from_server() / p.IP(src=p.SERVERS[0], dst=p.CLIENT) / p.TCP(sport=5000, dport=80)
    return [*valid, *heard, (bytes(own), p.OTHER_IFINDEX)]


class Sums(NamedTuple):
    """What adds up in an IP packet; None: there is no such sum."""

    header: bool | None
    transport: bool | None
    quoted_header: bool | None


def sums(packet: bytes) -> Sums:
    """Look at all sums of a packet, as its receivers do."""
    is_v6 = packet[0] >> 4 == 6
    at, protocol, is_piece = (40, packet[6], False) if is_v6 else ((packet[0] & 15) * 4, packet[9], False)
    while is_v6 and protocol in (0, 43, 44, 60):
        place = int.from_bytes(packet[at + 2 : at + 4], "big") if protocol == 44 else 0
        is_piece |= bool(place & 0xFFF9)
        if place & 0xFFF8:
            break  # what follows is the middle of something
        protocol, at = packet[at], at + (8 if protocol == 44 else (packet[at + 1] + 1) * 8)
    header = None if is_v6 else ones_sum(packet[:at]) == 0xFFFF
    is_piece |= not is_v6 and bool(int.from_bytes(packet[6:8], "big") & 0x3FFF)
    segment, ends = packet[at:], packet[8:40] if is_v6 else packet[12:20]
    if is_piece or protocol not in (1, 6, 17, 58):
        return Sums(header, None, None)
    pseudo = b"" if protocol == 1 else ends + len(segment).to_bytes(4, "big") + bytes((0, protocol))
    none = protocol == 17 and segment[6:8] == b"\0\0"
    quoted = segment[8:28] if protocol == 1 and segment[8] == 0x45 and segment[0] in (3, 11, 12) else None
    return Sums(
        header,
        None if none else ones_sum(pseudo + segment) == 0xFFFF,
        ones_sum(quoted) == 0xFFFF if quoted else None,
    )


def check_translated(frame: bytes, ifindex: int, out: bytes, reason: Reason, was_cut: bool) -> None:
    """Require that a frame which leaves is as right as the one that came, one hop older."""
    (came, came_at), (left, left_at) = content(frame), content(out)
    before, after = sums(came), sums(left)
    to_server = ifindex == p.OTHER_IFINDEX
    assert out[6:12] == LINKS[ifindex][6:] and not out[0] & 1
    assert out[:6] == LINKS[ifindex][:6] or not to_server  # the client's is whoever sent its last packet
    assert out[left_at - 2 : left_at] == frame[came_at - 2 : came_at]
    assert after.header is before.header
    ttl_at = 7 if came[0] >> 4 == 6 else 8
    assert left[ttl_at] == came[ttl_at] - 1
    if was_cut:
        return
    assert len(left) == len(came)
    assert after.transport is before.transport
    assert after.quoted_header is before.quoted_header
    assert reason is not Reason.ICMP_STEERED or after.transport


@pytest.mark.parametrize("snat", [False, True], ids=["", "snat"])
def test_every_frame_that_leaves_is_as_right_as_the_one_that_came(snat: bool) -> None:
    print(f"DSRLB_FUZZ_SEED={SEED} DSRLB_FUZZ_FRAMES={FRAMES}")
    rng, state, now_s = random.Random(f"{SEED} inline {snat}"), State(), 0
    wide, narrow = table(snat), table(snat, mtu_bytes=120)
    valid = conversations(wide, state)
    begun = sum(state.reasons)
    by_side = {side: [frame for frame, ifindex in valid if ifindex == side] for side in LINKS}
    for count in range(1, FRAMES // 2 + 1):
        side = rng.choice((p.IFINDEX, p.OTHER_IFINDEX))
        frame = mutate(rng, by_side[side])
        here = narrow if rng.random() < 0.1 else wide
        action, reason, ifindex, out = process(frame, side, here, state, now_s)
        freed = [one for one in state.released if one[0] >= Action.TX]
        state.released.clear()
        was_cut = any(one[1] is reason for one in freed) and reason is not Reason.FRAGMENT_FORWARDED
        if action >= Action.TX and reason in TRANSLATED:
            check_translated(frame, ifindex, out, reason, was_cut)
        elif action >= Action.TX and frame[12:14] != b"\x08\x06":
            assert False not in sums(content(out)[0]), (reason, out.hex())
        for _, _, to, piece in freed:
            assert piece[6:12] == LINKS[to][6:] and False not in sums(content(piece)[0])[:1]
        assert sum(state.reasons) == begun + count, frame.hex()
        if count % EPOCH_FRAMES == 0:  # held pieces are over; flows are not
            now_s += 4
            expire(state, now_s)
    told = balancer.counted(state)
    assert FRAMES < 10_000 or len(told) >= 25, told
    reached = {
        "forwarded",
        "reply_forwarded",
        "icmp_steered",
        "fragment_forwarded",
        "ttl_exceeded",
        "ttl_dropped",
    }
    assert FRAMES < 10_000 or reached | {"too_big_answered", "reply_unmatched"} <= set(told), told
    for _ in range(4):
        now_s += 10 * LEAP_S
        expire(state, now_s)
    assert (len(state.flows), state.flows.replies) == (0, {})
