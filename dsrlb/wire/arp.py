"""ARP for IPv4 over Ethernet.

::

    0       2       4  5  6       8        14       18       24       28
    +-------+-------+--+--+-------+--------+--------+--------+--------+
    | 1     | 0x800 |6 |4 | op    |snd MAC | snd IP |tgt MAC | tgt IP |
    +-------+-------+--+--+-------+--------+--------+--------+--------+

*Source*: RFC 826; RFC 5227 for probes and announcements.
"""

from __future__ import annotations

from typing import NamedTuple

PACKET_BYTES = 28
FIXED = bytes.fromhex("0001080006" + "04")
REQUEST, REPLY = b"\x00\x01", b"\x00\x02"


class Arp(NamedTuple):
    """The fields of an ARP packet, as they are on the wire."""

    operation: bytes
    sender_mac: bytes
    sender_ip: bytes
    target_ip: bytes


def parse(frame: bytes, at: int) -> Arp | None:
    """Return the ARP packet at an offset; None if it is cut short or not IPv4 over Ethernet."""
    body = frame[at : at + PACKET_BYTES]
    if len(body) < PACKET_BYTES or not body.startswith(FIXED):
        return None
    return Arp(body[6:8], body[8:14], body[14:18], body[24:28])


def reply(frame: bytes, at: int, asked: Arp, mac: bytes) -> bytes:
    """Return the frame that says: the address asked for is at this MAC.  VLAN tags are kept."""
    link = frame[6:12] + mac + frame[12:at]
    return link + FIXED + REPLY + mac + asked.target_ip + asked.sender_mac + asked.sender_ip
