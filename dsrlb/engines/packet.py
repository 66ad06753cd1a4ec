"""The packet engine: frames from AF_PACKET sockets through the data path and out again.

One thread waits for frames of all interfaces, takes each of a batch the short way or the long one as
``datapath.process`` does, and sends what comes of it in one go.  ``install`` swaps the forwarding table
between two batches.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from dsrlb.datapath import decide
from dsrlb.engines.sockets import Sockets
from dsrlb.frameio.af_packet import PacketSocket
from dsrlb.frameio.segments import completed
from dsrlb.frameio.sendmmsg import Sent
from dsrlb.frameio.vnet import NO_VNET, Frame, moved, offload_of
from dsrlb.host.links import Link
from dsrlb.model import Action, Reason
from dsrlb.shortcut import forward_known
from dsrlb.state import State, expire, forget_others
from dsrlb.table import EMPTY, ForwardingTable

BATCH_FRAMES = 256
EXPIRE_EVERY_S = 1.0
_TX, _VIP_CONFLICT = Action.TX, Reason.VIP_CONFLICT  # an enum's attribute costs 80 ns a frame
_REFUSAL = Reason.NO_DECAPSULATION
# Frames made by the data path itself, complete with their checksums.
_ANSWERS = frozenset(
    (
        Reason.ECHO_REPLY,
        Reason.ARP_REPLY,
        Reason.ND_REPLY,
        Reason.TOO_BIG_ANSWERED,
        Reason.TUNNEL_ERROR_TOLD,
        Reason.TTL_EXCEEDED,
        Reason.SNAT_EXHAUSTED,
        Reason.REFUSED,
    )
)
_STOP, _LOOK = b"s", b"l"  # what the engine's thread is woken for

log = logging.getLogger(__name__)


class PacketEngine:
    """Forwards until stopped.

    ``on_conflict(frame, ifindex)`` hears of others who claim a VIP, ``on_failure(error)`` of what ended the
    engine's thread, which nothing should, ``on_refusal(frame)`` of servers that do not take what is sent to
    them; all of them on that thread.
    """

    def __init__(
        self,
        links: Sequence[Link],
        vips: Sequence[bytes],
        on_conflict: Callable[[bytes, int], None],
        on_failure: Callable[[Exception], None],
        on_refusal: Callable[[bytes], None],
    ) -> None:
        self.state = State()
        self.table = EMPTY
        self._tidied = EMPTY.edition  # of the table whose services and backends are the only ones remembered
        self._on_conflict, self._on_refusal, self._on_failure = on_conflict, on_refusal, on_failure
        self._sockets = Sockets(links, vips)
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._guarded_run, name="packet-engine", daemon=True)

    def add_way_out(self, link: Link, *, hears: bool = False) -> None:
        """Make an interface usable for sending; and ``hears``, for errors about what was sent."""
        if self._sockets.add_way_out(link, hears=hears):
            self._wake(_LOOK)

    def widen(self, links: Sequence[Link], vips: Sequence[bytes]) -> None:
        """Take frames of more VIPs, on more interfaces.  ConfigError or HostError: nothing has changed."""
        self._sockets.widen(links, vips)
        self._wake(_LOOK)

    def narrow(self, links: Sequence[Link], vips: Sequence[bytes], ways: Iterable[int]) -> None:
        """Take frames of these VIPs on these interfaces only, and send by no other ways (ifindex)."""
        self._sockets.narrow(links, vips, ways)
        self._wake(_LOOK)

    def install(self, table: ForwardingTable) -> None:
        """Use another table from the next batch on."""
        if (table.sources, table.servers) != (self.table.sources, self.table.servers):
            self._sockets.hear(table.sources, table.servers)  # may fail: then the next look tries again
        self.table = table

    def start(self) -> None:
        """Begin to forward."""
        self._thread.start()

    def stop(self) -> None:
        """Forward no more; the counters are final then."""
        if self._thread.is_alive():
            self._wake(_STOP)
            self._thread.join()

    def close(self) -> None:
        """Stop, and release every socket."""
        self.stop()
        self._sockets.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _wake(self, why: bytes) -> None:
        os.write(self._wake_write, why)

    def _guarded_run(self) -> None:
        try:
            self._run()
        except Exception as error:
            self._on_failure(error)

    def _run(self) -> None:
        poller, by_fd = self._poller()
        next_expiry = time.monotonic() + EXPIRE_EVERY_S
        while True:
            for fd, _ in poller.poll(1000 * EXPIRE_EVERY_S):
                if fd != self._wake_read:
                    self._forward_batch(*by_fd[fd])
                elif _STOP in os.read(fd, 256):
                    return self._count_ring_drops()
                else:
                    poller, by_fd = self._poller()
                    break
            now = time.monotonic()
            if now >= next_expiry:
                next_expiry = now + EXPIRE_EVERY_S
                self._count_ring_drops()
                if self._sockets.retire_lost():
                    poller, by_fd = self._poller()
                expire(self.state, int(now))
                self._forget_others()

    def _poller(self) -> tuple[select.poll, dict[int, tuple[int, PacketSocket]]]:
        """Return what waits for frames on every source, and the sources by descriptor."""
        poller, by_fd = select.poll(), self._sockets.sources_by_fd()
        for fd in (self._wake_read, *by_fd):
            poller.register(fd, select.POLLIN)
        return poller, by_fd

    def _forget_others(self) -> None:
        """Keep memory bounded by the table of now: the control path may have taken services out of it."""
        table = self.table
        if table.edition is not self._tidied and forget_others(self.state, table):
            self._tidied = table.edition

    def _forward_batch(self, ifindex: int, source: PacketSocket) -> None:
        """Process the frames that wait on one socket and send what comes of them."""
        state, table, ways = self.state, self.table, self._sockets.ways
        now_s = int(time.monotonic())
        released = state.released
        queues: defaultdict[int, list[Frame]] = defaultdict(list)  # by the interface to leave by
        frames: Iterable[Frame] = source.receive(BATCH_FRAMES)
        if table.wrapped:
            frames = completed(frames, table.wrapped)
        for vnet, frame in frames:
            offload = None if vnet is NO_VNET else offload_of(vnet)
            short = forward_known(frame, ifindex, table, state, now_s, offload)
            _, reason, out_ifindex, out = short or decide(frame, ifindex, table, state, now_s, offload)
            if out:  # there is something to send
                if vnet is not NO_VNET:
                    vnet = NO_VNET if reason in _ANSWERS else moved(vnet, frame, out)
                queues[out_ifindex].append((vnet, out))
            elif reason is _VIP_CONFLICT:
                self._on_conflict(frame, ifindex)
            elif reason is _REFUSAL:
                self._on_refusal(frame)
            if released:
                for action, _, out_ifindex, piece in released:
                    if action >= _TX:
                        queues[out_ifindex].append((NO_VNET, piece))  # pieces carry no offload
                released.clear()
        for out_ifindex, waiting in queues.items():
            way = ways.get(out_ifindex)  # None: the interface was deleted
            self._count_failures(way.send_all(waiting) if way else Sent(0, 0, len(waiting)))

    def _count_failures(self, outcome: Sent) -> None:
        self.state.reasons[Reason.SEND_TOO_BIG] += outcome.too_big
        self.state.reasons[Reason.SEND_FAILED] += outcome.failed

    def _count_ring_drops(self) -> None:
        # Cumulative at the sources, so set, not added.
        self.state.reasons[Reason.RECEIVE_RING_FULL] = self._sockets.drops()
