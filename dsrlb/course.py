"""How plain IPv4 packets of a translated flow are rewritten in one direction, worked out for all at once.

::

    byte  0           14         22    23    24      26               38         50 (TCP), 40 (UDP)
          +-----------+----------+-----+-----+-------+----------------+----------+-------+- - -
    in    | link      | as it is | TTL |proto| sum   | addresses,ports| as it is | sum   | as it is
          +-----------+----------+-----+-----+-------+----------------+----------+-------+- - -
    out   | ``link``  |          | -1  |     |adjust.| ``ends``       |          |adjust.|
          +-----------+----------+-----+-----+-------+----------------+----------+-------+- - -

By how much the checksums change depends on the flow alone (``wire/readdress.py``), but for what a hop takes
from the TTL.  The long way, which this shortens, is ``modes.inline.hand_on``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dsrlb.wire.checksum import WORD_MAX
from dsrlb.wire.l4 import TCP
from dsrlb.wire.readdress import CHECKSUM_AT, TTL_STEP, Ends, number

_L4_AT = 34
_SUM_AT = {protocol: _L4_AT + at for protocol, at in CHECKSUM_AT.items()}
_MIDDLE = struct.Struct(">BBH12s")


@dataclass(slots=True)
class Course:
    """One direction of a flow under one edition of the table."""

    edition: object
    in_link: bytes  # what its packets come with: a client whose router is another one is answered by that
    in_ifindex: int
    link: bytes
    out_ifindex: int
    ends: bytes  # 4 + 4 + 2 + 2
    moved: int  # what the addresses lose
    ports_moved: int
    most_bytes: int  # total length of the longest packet that this way takes


def lay(
    edition: object,
    came: tuple[bytes, int],
    leaves: tuple[bytes, int],
    before: Ends,
    after: Ends,
    most_bytes: int,
) -> Course:
    """Return the course of packets that come, and leave, with a link header by an interface."""
    moved = sum(map(number, before[:2])) - sum(map(number, after[:2]))
    ends = after.src[12:] + after.dst[12:] + after.ports
    return Course(
        edition, *came, *leaves, ends, moved, number(before.ports) - number(after.ports), most_bytes
    )


def follow(course: Course, frame: bytes, protocol: int, is_partial: bool) -> bytes:
    """Return a plain IPv4 frame of the flow, of TCP or UDP, one hop further."""
    sum_at, moved = _SUM_AT[protocol], course.moved
    header_sum = ((frame[24] << 8 | frame[25]) + moved + TTL_STEP) % WORD_MAX
    total = frame[sum_at] << 8 | frame[sum_at + 1]
    if protocol == TCP or total:
        total = (total + (-moved if is_partial else moved + course.ports_moved)) % WORD_MAX
        if not total and protocol != TCP:
            total = WORD_MAX
    middle = _MIDDLE.pack(frame[22] - 1, protocol, header_sum, course.ends)
    return b"".join(
        (course.link, frame[14:22], middle, frame[38:sum_at], total.to_bytes(2, "big"), frame[sum_at + 2 :])
    )
