"""Names that one process of a network namespace holds at a time: those of abstract unix sockets.

The kernel frees a name with its owner, however that ends.  But any user may hold any name, so the kernel
is asked whose a name is that is taken::

    netlink, NETLINK_SOCK_DIAG     ┌──────────┬─────────────┬────────────────────────────────┐
    one message a unix socket:     │ nlmsghdr │ unix_diag_  │ attributes: length, type, ...  │ ...
                                   │ 16 bytes │ msg, 16     │ 0 the name, 7 the user's id    │
                                   └──────────┴─────────────┴────────────────────────────────┘

*Source*: include/uapi/linux/unix_diag.h, net/unix/diag.c; the user's id since Linux 5.3.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from secrets import token_hex

from dsrlb.errors import HostError
from dsrlb.host import netlink

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
UDIAG_SHOW_NAME, UDIAG_SHOW_UID = 0x01, 0x40
UNIX_DIAG_NAME, UNIX_DIAG_UID = 0, 7
ALL = 0xFFFFFFFF
_REQUEST = struct.Struct("=BBHIIIII")
_MESSAGE_BYTES, _PIECE_BYTES, _WITHIN_S = 16, 1 << 16, 5.0


def hold(name: str) -> socket.socket | None:
    """Hold a name; None where another process has it.  Raises OSError, HostError."""
    try:
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        raise HostError(
            "This process may not have as many open files as there are VIPs; raise the limit "
            "(ulimit -Hn, or LimitNOFILE= in the unit)."
        ) from error
    try:
        lock.bind(f"\0{name}")
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return lock


def hold_first(name: str) -> socket.socket | None:
    """Hold a name that nobody has, and no dsrlb beside a foreign user either; else None."""
    return _hold_as(name, name)


def hold_beside(name: str) -> socket.socket | None:
    """Hold a name that a foreign user has; None where nobody has it, or where a dsrlb has, or may have.

    It is held by a second name that nobody can guess.
    """
    return _hold_as(f"{name}/{token_hex(8)}", name)


def _hold_as(spelt: str, name: str) -> socket.socket | None:
    """Hold it as it is spelt, and only then look for others, so that of two at once none misses the other."""
    lock = hold(spelt)
    if lock is None:
        return None
    others = {one: uid for one, uid in owners().items() if one != spelt and f"{one}/".startswith(f"{name}/")}
    if all(map(is_foreign, others.values())) and (spelt == name or name in others):
        return lock
    lock.close()
    return None


def is_foreign(uid: int) -> bool:
    """Return whether a user is neither root nor this process's own."""
    return uid not in (0, os.geteuid())


def owners() -> dict[str, int]:
    """Return the names in this network namespace, each with its user; none where the kernel cannot tell."""
    with suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_WITHIN_S)
        show = _REQUEST.pack(socket.AF_UNIX, 0, 0, ALL, 0, UDIAG_SHOW_NAME | UDIAG_SHOW_UID, ALL, ALL)
        flags = netlink.NLM_F_REQUEST | netlink.NLM_F_DUMP
        kernel.sendto(netlink.message(SOCK_DIAG_BY_FAMILY, flags, show), (0, 0))
        return dict(_named(kernel))
    return {}


def _named(kernel: socket.socket) -> Iterator[tuple[str, int]]:
    """Yield abstract names and their users out of the messages of a dump, up to its end."""
    while True:
        for kind, _flags, body in netlink.messages(kernel.recv(_PIECE_BYTES)):
            if kind in (netlink.NLMSG_ERROR, netlink.NLMSG_DONE):
                return
            about = dict(netlink.attributes(body, _MESSAGE_BYTES))
            name, uid = about.get(UNIX_DIAG_NAME, b""), about.get(UNIX_DIAG_UID)
            if name[:1] == b"\0" and uid is not None:
                yield name[1:].decode("latin-1"), int.from_bytes(uid, sys.byteorder)
