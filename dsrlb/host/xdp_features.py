"""What a device's driver can do with XDP, as the kernel tells since Linux 6.3.

::

    generic netlink, family "netdev"     NETDEV_CMD_DEV_GET   { ifindex }   ->   { ifindex, xdp-features }

*Source*: linux/netdev.h; Documentation/netlink/specs/netdev.yaml; linux/genetlink.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from enum import IntFlag

_NETLINK_GENERIC, _GENL_ID_CTRL, _CTRL_CMD_GETFAMILY = 16, 0x10, 3
_CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_FAMILY_NAME = 1, 2
_DEV_GET, _IFINDEX, _XDP_FEATURES = 1, 1, 3
_NLM_F_REQUEST, _NLMSG_ERROR = 1, 2
_HEAD, _GENL, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBH"), struct.Struct("=HH")


class XdpFeature(IntFlag):
    """enum netdev_xdp_act, as far as it matters here."""

    BASIC = 1  # a program can be in the driver
    NDO_XMIT = 4  # the device sends what a program redirects to it


def xdp_features(ifindex: int) -> XdpFeature | None:
    """Return what a device's driver can do; None where this kernel does not tell."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as kernel:
            name = _attribute(_CTRL_ATTR_FAMILY_NAME, b"netdev\0")
            family = _ask(kernel, _GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, name).get(_CTRL_ATTR_FAMILY_ID)
            if family is None:
                return None
            wanted = _attribute(_IFINDEX, struct.pack("=I", ifindex))
            told = _ask(kernel, struct.unpack("=H", family)[0], _DEV_GET, wanted).get(_XDP_FEATURES)
    except OSError:
        return None
    return None if told is None else XdpFeature(struct.unpack("=Q", told)[0] & 5)


def _ask(kernel: socket.socket, family: int, command: int, payload: bytes) -> dict[int, bytes]:
    """Return the attributes of the answer to one question; none if the kernel refuses it."""
    body = _GENL.pack(command, 1, 0) + payload
    kernel.send(_HEAD.pack(_HEAD.size + len(body), family, _NLM_F_REQUEST, 1, 0) + body)
    answer = kernel.recv(1 << 16)
    length, kind, *_ = _HEAD.unpack_from(answer)
    return {} if kind == _NLMSG_ERROR else dict(_attributes(answer[_HEAD.size + _GENL.size : length]))


def _attribute(kind: int, value: bytes) -> bytes:
    return (_ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value).ljust((len(value) + 7) & ~3, b"\0")


def _attributes(told: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(told):
        length, kind = _ATTRIBUTE.unpack_from(told, at)
        yield kind, told[at + _ATTRIBUTE.size : at + length]
        at += max((length + 3) & ~3, _ATTRIBUTE.size)
