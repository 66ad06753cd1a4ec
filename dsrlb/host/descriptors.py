"""Open files of this process: waiting for them, however many there are; having as many as the host allows."""

from __future__ import annotations

import math
import resource
import select
import socket
from collections.abc import Iterable


def readable(sockets: Iterable[socket.socket], within_s: float | None) -> list[socket.socket]:
    """Return which sockets have something to read, once one has, or within so many seconds (None: ever).

    Not by select(2), which has no room for descriptors from 1024 on.
    """
    poller, by_fd = select.poll(), {one.fileno(): one for one in sockets}
    for fd in by_fd:
        poller.register(fd, select.POLLIN)
    ready = poller.poll(None if within_s is None else math.ceil(1000 * max(0.0, within_s)))
    return [by_fd[fd] for fd, _ in ready]


def allow_most() -> None:
    """Let this process have as many open files as it may: each VIP takes one.

    Usual limits are 1024 for programs that use select(2), and half a million for those that do not.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
