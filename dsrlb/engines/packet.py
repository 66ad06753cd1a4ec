"""The packet engine: frames from AF_PACKET sockets through the data path and out again.

One thread waits for frames of all interfaces, runs ``datapath.process`` on each of a batch, and
sends what comes of it in one go.  ``install`` swaps the forwarding table between two batches.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from dsrlb.datapath import process
from dsrlb.frameio.af_packet import PacketSocket
from dsrlb.frameio.filter import Interest
from dsrlb.frameio.segments import completed
from dsrlb.frameio.sendmmsg import Sent
from dsrlb.frameio.vnet import NO_VNET, Frame, offload_of
from dsrlb.frameio.way_out import WayOut
from dsrlb.host.links import Link
from dsrlb.model import V4_MAPPED, Action, Reason
from dsrlb.state import State, expire
from dsrlb.table import EMPTY, ForwardingTable

BATCH_FRAMES = 256
EXPIRE_EVERY_S = 1.0
EAR_SLOTS = 256  # of the ring of an interface on which only errors are heard
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
        self._on_conflict, self._on_refusal, self._on_failure = on_conflict, on_refusal, on_failure
        self._vips = tuple(vips)
        self._front = frozenset(link.ifindex for link in links)  # where clients' frames come in
        self._sources: dict[int, PacketSocket] = {}
        self._ways: dict[int, PacketSocket | WayOut] = {}
        self._changing = threading.Lock()  # held to change these two, not to forward
        self._retired: list[WayOut] = []  # to be closed where nothing else sends
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._guarded_run, name="packet-engine", daemon=True)
        try:
            for link in links:
                self._ways[link.ifindex] = self._sources[link.ifindex] = self._open(link)
        except BaseException:
            self.close()
            raise

    def _open(self, link: Link) -> PacketSocket:
        source = PacketSocket(link.name, Interest(self._vips))
        for vip in self._vips:
            if not vip.startswith(V4_MAPPED):
                source.join_solicited_node(vip)
        return source

    def add_way_out(self, link: Link, *, hears: bool = False) -> None:
        """Make an interface usable for sending; and ``hears``, for errors about what was sent."""
        with self._changing:
            before = self._ways.get(link.ifindex)
            if before is None and not hears:
                self._ways[link.ifindex] = WayOut(link.name)
            elif hears and (before is None or isinstance(before, WayOut)):
                ear = PacketSocket(link.name, self._interest(link.ifindex), slots=EAR_SLOTS)
                self._ways[link.ifindex] = self._sources[link.ifindex] = ear
                if before is not None:
                    self._retired.append(before)
                os.write(self._wake_write, _LOOK)

    def _interest(self, ifindex: int) -> Interest:
        return Interest(self._vips if ifindex in self._front else (), tuple(sorted(self.table.sources)))

    def install(self, table: ForwardingTable) -> None:
        """Use another table from the next batch on."""
        before, self.table = self.table, table
        if table.sources != before.sources:
            with self._changing:
                for ifindex, source in self._sources.items():
                    source.set_interest(self._interest(ifindex))

    def start(self) -> None:
        """Begin to forward."""
        self._thread.start()

    def stop(self) -> None:
        """Forward no more; the counters are final then."""
        if self._thread.is_alive():
            os.write(self._wake_write, _STOP)
            self._thread.join()

    def close(self) -> None:
        """Stop, and release every socket."""
        self.stop()
        for way in self._ways.values():
            way.close()
        if self._ways:
            os.close(self._wake_read)
            os.close(self._wake_write)
        self._ways.clear()

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
                if self._close_lost_ways():
                    poller, by_fd = self._poller()
                expire(self.state, int(now))

    def _poller(self) -> tuple[select.poll, dict[int, tuple[int, PacketSocket]]]:
        """Return what waits for frames on every source, and the sources by descriptor."""
        poller = select.poll()
        with self._changing:
            by_fd = {source.fileno(): (ifindex, source) for ifindex, source in self._sources.items()}
        for fd in (self._wake_read, *by_fd):
            poller.register(fd, select.POLLIN)
        return poller, by_fd

    def _forward_batch(self, ifindex: int, source: PacketSocket) -> None:
        """Process the frames that wait on one socket and send what comes of them."""
        state, table, ways = self.state, self.table, self._ways
        now_s = int(time.monotonic())
        released = state.released
        queues: defaultdict[int, list[Frame]] = defaultdict(list)  # by the interface to leave by
        frames: Iterable[Frame] = source.receive(BATCH_FRAMES)
        if table.wrapped:
            frames = completed(frames, table.wrapped)
        for vnet, frame in frames:
            offload = None if vnet is NO_VNET else offload_of(vnet)
            action, reason, out_ifindex, out = process(frame, ifindex, table, state, now_s, offload)
            if action >= _TX:
                queues[out_ifindex].append((NO_VNET if reason in _ANSWERS else vnet, out))
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

    def _close_lost_ways(self) -> bool:
        """Give back the sockets of deleted interfaces; here, where nothing else sends.

        Returns whether one of them was heard.
        """
        with self._changing:
            while self._retired:
                self._retired.pop().close()
            lost = [i for i, way in self._ways.items() if i not in self._front and not way.present()]
            heard = [self._sources.pop(ifindex) for ifindex in lost if ifindex in self._sources]
            for ifindex in lost:
                self._ways.pop(ifindex).close()
        return bool(heard)

    def _count_ring_drops(self) -> None:
        # Cumulative at the source, so set, not added.
        with self._changing:
            drops = sum(source.drops() for source in self._sources.values())
        self.state.reasons[Reason.RECEIVE_RING_FULL] = drops
