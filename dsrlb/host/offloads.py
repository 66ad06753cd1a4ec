"""What an interface does with frames before anybody sees them, as its driver tells.

::

    ioctl SIOCETHTOOL    ifreq: name 16 | pointer ──► ethtool_value: command 4 | value 4

*Source*: linux/ethtool.h, linux/sockios.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from typing import NamedTuple

_SIOCETHTOOL = 0x8946
_GET_TX_CHECKSUM, _GET_FLAGS, _GET_GRO = 0x16, 0x25, 0x2B
_LRO = 1 << 15  # ETH_FLAG_LRO


class Offloads(NamedTuple):
    """What is switched on; None: the driver does not tell."""

    lro: bool | None  # the NIC puts packets together, so that they cannot be taken apart again as they were
    gro: bool | None  # the kernel does, so that they can
    tx_checksum: bool | None  # what is sent by it has its checksum from the NIC


def offloads(ifname: str) -> Offloads:
    """Return what is switched on; all None where there is no such interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        flags, gro, checksum = (
            _ask(any_socket, ifname, command) for command in (_GET_FLAGS, _GET_GRO, _GET_TX_CHECKSUM)
        )
    return Offloads(
        lro=None if flags is None else bool(flags & _LRO),
        gro=None if gro is None else bool(gro),
        tx_checksum=None if checksum is None else bool(checksum),
    )


def _ask(any_socket: socket.socket, ifname: str, command: int) -> int | None:
    value = ctypes.create_string_buffer(struct.pack("=II", command, 0), 8)
    try:
        fcntl.ioctl(
            any_socket,
            _SIOCETHTOOL,
            struct.pack("16sP", ifname.encode(), ctypes.addressof(value)).ljust(40, b"\0"),
        )
    except OSError:
        return None
    answer: int = struct.unpack("=II", value.raw)[1]
    return answer
