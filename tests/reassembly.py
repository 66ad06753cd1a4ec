"""What a receiver does with pieces, by RFC 791 and RFC 8200 alone: no dsrlb, no scapy."""

from __future__ import annotations

from collections.abc import Iterable
from struct import pack, unpack_from


def ones_sum(block: bytes) -> int:
    """Return the folded one's complement sum of a block's 16-bit words."""
    padded = block + b"\0" * (len(block) % 2)
    total: int = sum(unpack_from(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def reassembled_ipv4(pieces: Iterable[bytes]) -> bytes:
    """Return the packet that IPv4 pieces, in any order, make; the first one's header leads it.

    The pieces of one piece make that piece.  AssertionError: a gap, an overlap, a wrong length or checksum.
    """
    parts, ends = [], []
    for piece in sorted(pieces, key=lambda one: unpack_from("!H", one, 6)[0] & 0x1FFF):
        header = (piece[0] & 15) * 4
        length, place = unpack_from("!H", piece, 2)[0], unpack_from("!H", piece, 6)[0]
        assert length == len(piece) > header
        assert ones_sum(piece[:header]) == 0xFFFF
        parts.append((8 * (place & 0x1FFF), piece[header:], piece[:header]))
        ends.append(place & 0x2000)
    assert all(ends[:-1])
    start, _, head = parts[0]
    payload = b""
    for at, part, _ in parts:
        assert at - start == len(payload)
        payload += part
    place = (unpack_from("!H", head, 6)[0] & 0xDFFF) | ends[-1]
    head = (
        head[:2]
        + pack("!H", len(head) + len(payload))
        + head[4:6]
        + pack("!H", place)
        + head[8:10]
        + b"\0\0"
        + head[12:]
    )
    return head[:10] + pack("!H", ones_sum(head) ^ 0xFFFF) + head[12:] + payload


def reassembled_ipv6(pieces: Iterable[bytes]) -> bytes:
    """Return the packet that IPv6 pieces make whose only extension header is the fragment header."""
    payload, head, more, idents = b"", b"", 1, set()
    for piece in sorted(pieces, key=lambda one: unpack_from("!H", one, 42)[0] & 0xFFF8):
        assert unpack_from("!H", piece, 4)[0] == len(piece) - 40
        assert piece[6] == 44
        assert piece[41] == 0
        place = unpack_from("!H", piece, 42)[0]
        assert place & 0xFFF8 == len(payload)
        assert more
        head, more = head or piece[:6] + piece[40:41] + piece[7:40], place & 1
        idents.add(piece[44:48])
        payload += piece[48:]
    assert not more
    assert len(idents) == 1
    return head[:4] + pack("!H", len(payload)) + head[6:] + payload
