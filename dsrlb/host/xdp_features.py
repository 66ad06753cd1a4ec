"""What a device's driver can do with XDP, as the kernel tells since Linux 6.3.

::

    generic netlink, family "netdev"     NETDEV_CMD_DEV_GET   { ifindex }   ->   { ifindex, xdp-features }

*Source*: linux/netdev.h; Documentation/netlink/specs/netdev.yaml; linux/genetlink.h.
"""

from __future__ import annotations

import socket
import struct
from enum import IntFlag

from dsrlb.host import netlink

_NETLINK_GENERIC, _GENL_ID_CTRL, _CTRL_CMD_GETFAMILY = 16, 0x10, 3
_CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_FAMILY_NAME = 1, 2
_DEV_GET, _IFINDEX, _XDP_FEATURES = 1, 1, 3
_GENL = struct.Struct("=BBH")


class XdpFeature(IntFlag):
    """enum netdev_xdp_act, as far as it matters here."""

    BASIC = 1  # a program can be in the driver
    NDO_XMIT = 4  # the device sends what a program redirects to it


def xdp_features(ifindex: int) -> XdpFeature | None:
    """Return what a device's driver can do; None where this kernel does not tell."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as kernel:
            name = netlink.attribute(_CTRL_ATTR_FAMILY_NAME, b"netdev\0")
            family = _ask(kernel, _GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, name).get(_CTRL_ATTR_FAMILY_ID)
            if family is None:
                return None
            wanted = netlink.attribute(_IFINDEX, struct.pack("=I", ifindex))
            told = _ask(kernel, struct.unpack("=H", family)[0], _DEV_GET, wanted).get(_XDP_FEATURES)
    except OSError:
        return None
    return None if told is None else XdpFeature(struct.unpack("=Q", told)[0] & 5)


def _ask(kernel: socket.socket, family: int, command: int, payload: bytes) -> dict[int, bytes]:
    """Return the attributes of the answer to one question; none if the kernel refuses it."""
    asked = _GENL.pack(command, 1, 0) + payload
    kernel.send(netlink.message(family, netlink.NLM_F_REQUEST, asked))
    kind, _, answer = next(netlink.messages(kernel.recv(1 << 16)))
    return {} if kind == netlink.NLMSG_ERROR else dict(netlink.attributes(answer, _GENL.size))
