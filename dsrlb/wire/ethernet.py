"""Ethernet II with 802.1Q tags.

::

    0         6         12     12+4t    14+4t
    +---------+---------+- - - +--------+---------
    | dst MAC | src MAC | tags | type   | payload      t = 0, 1 or 2 tags of 4 bytes
    +---------+---------+- - - +--------+---------

*Source*: IEEE 802.3, clause 3; IEEE 802.1Q, clause 9.
"""

from __future__ import annotations

HEADER_BYTES = 14
TYPE_AT, TYPE_BYTES = 12, 2
TAG_BYTES = 4
MAX_TAGS = 2

ETHERTYPE_IPV4 = b"\x08\x00"
ETHERTYPE_ARP = b"\x08\x06"
ETHERTYPE_IPV6 = b"\x86\xdd"
TAG_TYPES = frozenset((b"\x81\x00", b"\x88\xa8", b"\x91\x00"))

ALL_NODES_MAC = bytes.fromhex("333300000001")  # RFC 2464, section 7


def skip_tags(frame: bytes) -> tuple[bytes, int]:
    """Return the ethertype and the payload's offset behind up to two VLAN tags.

    The ethertype of a frame that ends too soon is shorter than two bytes, and matches none.
    """
    at = TYPE_AT
    kind = frame[at : at + 2]
    while kind in TAG_TYPES and at < TYPE_AT + MAX_TAGS * TAG_BYTES:
        at += TAG_BYTES
        kind = frame[at : at + 2]
    return kind, at + 2
