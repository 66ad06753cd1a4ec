"""Hearing from the kernel that neighbours, links, routes or addresses changed.

A thread of its own puts small events on the control loop's queue.  An event says only that a look is
worth while; what is true is then read.  So events may be merged, and one lost costs one look ("resync").
"""

from __future__ import annotations

import errno
import logging
import queue
import socket
import threading
import time
from collections.abc import Iterator

from dsrlb.host import netlink
from dsrlb.host.descriptors import readable

# ("neighbour",) | ("link",) | ("route",): routes or addresses | ("rule",): policy rules |
# ("resync",): look at everything
Event = tuple[object, ...]

# linux/rtnetlink.h: RTMGRP_* bits and RTM_* types
GROUP_LINK, GROUP_NEIGH, GROUP_IPV4_ADDR, GROUP_IPV4_ROUTE = 0x1, 0x4, 0x10, 0x40
GROUP_IPV6_ADDR, GROUP_IPV6_ROUTE = 0x100, 0x400
GROUP_IPV4_RULE, GROUP_IPV6_RULE = 0x80, 0x40000
GROUPS = GROUP_LINK | GROUP_NEIGH | GROUP_IPV4_ADDR | GROUP_IPV4_ROUTE | GROUP_IPV6_ADDR | GROUP_IPV6_ROUTE
GROUPS |= GROUP_IPV4_RULE | GROUP_IPV6_RULE
LINK_KINDS = (16, 17)  # RTM_NEWLINK, RTM_DELLINK
NEIGHBOUR_KINDS = (28, 29)  # RTM_NEWNEIGH, RTM_DELNEIGH
ROUTE_KINDS = (20, 21, 24, 25)  # RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE
RULE_KINDS = (32, 33)  # RTM_NEWRULE, RTM_DELRULE

MERGE_FOR_S = 0.02  # events of this span go out once each
RETRY_AFTER_S = 0.5
BUFFER_BYTES = 1 << 20

_log = logging.getLogger(__name__)


class Watch:
    """The listening thread, from construction until ``stop``."""

    def __init__(self, events: queue.SimpleQueue[Event]) -> None:
        """Subscribe at once, so that nothing is missed that changes after this.  Raises OSError."""
        self._events = events
        self._stop_in, self._stop_out = socket.socketpair()
        self._kernel: socket.socket | None = _subscribe()
        self._thread = threading.Thread(target=self._run, name="dsrlb-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it; harmless when repeated."""
        if self._thread.is_alive():
            self._stop_out.send(b".")
            self._thread.join()
        self._stop_in.close()
        self._stop_out.close()

    def _run(self) -> None:
        """Listen until told to stop; whatever goes wrong, subscribe again and ask for a full look."""
        while not self._stopped(0):
            try:
                if self._kernel is None:
                    self._kernel = _subscribe()
                    self._events.put(("resync",))
                self._listen(self._kernel)
            except Exception:  # a listener that ends in silence would leave the table stale for ever
                _log.warning("listening to the kernel failed; subscribing again", exc_info=True)
                self._unsubscribe()
                self._stopped(RETRY_AFTER_S)
        self._unsubscribe()

    def _listen(self, kernel: socket.socket) -> None:
        while True:
            ready = readable([kernel, self._stop_in], None)
            if self._stop_in in ready:
                return
            for event in _merged(kernel):
                self._events.put(event)

    def _stopped(self, timeout_s: float) -> bool:
        return bool(readable([self._stop_in], timeout_s))

    def _unsubscribe(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
        self._kernel = None


def _subscribe() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    kernel.bind((0, GROUPS))
    return kernel


def _merged(kernel: socket.socket) -> list[Event]:
    """Return the events of a short span, each once, at the place of its last occurrence."""
    latest: dict[Event, None] = {}
    until = time.monotonic() + MERGE_FOR_S
    while (left_s := until - time.monotonic()) > 0 and readable([kernel], left_s):
        for event in _received(kernel):
            latest.pop(event, None)
            latest[event] = None
    return list(latest)


def _received(kernel: socket.socket) -> Iterator[Event]:
    try:
        datagram = kernel.recv(1 << 16)
    except OSError as error:
        if error.errno != errno.ENOBUFS:  # that one says: messages were lost, the socket goes on
            raise
        yield ("resync",)
        return
    for kind, _flags, _body in netlink.messages(datagram):
        yield from events_of(kind)


def events_of(kind: int) -> Iterator[Event]:
    """Yield what a netlink message of a type means to dsrlb: one event, or none."""
    if kind in NEIGHBOUR_KINDS:
        yield ("neighbour",)
    elif kind in ROUTE_KINDS:
        yield ("route",)
    elif kind in RULE_KINDS:
        yield ("rule",)
    elif kind in LINK_KINDS:
        yield ("link",)
