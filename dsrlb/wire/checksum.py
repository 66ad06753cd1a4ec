"""The Internet checksum (RFC 1071), by whole-number arithmetic.

A one's complement sum of 16-bit words is the number they spell modulo 0xFFFF, since
2**16 = 1 (mod 0xFFFF).  One big-number remainder is faster than any loop over words.
"""

from __future__ import annotations

WORD_MAX = 0xFFFF


def is_valid(block: bytes) -> bool:
    """Return whether a block that contains its own checksum adds up.  Odd lengths are padded with 0."""
    if len(block) & 1:
        block += b"\0"
    return int.from_bytes(block, "big") % WORD_MAX == 0 and any(block)


def checksum(block: bytes) -> bytes:
    """Return the two checksum bytes of a block whose checksum field is zero.

    *Source*: RFC 1071, section 1.
    """
    if len(block) & 1:
        block += b"\0"
    number = int.from_bytes(block, "big")
    return (-number % WORD_MAX if number else WORD_MAX).to_bytes(2, "big")


def pseudo_header(src: bytes, dst: bytes, length: int, protocol: int) -> bytes:
    """Return the IPv6 pseudo-header (RFC 8200, section 8.1) that upper-layer checksums cover."""
    return src + dst + length.to_bytes(4, "big") + bytes((0, 0, 0, protocol))
