"""Does the product agree with an independent statement of L2 DSR (``l2dsr.py`` beside this file)?"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from typing import Any

import balancer
import packets as p
import pytest
from spec.l2dsr import Pieces, Services, leaves

from dsrlb.datapath import process
from dsrlb.model import Action
from dsrlb.state import State

FRAMES = 2000
VIPS = ("198.18.1.100:80", "198.18.1.100:53/udp", "[2001:db8:1::100]:80", "[2001:db8:1::100]:*/udp")
SERVICES: Services = {
    (ip_address(p.VIP).packed, 80, 6),
    (ip_address(p.VIP).packed, 53, 17),
    (ip_address(p.VIP6).packed, 80, 6),
    (ip_address(p.VIP6).packed, 0, 17),
}
MAC = p.mac_bytes(p.BALANCER_MAC)
BACKENDS = {p.mac_bytes(mac) for mac in p.BACKEND_MACS}

Make = Callable[[random.Random], list[p.Packet]]  # frames of one flow, in the order in which they come


def someone(rng: random.Random, is_v6: bool) -> str:
    """Return the address of a client; now and then an impossible one, or the VIP."""
    odd = ("::1", "::", p.VIP6, "ff02::1") if is_v6 else ("127.0.0.1", "0.0.0.0", p.VIP, "224.0.0.9")
    if rng.random() < 0.05:
        return rng.choice(odd)
    return f"2001:db8::{rng.randrange(2, 999)}" if is_v6 else f"198.18.0.{rng.randrange(2, 254)}"


def header(rng: random.Random) -> p.Packet:
    """Return link and IP headers, with all that may lie before and inside them."""
    is_v6 = rng.random() < 0.5
    tags = rng.choice([(), (), (), (), (5,), (5,), (5, 6), (5, 6, 7)])
    link = p.ether(dst=rng.choice([p.BALANCER_MAC] * 19 + [p.STRANGER_MAC]), tags=tags)
    if not is_v6:
        options = rng.choice([[], [], [], [p.IPOption_NOP()] * rng.randrange(1, 9), [p.IPOption_NOP()] * 40])
        vip = rng.choice([p.VIP] * 19 + [p.OTHER_VIP])
        return link / p.IP(src=someone(rng, False), dst=vip, options=options, ttl=rng.randrange(1, 256))
    head = link / p.IPv6(src=someone(rng, True), dst=rng.choice([p.VIP6] * 19 + [p.BACKENDS6[0]]))
    for _ in range(rng.choice([0, 0, 0, 0, 1, 1, 2, 3, 8, 9])):
        head = head / rng.choice(
            [p.IPv6ExtHdrDestOpt(), p.IPv6ExtHdrHopByHop(), p.IPv6ExtHdrRouting(segleft=0, addresses=[])]
        )
    return head


def connection(rng: random.Random) -> list[p.Packet]:
    head, sport = header(rng), rng.randrange(1, 65536)
    dport = rng.choice([80] * 9 + [81, 53, 0])
    size = rng.choice([5] * 8 + [None, 6, 4])
    flags = ["S", *(rng.choice(["A", "PA", "FA", "R", "SA", ""]) for _ in range(4))]
    return [
        head
        / p.TCP(sport=sport, dport=dport, flags=each, dataofs=size)
        / p.Raw(rng.randbytes(rng.randrange(9)))
        for each in flags
    ]


def queries(rng: random.Random) -> list[p.Packet]:
    head, sport = header(rng), rng.randrange(1, 65536)
    dport, length = rng.choice([53, 53, 53, 80, 0, 54]), rng.choice([None] * 6 + [7, 8, 20, 21])
    return [head / p.UDP(sport=sport, dport=dport, len=length) / p.Raw(bytes(12)) for _ in range(2)]


def datagram(rng: random.Random) -> list[p.Packet]:
    make: Any = rng.choice([p.udp, p.udp, p.tcp])
    vip, ident = rng.choice([p.VIP, p.VIP6]), rng.randrange(1, 65536)
    whole = make(sport=rng.randrange(1, 65536), dst=vip, load=rng.randbytes(rng.randrange(100, 400)))
    cut = p.pieces(whole, rng.choice([24, 64, 96]), ident)
    rng.shuffle(cut)
    return cut


def conversation_with_errors(rng: random.Random) -> list[p.Packet]:
    make: Any = rng.choice([p.tcp, p.udp])
    vip = rng.choice([p.VIP, p.VIP6])
    asked = make(sport=rng.randrange(1, 65536), dst=vip, dport=rng.choice([80, 53, 53, 80, 81]))
    return [asked, p.error_about(asked, quote_bytes=rng.choice([28, 40, 48, 60, 10]))]


def others(rng: random.Random) -> list[p.Packet]:
    vip = rng.choice([p.VIP, p.VIP6])
    return [
        rng.choice(
            [
                p.echo(vip),
                p.who_has(),
                p.claims(),
                p.solicits(),
                p.advertises(),
                p.ether() / p.ip(dst=vip) / p.Raw(b"whatever"),
                p.ether() / p.IP(src=p.CLIENT, dst=p.VIP, chksum=1) / p.TCP(dport=80),
                p.ether() / p.ip(dst=p.VIP) / p.ICMP(type=rng.randrange(256)) / p.Raw(bytes(40)),
            ]
        )
    ]


@cache
def flows() -> tuple[list[bytes], ...]:
    """Return the frames of each flow, thousands in all."""
    rng, made, count = random.Random(20260101), [], 0
    makes: list[Make] = [connection, connection, queries, datagram, conversation_with_errors, others]
    while count < FRAMES:
        made.append([bytes(frame) for frame in rng.choice(makes)(rng)])
        count += len(made[-1])
    return tuple(made)


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "hash", "maglev"])
def test_the_product_forwards_what_the_statement_forwards_and_nothing_else(scheduler: str) -> None:
    table, state = balancer.table(VIPS, scheduler=scheduler), State()
    pieces: Pieces = {}
    forwarded = 0
    for frames in flows():
        owners: set[bytes] = set()
        for frame in frames:
            action, reason, ifindex, out = process(frame, p.IFINDEX, table, state, 0)
            sent = [freed for _, _, _, freed in state.released]
            sent += [out] if action is Action.TX and not reason.word.endswith("_reply") else []
            state.released.clear()
            expected = leaves(frame, MAC, SERVICES, pieces)
            assert [one[12:] for one in sent] == [one[12:] for one in expected], (frame.hex(), reason)
            assert {one[6:12] for one in sent} <= {MAC}
            assert not sent or ifindex == p.IFINDEX
            owners |= {one[:6] for one in sent}
            forwarded += len(sent)
        assert owners <= BACKENDS
        assert len(owners) <= 1, [frame.hex() for frame in frames]
    assert forwarded > FRAMES / 3


def test_the_frames_put_every_question() -> None:
    """A statement is worth what it is asked: both answers, and many of each kind of flow."""
    pieces: Pieces = {}
    answers = [len(leaves(frame, MAC, SERVICES, pieces)) for frames in flows() for frame in frames]
    assert answers.count(0) > FRAMES / 10
    assert answers.count(1) > FRAMES / 3
    assert sum(answer > 1 for answer in answers) > 20
