"""Is the checksum that of RFC 1071, and is every turned bit seen by it?"""

from __future__ import annotations

import random

import pytest
from scapy.utils import checksum as scapy_checksum

from dsrlb.wire.checksum import checksum, is_valid


def test_the_checksum_is_what_scapy_computes_for_any_length() -> None:
    rng = random.Random(1)
    for length in (1, 2, 3, 19, 20, 21, 64, 1499, 1500):
        block = rng.randbytes(length)
        assert int.from_bytes(checksum(block), "big") == scapy_checksum(block)


@pytest.mark.parametrize(
    ("block", "expected"),
    [("0000", "ffff"), ("ffff", "0000"), ("00010203fdfb", "0000"), ("0001f203", "0dfb")],
)
def test_the_checksum_of_nothing_is_all_ones_and_of_all_ones_is_nothing(block: str, expected: str) -> None:
    assert checksum(bytes.fromhex(block)).hex() == expected
    assert f"{scapy_checksum(bytes.fromhex(block)):04x}" == expected


def test_a_block_with_its_checksum_is_valid_and_with_any_bit_turned_is_not() -> None:
    body = bytes(range(1, 20))
    block = body + b"\0" + checksum(body)
    assert is_valid(block)
    for bit in range(len(block) * 8):
        turned = bytearray(block)
        turned[bit >> 3] ^= 1 << (bit & 7)
        assert not is_valid(bytes(turned))


def test_a_block_of_zeros_is_not_valid() -> None:
    assert not is_valid(bytes(8))
