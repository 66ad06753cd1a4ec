"""Of 100,000 random and mutated frames, does l3dsr wrap any wrongly, or any that should not leave?"""

from __future__ import annotations

import random
from ipaddress import ip_address

import balancer
import packets as p
import pytest
from fuzzing import EPOCH_FRAMES, FRAMES, LEAP_S, SEED, content, mutate, offload, seeds
from reassembly import ones_sum
from spec.l2dsr import Pieces, Services, leaves
from spec.l3dsr import received, unwrapped

from dsrlb.datapath import process
from dsrlb.model import Action, ModeOptions, Reason
from dsrlb.state import State, expire

FAR = {4: ip_address(p.FAR).packed, 16: ip_address(p.FAR6).packed}
OWN = {4: ip_address(p.BALANCER_IP).packed, 16: ip_address(p.BALANCER_IP6).packed}
BACKENDS = [f"{p.FAR},mac={p.ROUTER_MAC}", f"{p.FAR6},mac={p.ROUTER_MAC}"]
SERVICES: Services = {
    (ip_address(vip).packed, port, protocol)
    for vip in (p.VIP, p.VIP6)
    for port, protocol in ((80, 6), (53, 17))
}
ANSWERS = {
    Reason.ARP_REPLY,
    Reason.ND_REPLY,
    Reason.ECHO_REPLY,
    Reason.TOO_BIG_ANSWERED,
    Reason.TUNNEL_ERROR_TOLD,
}


def errors_about_tunnels() -> list[bytes]:
    """Return ICMP errors about packets that were wrapped."""
    found = []
    for vip, inner in ((p.VIP, 4), (p.VIP6, 41)):
        packet = bytes(p.tcp("A", dst=vip, load=bytes(60)))[14:]
        outer = bytes(p.IP(src=p.BALANCER_IP, dst=p.FAR, proto=inner) / p.Raw(packet))
        outer6 = bytes(p.IPv6(src=p.BALANCER_IP6, dst=p.FAR6, nh=inner) / p.Raw(packet))
        for code in (1, 2, 3, 4):
            found.append(
                p.ether() / p.IP(src=p.FAR, dst=p.BALANCER_IP) / p.ICMP(type=3, code=code) / p.Raw(outer)
            )
        for error in (p.ICMPv6PacketTooBig(mtu=1300), p.ICMPv6DestUnreach(), p.ICMPv6ParamProblem(code=1)):
            found.append(p.ether() / p.IPv6(src=p.FAR6, dst=p.BALANCER_IP6) / error / p.Raw(outer6))
    return [bytes(frame) for frame in found]


def long_ones() -> list[bytes]:
    """Return packets that do not fit where little fits, and SYNs that announce too much."""
    syn = p.TCP(dport=80, flags="S", options=[("NOP", None), ("MSS", 1460)])
    heads = [p.IP(src=p.CLIENT, dst=p.VIP, flags=flags) for flags in ("DF", "")] + [p.ip(dst=p.VIP6)]
    l4s = [syn, p.UDP(dport=53) / p.Raw(bytes(150))]
    return [bytes(p.ether() / head / l4) for head in heads for l4 in l4s]


def frames(kind: str) -> list[bytes]:
    rng = random.Random(f"{SEED} l3dsr {kind}")
    valid = seeds() + errors_about_tunnels() + long_ones()
    return [mutate(rng, valid) for _ in range(FRAMES // 2)]


def test_what_l2dsr_would_forward_is_wrapped_and_nothing_else() -> None:
    print(f"DSRLB_FUZZ_SEED={SEED} DSRLB_FUZZ_FRAMES={FRAMES}")
    rng = random.Random(f"{SEED} l3dsr offloads")
    table, state, pieces, now_s = balancer.table(backends=BACKENDS, mode="l3dsr"), State(), Pieces(), 0
    for count, frame in enumerate(frames("fits"), 1):
        action, reason, _, out = process(frame, p.IFINDEX, table, state, now_s, offload(rng))
        sent = [freed for _, _, _, freed in state.released]
        state.released.clear()
        if action >= Action.TX and reason not in ANSWERS:
            sent.append(out)
        expected = leaves(frame, balancer.BALANCER, SERVICES, pieces)
        got = []
        for one in sent:
            size = 4 if one[12:14] == b"\x08\x00" else 16
            got.append(received([one[14:]], OWN[size], FAR[size], "ipip", 1500))
        assert got == [content(one)[0] for one in expected], (reason, frame.hex())
        assert sum(state.reasons) == count, frame.hex()
        if count % EPOCH_FRAMES == 0:
            now_s += LEAP_S
            expire(state, now_s)
            pieces.clear()
    told = balancer.counted(state)
    assert FRAMES < 10_000 or len(told) >= 20, told
    assert FRAMES < 10_000 or {"no_decapsulation", "tunnel_error", "tunnel_error_told"} <= set(told)


@pytest.mark.parametrize("encap", ["ipip", "gue", "gue1"])
def test_where_little_fits_every_frame_that_leaves_is_whole_and_short_enough(encap: str) -> None:
    """IPv4 servers behind a link of 120 bytes: most packets are cut, inside or outside, or refused."""
    options = ModeOptions(encap=encap, clamp_mss=True)  # type: ignore[arg-type]  # one of its words
    table = balancer.table(backends=BACKENDS[:1], mode="l3dsr", options=options, mtu_bytes=120)
    state, now_s, sizes, rng = State(), 0, set(), random.Random(f"{SEED} {encap} offloads")
    for count, frame in enumerate(frames(encap)[: FRAMES // 6], 1):
        verdict = process(frame, p.IFINDEX, table, state, now_s, offload(rng))
        for action, reason, _, out in (*state.released, verdict):
            if action < Action.TX or reason in ANSWERS:
                continue
            outer = out[14:]
            assert int.from_bytes(outer[2:4], "big") == len(outer) <= 120, frame.hex()
            assert ones_sum(outer[:20]) == 0xFFFF
            sizes.add(len(outer))
            if outer[6:8] == b"\x40\x00":
                unwrapped(outer, OWN[4], FAR[4], encap, 6080, was_cut=False)
        state.released.clear()
        assert sum(state.reasons) == count, frame.hex()
        now_s += count % EPOCH_FRAMES == 0
    assert FRAMES < 10_000 or (max(sizes) > 100 and state.reasons[Reason.TOO_BIG_ANSWERED] > 0)
