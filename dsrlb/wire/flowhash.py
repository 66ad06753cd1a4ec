"""The hash by which every balancer picks the same slot for the same flow.

Multilinear hashing over 32-bit words: multiply each word by a constant of its own, add up
modulo 2**64, and mix once.  It costs one multiplication a word in Python, in NumPy and in BPF
alike, and is the same on every machine.  Flow keys are ten words (``wire/l4.py``); for IPv4
only four of them vary.

*Source*: D. Lemire and O. Kaser, "Strongly universal string hashing is fast", 2014, section 2;
the constants are SplitMix64's first outputs for seed 0 (G. Steele et al., OOPSLA 2014), made odd.
"""

from __future__ import annotations

import struct

from dsrlb.model import V4_MAPPED

M64 = 0xFFFF_FFFF_FFFF_FFFF


def _splitmix64(count: int) -> tuple[int, ...]:
    """Return the first odd-made outputs of SplitMix64 for seed 0."""
    outputs, state = [], 0
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & M64
        z = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & M64
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & M64
        outputs.append((z ^ z >> 31) | 1)
    return tuple(outputs)


CONSTANTS = _splitmix64(12)
_K0, _K1, _K2, _K3, _K4, _K5, _K6, _K7, _K8, _K9, _K10, _MIX = CONSTANTS
_V4_BASE = (_K0 + 0xFFFF * (_K3 + _K7)) & M64
_V4_CLIENT_BASE = (_K0 + 0xFFFF * _K3) & M64

_V4_KEY = struct.Struct(">12xI12xIII")
_V6_KEY = struct.Struct(">10I")
_ADDRESS = struct.Struct(">4I")


def flow_hash(key: bytes) -> int:
    """Return the 32-bit hash of a 40-byte flow key."""
    if key.startswith(V4_MAPPED):
        src, dst, ports, protocol = _V4_KEY.unpack(key)
        total = _V4_BASE + _K4 * src + _K8 * dst + _K9 * ports + _K10 * protocol
    else:
        w = _V6_KEY.unpack(key)
        total = _K0 + _K1 * w[0] + _K2 * w[1] + _K3 * w[2] + _K4 * w[3] + _K5 * w[4]
        total += _K6 * w[5] + _K7 * w[6] + _K8 * w[7] + _K9 * w[8] + _K10 * w[9]
    return _mix(total)


def client_hash(src: bytes) -> int:
    """Return the 32-bit hash of a client's 16-byte address: the flow hash with all else zero."""
    if src.startswith(V4_MAPPED):
        return _mix(_V4_CLIENT_BASE + _K4 * int.from_bytes(src[12:], "big"))
    a, b, c, d = _ADDRESS.unpack(src)
    return _mix(_K0 + _K1 * a + _K2 * b + _K3 * c + _K4 * d)


def client_network(src: bytes, prefixes: tuple[int, int]) -> bytes:
    """Return a 16-byte address without the bits behind the prefix of its family (IPv4, IPv6)."""
    host_bits = 32 - prefixes[0] if src.startswith(V4_MAPPED) else 128 - prefixes[1]
    return (int.from_bytes(src, "big") >> host_bits << host_bits).to_bytes(16, "big") if host_bits else src


def _mix(total: int) -> int:
    """Fold the 64-bit sum to 32 bits; the shift breaks up the sum's straight lines."""
    total &= M64
    return (((total ^ total >> 32) * _MIX) & M64) >> 32
