"""Is the flow hash as it was defined, the same for ever, and even?"""

from __future__ import annotations

import random

import pytest
from reading import CLIENT, CLIENT6, VIP, VIP6

from dsrlb.wire import flowhash, l4


def ten_word_hash(key: bytes) -> int:
    """Return the flow hash by its definition, without the short way for IPv4."""
    words = [int.from_bytes(key[at : at + 4], "big") for at in range(0, 40, 4)]
    k = flowhash.CONSTANTS
    total = (k[0] + sum(a * b for a, b in zip(words, k[1:11], strict=True))) % 2**64
    return ((total ^ (total >> 32)) * k[11] % 2**64) >> 32


def test_the_constants_are_those_of_splitmix64_made_odd() -> None:
    published = (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC)
    assert flowhash.CONSTANTS[:4] == tuple(constant | 1 for constant in published)


def test_the_short_way_for_ipv4_is_the_long_way_for_ipv4() -> None:
    rng = random.Random(2)
    for _ in range(200):
        key = l4.flow_key(CLIENT[:12] + rng.randbytes(4), VIP[:12] + rng.randbytes(4), rng.randbytes(4), 6)
        assert flowhash.flow_hash(key) == ten_word_hash(key)
        key = l4.flow_key(b"\x20" + rng.randbytes(15), b"\x20" + rng.randbytes(15), rng.randbytes(4), 17)
        assert flowhash.flow_hash(key) == ten_word_hash(key)


def test_a_clients_hash_is_the_flow_hash_with_all_else_zero() -> None:
    for client in (CLIENT, CLIENT6):
        assert flowhash.client_hash(client) == ten_word_hash(client + bytes(24))


def test_the_hash_is_the_same_for_ever() -> None:
    """A change would move every flow of everyone who upgrades one balancer of two."""
    key = l4.flow_key(CLIENT, VIP, bytes.fromhex("9c400050"), 6)
    key6 = l4.flow_key(CLIENT6, VIP6, bytes.fromhex("9c400050"), 6)
    assert (flowhash.client_hash(CLIENT), flowhash.client_hash(CLIENT6)) == (1236708543, 4152180705)
    assert (flowhash.flow_hash(key), flowhash.flow_hash(key6)) == (3811286071, 2613337299)


def chi_square(counts: list[int]) -> float:
    """Return how far counts are from even; about len(counts) - 1 for a fair source."""
    even = sum(counts) / len(counts)
    return sum((count - even) ** 2 for count in counts) / even


@pytest.mark.parametrize("bins", [3, 16, 251])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("varies", ["port", "client", "both", "even ports"])
def test_neighbouring_flows_are_spread_evenly(family: int, varies: str, bins: int) -> None:
    counts = [0] * bins
    base, vip = (CLIENT, VIP) if family == 4 else (CLIENT6, VIP6)
    for i in range(20_000):
        client = base if "port" in varies else base[:14] + (i & 0xFFFF).to_bytes(2, "big")
        port = {"port": 10_000 + i, "client": 40_000, "both": 65535 - i, "even ports": 2 * i}[varies]
        hashed = flowhash.flow_hash(l4.flow_key(client, vip, port.to_bytes(2, "big") + b"\0\x50", 6))
        counts[hashed * bins >> 32] += 1
    assert chi_square(counts) < bins - 1 + 6 * (2 * bins) ** 0.5  # six standard deviations: never by chance
