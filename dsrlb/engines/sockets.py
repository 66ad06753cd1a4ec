"""The sockets of the packet engine: what it hears on, what it sends by, and how both change while it runs.

::

    front   where clients' frames come in, and answers of inline servers:
            a packet ring, filtered for the VIPs and the servers                      also a way out
    ear     where errors about wrapped packets come in: a small ring, so filtered     also a way out
    way     where frames only leave: a socket without a ring

The control path's thread changes them (``widen`` before another table is installed, ``narrow`` after it), the
engine's thread uses them.  So what is not needed any more is *retired*, and closed on the engine's thread
between two batches, where nobody uses it and nobody polls it any more: by ``sources_by_fd``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from dsrlb.frameio.af_packet import PacketSocket
from dsrlb.frameio.filter import Interest
from dsrlb.frameio.way_out import WayOut
from dsrlb.host.links import Link
from dsrlb.model import V4_MAPPED

EAR_SLOTS = 256


class Sockets:
    """``ways`` by ifindex are to send by, ``sources`` those of them that hear."""

    def __init__(self, links: Sequence[Link], vips: Sequence[bytes]) -> None:
        """Open the front.  Raises ConfigError or HostError, with nothing left open."""
        self.sources: dict[int, PacketSocket] = {}
        self.ways: dict[int, PacketSocket | WayOut] = {}
        self._vips: tuple[bytes, ...] = ()
        self._errors_to: tuple[bytes, ...] = ()
        self._servers: tuple[bytes, ...] = ()
        self._front: frozenset[int] = frozenset()
        self._changing = threading.Lock()  # held to change these, not to use them
        self._retired: list[PacketSocket | WayOut] = []
        self._drops_before = 0  # of sources that are retired
        self.widen(links, vips)

    def widen(self, links: Sequence[Link], vips: Sequence[bytes]) -> None:
        """Hear frames of more VIPs, on more interfaces.

        Raises ConfigError or HostError, with nothing changed.
        """
        wider = tuple(dict.fromkeys((*self._vips, *vips)))
        with ExitStack() as undo:
            opened = {
                link.ifindex: self._open_front(link, wider, undo)
                for link in links
                if link.ifindex not in self._front
            }
            for ifindex in self._front:
                self._join(self.sources[ifindex], _v6(wider) - _v6(self._vips), undo)
            undo.pop_all()
        with self._changing:
            self._vips, self._front = wider, self._front | opened.keys()
            for ifindex, source in opened.items():
                self._retire(ifindex)
                self.sources[ifindex] = self.ways[ifindex] = source
            self._set_interests()

    def narrow(self, links: Iterable[Link], vips: Sequence[bytes], ways: Iterable[int]) -> None:
        """Hear frames of these VIPs on these interfaces only; keep no other ways than these (ifindex)."""
        front = frozenset(link.ifindex for link in links)
        with self._changing:
            for ifindex in self.ways.keys() - front - set(ways):
                self._retire(ifindex)
            for ifindex, source in self.sources.items():
                for vip in _v6(self._vips if ifindex in self._front else ()):
                    if ifindex not in front or vip not in vips:
                        source.leave_solicited_node(vip)
            self._vips, self._front = tuple(vips), front
            self._set_interests()

    def add_way_out(self, link: Link, *, hears: bool = False) -> bool:
        """Make an interface usable for sending; and ``hears``, for errors about what was sent.

        Returns whether there is another source now.  Raises ConfigError or HostError.
        """
        with self._changing:
            before = self.ways.get(link.ifindex)
            if before is None and not hears:
                self.ways[link.ifindex] = WayOut(link.name)
            elif hears and (before is None or isinstance(before, WayOut)):
                ear = PacketSocket(link.name, self._interest(link.ifindex), slots=EAR_SLOTS)
                self._retire(link.ifindex)
                self.ways[link.ifindex] = self.sources[link.ifindex] = ear
                return True
        return False

    def hear(self, errors_to: Iterable[bytes], servers: Iterable[bytes]) -> None:
        """Hear errors that are sent to these addresses of this host, and what these servers answer."""
        with self._changing:
            self._errors_to, self._servers = tuple(sorted(errors_to)), tuple(sorted(servers))
            self._set_interests()

    def sources_by_fd(self) -> dict[int, tuple[int, PacketSocket]]:
        """Return the sources, with their ifindex, by what is to be polled; what is retired is closed."""
        with self._changing:
            self._close_retired()
            return {source.fileno(): (ifindex, source) for ifindex, source in self.sources.items()}

    def retire_lost(self) -> bool:
        """Retire the ways of deleted interfaces; return whether something waits to be closed."""
        with self._changing:
            lost = [i for i, way in self.ways.items() if i not in self._front and not way.present()]
            for ifindex in lost:
                self._retire(ifindex)
            return bool(self._retired)

    def drops(self) -> int:
        """Return how many frames were lost since the start because a ring was full."""
        with self._changing:
            return self._drops_before + sum(source.drops() for source in self.sources.values())

    def close(self) -> None:
        """Close everything; the engine's thread has ended."""
        for ifindex in list(self.ways):
            self._retire(ifindex)
        self._close_retired()

    def _open_front(self, link: Link, vips: Sequence[bytes], undo: ExitStack) -> PacketSocket:
        source = PacketSocket(link.name, Interest(tuple(vips), self._errors_to, self._servers))
        undo.callback(source.close)
        self._join(source, _v6(vips), undo)
        return source

    @staticmethod
    def _join(source: PacketSocket, vips: Iterable[bytes], undo: ExitStack) -> None:
        for vip in vips:
            undo.callback(source.leave_solicited_node, vip)
            source.join_solicited_node(vip)

    def _interest(self, ifindex: int) -> Interest:
        is_front = ifindex in self._front
        vips, servers = (self._vips, self._servers) if is_front else ((), ())
        return Interest(vips, self._errors_to, servers)

    def _set_interests(self) -> None:
        for ifindex, source in self.sources.items():
            source.set_interest(self._interest(ifindex))

    def _retire(self, ifindex: int) -> None:
        """Take an interface's socket, if there is one, out of use; it is closed later."""
        source, way = self.sources.pop(ifindex, None), self.ways.pop(ifindex, None)
        if source is not None:
            self._drops_before += source.drops()
        if way is not None:
            self._retired.append(way)

    def _close_retired(self) -> None:
        while self._retired:
            self._retired.pop().close()


def _v6(vips: Iterable[bytes]) -> set[bytes]:
    return {vip for vip in vips if not vip.startswith(V4_MAPPED)}
