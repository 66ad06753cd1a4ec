"""Does the product agree with an independent statement of NAT (``inline.py`` beside this file)?"""

from __future__ import annotations

import random
from ipaddress import ip_address

import balancer
import packets as p
import pytest
from spec.inline import Nat, Services

from dsrlb.datapath import process
from dsrlb.model import Action, ModeOptions, Reason
from dsrlb.state import State

FRAMES = 1000
VIPS = (f"{p.VIP}:80", f"{p.VIP}:53/udp", f"{p.OTHER_VIP}:80")
VIPS6 = (f"[{p.VIP6}]:80", f"[{p.VIP6}]:53/udp")
CLIENTS, CLIENTS6 = ("198.18.0.2", "198.18.0.3"), ("2001:db8::2", "2001:db8::3")
ANSWERS = {Reason.TTL_EXCEEDED, Reason.REFUSED, Reason.SNAT_EXHAUSTED}


def packed(address: str) -> bytes:
    return ip_address(address).packed


def behind(servers: tuple[str, ...], port: int) -> list[str]:
    hosts = [f"[{one}]" if ":" in one else one for one in servers]
    return [f"{host}:{port},mac={mac}" for host, mac in zip(hosts, p.SERVER_MACS, strict=False)]


class Talk:
    """Random clients and servers: a frame begins a flow, goes on with one, answers, or does none of it."""

    def __init__(self, rng: random.Random, is_v6: bool) -> None:
        self.rng, self.is_v6 = rng, is_v6
        self.clients, self.vips = (CLIENTS6, (p.VIP6,)) if is_v6 else (CLIENTS, (p.VIP, p.OTHER_VIP))
        self.servers = p.SERVERS6 if is_v6 else p.SERVERS[:2]
        self.arrived: list[p.Packet] = []  # at servers

    def frame(self) -> tuple[p.Packet, int]:
        """Return the next frame and the interface by which it comes."""
        rng = self.rng
        if self.arrived and rng.random() < 0.45:
            return p.from_server() / self.answer(rng.choice(self.arrived)), p.OTHER_IFINDEX
        if rng.random() < 0.1:
            stray = self.head(rng.choice(self.servers), rng.choice(self.clients)) / self.transport(9, 4000)
            return p.from_server() / stray, p.OTHER_IFINDEX
        # Few ports, so that flows go on, and one name is wanted for two.
        sport, dport = 40_000 + rng.randrange(30), rng.choice([80, 80, 53, 81])
        return p.ether() / self.head(rng.choice(self.clients), rng.choice(self.vips)) / self.transport(
            sport, dport
        ), p.IFINDEX

    def head(self, src: str, dst: str) -> p.Packet:
        life = self.rng.choice([1, 2, 64, 64, 64, 64, 255])
        if self.is_v6:
            return p.IPv6(src=src, dst=dst, hlim=life, tc=self.rng.randrange(256), fl=self.rng.randrange(9))
        options = self.rng.choice([[], [], [p.IPOption_NOP()] * 4])
        return p.IP(
            src=src, dst=dst, ttl=life, tos=self.rng.randrange(256), id=self.rng.randrange(9), options=options
        )

    def transport(self, sport: int, dport: int) -> p.Packet:
        load = p.Raw(self.rng.randbytes(self.rng.choice([0, 1, 2, 7, 100])))
        if dport == 53 or sport == 53 or self.rng.random() < 0.2:
            none = {"chksum": 0} if not self.is_v6 and self.rng.random() < 0.3 else {}
            return p.UDP(sport=sport, dport=dport, **none) / load
        flags = self.rng.choice(["S", "A", "A", "PA"])
        return p.TCP(sport=sport, dport=dport, flags=flags, seq=self.rng.randrange(2**32)) / load

    def answer(self, asked: p.Packet) -> p.Packet:
        ip = asked[p.IPv6] if self.is_v6 else asked[p.IP]
        load = p.Raw(self.rng.randbytes(self.rng.choice([0, 1, 5, 300])))
        back = self.head(ip.dst, ip.src)
        if p.UDP in asked:
            return back / p.UDP(sport=asked[p.UDP].dport, dport=asked[p.UDP].sport) / load
        return back / p.TCP(sport=asked[p.TCP].dport, dport=asked[p.TCP].sport, flags="A") / load


@pytest.mark.parametrize("is_v6", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize("source", [None, "VIP", "own"])
def test_the_product_translates_as_the_statement_does(source: str | None, is_v6: bool) -> None:
    rng = random.Random(f"20260101 {source} {is_v6}")
    vips, servers = (VIPS6, p.SERVERS6) if is_v6 else (VIPS[:2] if source == "VIP" else VIPS, p.SERVERS[:2])
    address = {
        None: None,
        "VIP": p.VIP6 if is_v6 else p.VIP,
        "own": p.BALANCER_IP6 if is_v6 else p.BALANCER_IP,
    }[source]
    options = ModeOptions(snat=source is not None, source=ip_address(address) if source == "own" else None)
    services: Services = {
        (packed(vip.rpartition(":")[0].strip("[]")), 53 if "udp" in vip else 80, 17 if "udp" in vip else 6): [
            (packed(one), 8080) for one in servers
        ]
        for vip in vips
    }
    table = balancer.table(vips, behind(servers, 8080), "rr", mode="inline", options=options)
    nat, talk, state = Nat(services, packed(address) if address else None), Talk(rng, is_v6), State()
    counts = {True: 0, False: 0}
    for _ in range(FRAMES):
        frame, ifindex = talk.frame()
        raw = bytes(frame)
        action, reason, out_ifindex, out = process(raw, ifindex, table, state, 0)
        sent = out[14:] if action >= Action.TX and reason not in ANSWERS else b""
        assert sent == nat.leaves(raw[14:], sent), (reason, raw.hex())
        assert out_ifindex == (p.IFINDEX if reason is Reason.REPLY_FORWARDED else p.OTHER_IFINDEX) or not sent
        if sent and ifindex == p.IFINDEX:
            talk.arrived.append(p.Ether(out))
        counts[bool(sent)] += 1
    told = balancer.counted(state)
    assert min(counts.values()) > FRAMES / 10, counts
    assert told["reply_forwarded"] > FRAMES / 10 and told["forwarded"] > FRAMES / 10
    assert told["ttl_exceeded"] + told["ttl_dropped"] > FRAMES / 40
