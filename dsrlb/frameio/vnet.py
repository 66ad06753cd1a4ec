"""The vnet header: what the kernel has left to do with a frame.

Passed on unchanged from receiving to sending it saves finishing checksums and cutting large frames in
Python::

    0     1        2       4        6          8           10
    +-----+--------+-------+--------+----------+-----------+
    |flags|gso_type|hdr_len|gso_size|csum_start|csum_offset|   host byte order
    +-----+--------+-------+--------+----------+-----------+

``flags`` NEEDS_CSUM: the checksum ``csum_offset`` behind ``csum_start`` covers the pseudo-header only.
``gso_type`` other than 0: the frame stands for segments of ``gso_size`` bytes each.

*Source*: linux/virtio_net.h.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from dsrlb.wire.ethernet import ETHERTYPE_IPV4, skip_tags
from dsrlb.wire.ipv4 import MORE_FRAGMENTS_AND_OFFSET
from dsrlb.wire.offload import Offload

Frame = tuple[bytes, bytes]  # vnet header, frame

VNET = struct.Struct("=BBHHHH")
VNET_BYTES = VNET.size
NO_VNET = bytes(VNET_BYTES)  # nothing left to do: checksums complete, not GSO
NEEDS_CSUM, DATA_VALID = 1, 2  # VIRTIO_NET_HDR_F_*
GSO_TCPV4, GSO_UDP, GSO_TCPV6, GSO_UDP_L4, GSO_ECN = 1, 3, 4, 5, 0x80  # VIRTIO_NET_HDR_GSO_*
CHECKED_ONLY = bytes((DATA_VALID,)) + bytes(VNET_BYTES - 1)  # what a NIC that verifies checksums gives


def clean(vnet: bytes) -> bytes:
    """Return the vnet header without the flags that mean nothing to a sender (DATA_VALID)."""
    flags = vnet[0] & NEEDS_CSUM
    if not flags and not vnet[1]:
        return NO_VNET
    return vnet if vnet[0] == flags else bytes((flags,)) + vnet[1:]


@lru_cache(maxsize=1024)  # traffic has few of them, as it has few sizes
def offload_of(vnet: bytes) -> Offload | None:
    """Return what a vnet header says in the data path's words; None if the frame is complete."""
    flags, gso_type, _, segment_bytes, _, _ = VNET.unpack(vnet)
    if not flags & NEEDS_CSUM and not gso_type:
        return None
    return Offload(bool(flags & NEEDS_CSUM), segment_bytes if gso_type else 0)


def moved(vnet: bytes, frame: bytes, out: bytes) -> bytes:
    """Return the vnet header for what was made of a frame, whose link header may be longer or shorter.

    A first piece is complete: the packet was finished before it was cut.
    """
    if len(out) == len(frame) and out[12:14] == frame[12:14]:
        return vnet
    (_, before), (kind, at) = skip_tags(frame), skip_tags(out)
    if kind == ETHERTYPE_IPV4 and (out[at + 6] << 8 | out[at + 7]) & MORE_FRAGMENTS_AND_OFFSET:
        return NO_VNET
    flags, gso_type, hdr_len, gso_size, csum_start, csum_offset = VNET.unpack(vnet)
    csum_start += (at - before) * (flags & NEEDS_CSUM)
    hdr_len += (at - before) * bool(hdr_len)
    return VNET.pack(flags, gso_type, hdr_len, gso_size, csum_start, csum_offset)


def tagged(vnet: bytes, frame: bytes, tpid: int, tci: int) -> tuple[bytes, bytes]:
    """Return vnet header and frame with a VLAN tag behind the MAC addresses; all that follows moves by 4."""
    frame = frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
    if vnet == NO_VNET:
        return vnet, frame
    flags, gso_type, hdr_len, gso_size, csum_start, csum_offset = VNET.unpack(vnet)
    csum_start += 4 * (flags & NEEDS_CSUM)
    hdr_len += 4 * bool(hdr_len)
    return VNET.pack(flags, gso_type, hdr_len, gso_size, csum_start, csum_offset), frame
