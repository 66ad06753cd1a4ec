"""Of random frames of both sides with offloads, does inline raise, miscount, or send any wrongly?"""

from __future__ import annotations

import random
from collections import deque

import balancer
import packets as p
import pytest
from fuzzing import EPOCH_FRAMES, FRAMES, LEAP_S, SEED, mutate, offload, seeds
from reassembly import ones_sum

from dsrlb.datapath import process
from dsrlb.model import Action, ModeOptions, Reason
from dsrlb.state import State, Verdict, expire
from dsrlb.table import ForwardingTable, compile_table

MACS = {p.IFINDEX: balancer.BALANCER, p.OTHER_IFINDEX: balancer.INNER}
SERVERS = [f"{at},mac={mac}" for at, mac in zip(p.SERVERS[:2], p.SERVER_MACS, strict=False)]
SERVERS6 = [f"{at},mac={mac}" for at, mac in zip(p.SERVERS6, p.SERVER_MACS, strict=False)]
RECENT = 50  # frames sent to servers that may still be answered


def table(snat: bool, mtu_bytes: int) -> ForwardingTable:
    """Return the table of two services of each family, with servers behind the second interface."""
    options = ModeOptions(snat=snat)
    made = balancer.services(balancer.ALL_VIPS[:2], SERVERS, "rr", "inline", options)
    made += balancer.services(balancer.ALL_VIPS[2:], SERVERS6, "maglev", "inline", options)
    behind = [backend for service in made for backend in service.backends]
    return compile_table(made, balancer.hops(behind, mtu_bytes=mtu_bytes), MACS)


def short_pieces() -> list[bytes]:
    """Return the pieces of TCP segments whose last one is shorter than a header."""
    whole = [p.tcp(dst=vip, load=bytes(52)) for vip in (p.VIP, p.VIP6)]
    return [bytes(piece) for one in whole for piece in p.pieces(one, 64)]


def turned(frame: bytes) -> bytes:
    """Return a frame that goes the other way: each checksum is as right as it was."""
    size, at = (4, 26) if frame[12:14] == b"\x08\x00" else (16, 22)
    ports_at = at + 2 * size if size == 16 else 14 + (frame[14] & 15) * 4
    src, dst = frame[at : at + size], frame[at + size : at + 2 * size]
    ports = frame[ports_at + 2 : ports_at + 4] + frame[ports_at : ports_at + 2]
    head = frame[6:12] + frame[:6] + frame[12:at] + dst + src + frame[at + 2 * size : ports_at]
    return head + ports + frame[ports_at + 4 :]


def ip_bytes(packet: bytes) -> int:
    if packet[0] >> 4 == 4:
        return int.from_bytes(packet[2:4], "big")
    return 40 + int.from_bytes(packet[4:6], "big")


def check_to_server(verdict: Verdict) -> None:
    """A frame for a server leaves by the way to it, and its IPv4 header is right."""
    frame = verdict[3]
    assert frame[6:12] == balancer.INNER
    if frame[12:14] == b"\x08\x00":
        assert ones_sum(frame[14 : 14 + (frame[14] & 15) * 4]) == 0xFFFF


@pytest.mark.parametrize("mtu_bytes", [1500, 100])
@pytest.mark.parametrize("snat", [False, True])
def test_any_frame_of_either_side_is_counted_once_and_sent_whole(snat: bool, mtu_bytes: int) -> None:
    print(f"DSRLB_FUZZ_SEED={SEED} DSRLB_FUZZ_FRAMES={FRAMES}")
    rng, valid = random.Random(f"{SEED} inline {snat} {mtu_bytes}"), seeds() + short_pieces()
    here, state, now_s = table(snat, mtu_bytes), State(), 0
    asked: deque[bytes] = deque(maxlen=RECENT)
    for count in range(1, FRAMES // 4 + 1):
        ifindex, sources = p.IFINDEX, valid
        if asked and rng.random() < 0.3:
            ifindex, sources = p.OTHER_IFINDEX, [turned(rng.choice(asked))]
        frame, unfinished = mutate(rng, sources), offload(rng)
        try:
            verdict = process(frame, ifindex, here, state, now_s, unfinished)
        except Exception as error:
            pytest.fail(f"{error!r}: {frame.hex()} {unfinished}")
        for one in (*state.released, verdict):
            if one[0] >= Action.TX and one[2] == p.OTHER_IFINDEX and ifindex == p.IFINDEX:
                check_to_server(one)
                asked.append(one[3])
        if verdict[1] is Reason.FORWARDED and unfinished is None:
            assert ip_bytes(verdict[3][14:]) <= mtu_bytes, frame.hex()
        state.released.clear()
        assert sum(state.reasons) == count, frame.hex()
        if count % EPOCH_FRAMES == 0:
            now_s += LEAP_S
            expire(state, now_s)
    told = balancer.counted(state)
    expected = {"forwarded", "reply_forwarded", "fragment_forwarded", "reply_unmatched"}
    assert FRAMES < 10_000 or expected <= set(told), told
    assert FRAMES < 10_000 or len(told) >= 20, told
