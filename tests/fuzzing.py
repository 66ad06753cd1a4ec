"""Frames for the fuzz tests: valid ones of every kind, and what becomes of them under a mutator.

``DSRLB_FUZZ_SEED`` and ``DSRLB_FUZZ_FRAMES`` choose others; a failure prints the seed and the frame.
"""

from __future__ import annotations

import os
import random

import packets as p

from dsrlb.wire.offload import Offload

SEED = int(os.environ.get("DSRLB_FUZZ_SEED", "1"))
FRAMES = int(os.environ.get("DSRLB_FUZZ_FRAMES", "100000"))
EPOCH_FRAMES = 2000  # then time leaps, and what was held is over
LEAP_S = 100
INTERESTING = (0, 1, 4, 5, 6, 8, 17, 40, 43, 44, 58, 59, 60, 0x45, 0x60, 0x7F, 0x80, 0x81, 0xFE, 0xFF)


def seeds() -> list[bytes]:
    """Return valid frames of every kind that the data path knows."""
    frames = [
        p.who_has(),
        p.claims(),
        p.solicits(),
        p.solicits(src="::"),
        p.solicits(tags=(5,)),
        p.advertises(),
    ]
    for vip in (p.VIP, p.VIP6):
        for tags in ((), (5,), (5, 6)):
            frames += [p.tcp("S", dst=vip, tags=tags), p.udp(dst=vip, tags=tags), p.echo(vip, tags=tags)]
        frames += [
            p.tcp(flags, sport, dst=vip, load=b"x" * sport)
            for flags, sport in (("A", 7), ("FA", 8), ("R", 9))
        ]
        frames += [
            p.error_about(make(dst=vip), quote_bytes=size) for make in (p.tcp, p.udp) for size in (28, 60)
        ]
        frames += p.pieces(p.udp(dst=vip, load=bytes(100)), 48) + p.pieces(
            p.tcp(dst=vip, load=bytes(100)), 64
        )
    options = [p.IPOption_NOP()] * 8
    chain = p.IPv6ExtHdrHopByHop() / p.IPv6ExtHdrRouting(segleft=0, addresses=[]) / p.IPv6ExtHdrDestOpt()
    frames += [
        p.ether() / p.IP(src=p.CLIENT, dst=p.VIP, options=options) / p.TCP(dport=80),
        p.ether() / p.ip(dst=p.VIP6) / chain / p.TCP(dport=80),
        p.ether() / p.ip(dst=p.VIP6) / p.IPv6ExtHdrFragment(nh=17, id=3) / p.UDP(dport=53),
    ]
    return [bytes(frame) for frame in frames]


def ipv4_header_sum(frame: bytearray) -> None:
    """Make the header checksum of an IPv4 frame right again, so that a change is not all that is seen."""
    at = 14
    while at < 22 and bytes(frame[at - 2 : at]) in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    size = (frame[at] & 15) * 4 if len(frame) > at else 0
    if frame[at - 2 : at] != b"\x08\x00" or size < 20 or len(frame) < at + size:
        return
    frame[at + 10 : at + 12] = b"\0\0"
    total = sum(int.from_bytes(frame[i : i + 2], "big") for i in range(at, at + size, 2))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    frame[at + 10 : at + 12] = (total ^ 0xFFFF).to_bytes(2, "big")


def offload(rng: random.Random) -> Offload | None:
    """Return what a kernel may say of a frame, whether or not it can be true of this one."""
    if rng.random() < 0.5:
        return None
    return Offload(rng.random() < 0.5, rng.choice((0, 0, 1, 20, 40, 1440, 65_535)))


def mutate(rng: random.Random, valid: list[bytes]) -> bytes:
    """Return a frame: as it was, changed in a few bytes or bits, cut, stretched, crossed, or of noise."""
    kind = rng.random()
    if kind < 0.03:
        return rng.randbytes(rng.randrange(0, 120))
    frame = bytearray(rng.choice(valid))
    if kind < 0.10:
        return bytes(frame[: rng.randrange(len(frame) + 1)])
    if kind < 0.15:
        frame += rng.randbytes(rng.randrange(1, 30))
    elif kind < 0.22:
        other = rng.choice(valid)
        cut = rng.randrange(14, 60)
        frame[cut:] = other[cut:]
    elif kind < 0.85:
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            at = rng.randrange(len(frame))
            frame[at] = rng.choice(INTERESTING) if rng.random() < 0.5 else frame[at] ^ 1 << rng.randrange(8)
    if rng.random() < 0.7:
        ipv4_header_sum(frame)
    return bytes(frame)


def content(frame: bytes) -> tuple[bytes, int]:
    """Return the IP packet in a frame, without tags and padding, and how many bytes precede it."""
    at = 14
    while frame[at - 2 : at] in (b"\x81\x00", b"\x88\xa8", b"\x91\x00"):
        at += 4
    length = int.from_bytes(frame[at + 2 : at + 4], "big")
    if frame[at] >> 4 == 6:
        length = 40 + int.from_bytes(frame[at + 4 : at + 6], "big")
    assert len(frame) >= at + length, frame.hex()
    return frame[at : at + length], at
