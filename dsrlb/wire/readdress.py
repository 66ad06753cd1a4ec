"""A packet with other addresses and ports: what changes besides, and every checksum right again.

::

    IPv4   0      2      4      6      8    9    10     12          16          20
           +------+------+------+------+----+----+------+-----------+-----------+- - -
           |      |      |      |      |TTL |    | sum  | source    | dest      | options
           +------+------+------+------+----+----+------+-----------+-----------+- - -
                                        -1         c      c           c

    IPv6   0             4      6    7    8                24               40
           +-------------+------+----+----+----------------+----------------+- - -
           |             |      |    |hops| source         | dest           | extensions
           +-------------+------+----+----+----------------+----------------+- - -
                                      -1    c                c

    TCP    0      2      4                            16     18
           +------+------+- - - - - - - - - - - - - - +------+------+- - -
           |sport |dport | seq, ack, offset, window   | sum  |      | options, payload
           +------+------+- - - - - - - - - - - - - - +------+------+- - -
             c      c                                   c

    UDP    0      2      4      6      8
           +------+------+------+------+- - -
           |sport |dport |length| sum  | payload
           +------+------+------+------+- - -
             c      c             c  (not if it is 0: the sender made none)

A checksum is the complement of a one's complement sum, and that sum is the number which the words
spell modulo 0xFFFF (``wire/checksum.py``).  So a word that shrinks by d makes the checksum grow by d,
whatever else is in the packet: nothing but the changed words is read.  A checksum still to be finished
by the hardware holds the sum of the pseudo-header itself, not its complement: it shrinks with the
addresses, and the ports are no part of it yet.

*Source*: RFC 1624, section 3 (equation 3); RFC 768 (a sum of 0 is sent as 0xFFFF); RFC 1812, section 5.3.1,
and RFC 8200, section 3 (TTL and hop limit).
"""

from __future__ import annotations

from typing import NamedTuple

from dsrlb.wire import ipv4, ipv6, l4
from dsrlb.wire.checksum import WORD_MAX, checksum
from dsrlb.wire.offload import Offload
from dsrlb.wire.packet import Packet

CHECKSUM_AT = {l4.TCP: 16, l4.UDP: 6}
TTL_STEP = 0x0100  # what the word of TTL and protocol loses


class Ends(NamedTuple):
    """Where a packet is from and where to, as it shall say."""

    src: bytes  # 16 bytes
    dst: bytes  # 16 bytes
    ports: bytes  # source and destination; empty: a piece without them


def ends_of_request(reply_key: bytes) -> Ends:
    """Return what a client's packet shall say, so that its answer is named by this key."""
    return Ends(reply_key[16:32], reply_key[:16], reply_key[34:36] + reply_key[32:34])


def ends_of_reply(key: bytes) -> Ends:
    """Return what a server's packet shall say in answer to the flow of this key."""
    return Ends(key[16:32], key[:16], key[34:36] + key[32:34])


def lives_on(frame: bytes, l3_at: int) -> bool:
    """Return whether a packet may be sent on by a router: its TTL or hop limit is 2 or more."""
    return frame[l3_at + (8 if frame[l3_at] >> 4 == 4 else 7)] > 1


def wire_bytes(frame: bytes, l3_at: int, packet: Packet, offload: Offload | None) -> int:
    """Return the length of the IP packet, or of the longest of those into which it will be cut for it.

    A piece of a datagram is not cut into segments, whatever its offload says.
    """
    at, is_tcp = packet.l4_at, packet.protocol == l4.TCP
    if offload is None or not offload.segment_bytes or packet.fragment is not None:
        return packet.end - l3_at
    if is_tcp and at + l4.TCP_OFFSET_AT >= packet.end:
        return packet.end - l3_at  # the header is not whole
    header_bytes = frame[at + l4.TCP_OFFSET_AT] >> 4 << 2 if is_tcp else l4.UDP_HEADER_BYTES
    return min(packet.end, at + header_bytes + offload.segment_bytes) - l3_at


def readdressed(
    frame: bytes, l3_at: int, packet: Packet, link: bytes, ends: Ends, *, is_partial: bool = False
) -> bytes:
    """Return the frame behind another link header, one hop further, from and to the ends given.

    ``link``: the whole link header, type included.  ``is_partial``: see ``Offload``.  The packet is TCP or
    UDP with its header whole, or a piece behind the first.
    """
    at = len(link)
    out = bytearray(link + frame[l3_at:])
    moved = number(packet.src) + number(packet.dst) - number(ends.src) - number(ends.dst)
    if out[at] >> 4 == 4:
        out[at + 8] -= 1
        adjust(out, at + ipv4.CHECKSUM_AT, moved + TTL_STEP)
        out[at + 12 : at + ipv4.HEADER_BYTES] = ends.src[12:] + ends.dst[12:]
    else:
        out[at + 7] -= 1
        out[at + 8 : at + ipv6.HEADER_BYTES] = ends.src + ends.dst
    if ends.ports:
        at += packet.l4_at - l3_at
        moved = -moved if is_partial else moved + number(out[at : at + 4]) - number(ends.ports)
        out[at : at + 4] = ends.ports
        adjust_l4(out, at, packet.protocol, moved)
    return bytes(out)


def finished(packet: bytes, l4_at: int, protocol: int) -> bytes:
    """Return a whole packet with the checksum that was left to the hardware, which holds its first part."""
    sum_at = l4_at + CHECKSUM_AT[protocol]
    total = checksum(packet[l4_at:])
    if protocol == l4.UDP and total == b"\0\0":
        total = b"\xff\xff"
    return packet[:sum_at] + total + packet[sum_at + 2 :]


def adjust_l4(out: bytearray, at: int, protocol: int, moved: int) -> None:
    """Adjust the checksum of the TCP or UDP header at an offset."""
    sum_at = at + CHECKSUM_AT[protocol]
    if protocol == l4.UDP and not (out[sum_at] or out[sum_at + 1]):
        return
    adjust(out, sum_at, moved)
    if protocol == l4.UDP and not (out[sum_at] or out[sum_at + 1]):
        out[sum_at : sum_at + 2] = b"\xff\xff"


def adjust(out: bytearray, sum_at: int, moved: int) -> None:
    """Adjust a checksum to words that have shrunk by this much in all."""
    total = (out[sum_at] << 8 | out[sum_at + 1]) + moved
    out[sum_at : sum_at + 2] = (total % WORD_MAX).to_bytes(2, "big")


def number(words: bytes | bytearray) -> int:
    """Return words as one number, which is their one's complement sum modulo 0xFFFF."""
    return int.from_bytes(words, "big")
