"""Does the product agree with an independent statement of L3 DSR (``l3dsr.py`` beside this file)?"""

from __future__ import annotations

import random
from functools import cache
from ipaddress import ip_address
from typing import Any

import balancer
import packets as p
import pytest
from spec.l3dsr import received, told

from dsrlb.datapath import process
from dsrlb.model import Action, ModeOptions, Reason
from dsrlb.state import State

PACKETS = 400
OWN = {4: ip_address(p.BALANCER_IP).packed, 16: ip_address(p.BALANCER_IP6).packed}
MTUS = {4: (576, 1280, 1300, 1400, 1500, 9000), 16: (1280, 1320, 1400, 1500, 9000)}


@cache
def frames() -> tuple[bytes, ...]:
    """Return whole packets of many sizes, most of them near one that matters."""
    rng, made = random.Random(20260102), []
    while len(made) < PACKETS:
        size = rng.choice([rng.randrange(1, 200), rng.randrange(1100, 1500), rng.randrange(500, 9000)])
        vip = rng.choice([p.VIP, p.VIP6])
        fields: dict[str, Any] = {"tc": rng.randrange(256), "fl": rng.randrange(1 << 20)}
        if vip == p.VIP:
            options = rng.choice([[], [], [p.IPOption_NOP()] * 5, [p.IPOption_RR(routers=["198.18.0.9"])]])
            fields = {"tos": rng.randrange(256), "flags": rng.choice(["DF", ""]), "options": options}
            fields |= {"id": rng.randrange(1 << 16), "ttl": rng.randrange(1, 256)}
        head = p.ether(tags=rng.choice([(), (), (5,), (5, 6)])) / p.ip(dst=vip, **fields)
        l4 = rng.choice([p.TCP(dport=80, flags="A"), p.UDP(dport=53)])
        l4.sport = rng.randrange(1, 65536)
        made.append(bytes(head / l4 / p.Raw(rng.randbytes(size))) + bytes(rng.choice([0, 0, 3])))
    return tuple(made)


def packet_in(frame: bytes) -> bytes:
    """Return the IP packet in a frame, without tags and padding."""
    at = 14
    while frame[at - 2 : at] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    length = int.from_bytes(frame[at + 2 : at + 4], "big")
    if frame[at] >> 4 == 6:
        length = 40 + int.from_bytes(frame[at + 4 : at + 6], "big")
    return frame[at : at + length]


@pytest.mark.parametrize("encap", ["ipip", "gue", "gue1"])
@pytest.mark.parametrize("server", [p.FAR, p.FAR6])
def test_the_server_gets_the_packet_or_the_client_is_told_as_the_statement_says(
    encap: Any, server: str
) -> None:
    to = ip_address(server).packed
    answers = []
    for mtu in MTUS[len(to)]:
        table = balancer.table(
            backends=[f"{server},mac={p.ROUTER_MAC}"],
            mode="l3dsr",
            options=ModeOptions(encap=encap),
            mtu_bytes=mtu,
        )
        for number, frame in enumerate(frames()):
            state = State()
            verdict = process(frame, p.IFINDEX, table, state, number)
            packet, size = packet_in(frame), told(packet_in(frame), to, encap, mtu)
            answers.append(size is None)
            if size is None:
                out = [verdict[3], *(piece for _, _, _, piece in state.released)]
                kind = b"\x08\x00" if len(to) == 4 else b"\x86\xdd"
                assert {one[:14] for one in out} == {p.mac_bytes(p.ROUTER_MAC) + balancer.BALANCER + kind}
                assert received([one[14:] for one in out], OWN[len(to)], to, encap, mtu) == packet
            else:
                assert verdict[:2] == (Action.TX, Reason.TOO_BIG_ANSWERED), frame.hex()
                answer = p.Ether(verdict[3])
                named = answer[p.ICMP].nexthopmtu if p.ICMP in answer else answer[p.ICMPv6PacketTooBig].mtu
                assert named == size
    assert 0.1 < sum(answers) / len(answers) < 0.9
