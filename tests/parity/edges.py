"""Packets on the edges of checksums: what comes out has a sum of zero, written as 0000 or as ffff.

A sum that is changed, not computed anew, can come out in either form, and UDP has a meaning of its own for
zero.  One packet in 65,536 gets there by itself; here it is led there by what became of one like it.
"""

from __future__ import annotations

from random import Random

from parity.frames import ICMP, ICMPV6, TCP, UDP, ones_sum

_SUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}
_IDENT_AT, _HEADER_SUM_AT = 4, 10


def on_edge(rng: Random, came: bytes, left: bytes) -> bytes:
    """Return a frame like one that came, changed so that a sum in what leaves may be on an edge.

    Behind the sum that leaves may be that of the frame itself, readdressed, or one over all of it, wrapped or
    quoted: the first falls as the frame's own rises, the second falls as it rises.
    """
    before, after = _transport_sum_at(came), _transport_sum_at(left)
    if rng.random() < 0.3:
        return _header_on_edge(came, left)
    if not before or not after:
        return came
    own, out = (int.from_bytes(raw[at : at + 2], "big") for raw, at in ((came, before), (left, after)))
    wanted = (own - out if rng.random() < 0.5 else own + out) + rng.choice((0, 0, 1, -1))
    return _with_word(came, before, wanted % 0xFFFF or rng.choice((0, 0xFFFF)))


def _header_on_edge(came: bytes, left: bytes) -> bytes:
    """Change an IPv4 packet's identification so that its header's checksum comes out as zero."""
    at, out_at = _l3_at(came), _l3_at(left)
    if came[at - 2 : at] != b"\x08\x00" or left[out_at - 2 : out_at] != b"\x08\x00":
        return came
    out = int.from_bytes(left[out_at + _HEADER_SUM_AT : out_at + _HEADER_SUM_AT + 2], "big")
    ident = int.from_bytes(came[at + _IDENT_AT : at + _IDENT_AT + 2], "big")
    made = _with_word(_with_word(came, at + _IDENT_AT, (ident + out) % 0xFFFF), at + _HEADER_SUM_AT, 0)
    header_bytes = (made[at] & 15) * 4
    return _with_word(made, at + _HEADER_SUM_AT, 0xFFFF - ones_sum(made[at : at + header_bytes]))


def _transport_sum_at(raw: bytes) -> int:
    """Return where the checksum of TCP, UDP or ICMP is in a frame without extension headers; 0: nowhere."""
    at = _l3_at(raw)
    if raw[at - 2 : at] == b"\x08\x00":
        protocol, l4_at = raw[at + 9], at + (raw[at] & 15) * 4
    elif raw[at - 2 : at] == b"\x86\xdd":
        protocol, l4_at = raw[at + 6], at + 40
    else:
        return 0
    place = l4_at + _SUM_AT[protocol] if protocol in _SUM_AT else 0
    return place if place + 2 <= len(raw) else 0


def _l3_at(raw: bytes) -> int:
    at = 14
    while raw[at - 2 : at] in (b"\x81\x00", b"\x88\xa8", b"\x91\x00"):
        at += 4
    return at


def _with_word(raw: bytes, at: int, word: int) -> bytes:
    return raw[:at] + word.to_bytes(2, "big") + raw[at + 2 :]
