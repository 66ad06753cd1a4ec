"""Telling systemd how we are doing: the sd_notify protocol in a few lines."""

from __future__ import annotations

import contextlib
import os
import socket

READY = "READY=1"
RELOADING = "RELOADING=1"  # with MONOTONIC_USEC, so that systemd can tell one reload from another
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


def notify(state: str) -> bool:
    """Send a state to the service manager; False when nobody asked for it or nobody listens.

    ``state`` is lines of ``NAME=value``.  *Source*: sd_notify(3): a datagram to the socket named by
    NOTIFY_SOCKET, where a leading ``@`` stands for the zero byte of the abstract namespace.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(state.encode(), address)
        return True
    return False


def watchdog_every_s() -> float | None:
    """Return how often the service manager is to hear that we are alive; None when it does not ask.

    *Source*: sd_watchdog_enabled(3): WATCHDOG_USEC is the time after which it gives us up, half of it is
    advised; WATCHDOG_PID, if there, says whom it means.
    """
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000
