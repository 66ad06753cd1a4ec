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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from dsrlb.datapath import decide
from dsrlb.engines import records
from dsrlb.engines.at_rest import AtRest
from dsrlb.engines.base import Answer, Counters, FlowSeen, Hears, counters_of
from dsrlb.engines.handover import check, forget, here, leave, take_over
from dsrlb.engines.sockets import Sockets
from dsrlb.engines.tap import Decide, Known, Tap, TapTracer, unknown
from dsrlb.engines.tracing import Tracer
from dsrlb.flows import DEFAULT_MAX_FLOWS, FlowTable
from dsrlb.foresight.foretold import Scene
from dsrlb.foresight.overlay import overlay
from dsrlb.frameio.af_packet import PacketSocket
from dsrlb.frameio.segments import completed
from dsrlb.frameio.sendmmsg import Sent
from dsrlb.frameio.vnet import NO_VNET, Frame, moved, offload_of
from dsrlb.host.links import Link
from dsrlb.model import Action, Reason
from dsrlb.sampling import Handshakes
from dsrlb.shortcut import forward_known
from dsrlb.standing import Names
from dsrlb.state import State, Verdict, expire, forget_others
from dsrlb.table import EMPTY, ForwardingTable, find_service

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

log = logging.getLogger("dsrlb")


class PacketEngine:
    """Forwards until stopped, with all that it remembers in this process."""

    name = "packet"
    outlives = False
    counts_in = ""
    known: Known = staticmethod(forward_known)
    decide: Decide = staticmethod(decide)

    def __init__(
        self,
        links: Sequence[Link],
        vips: Sequence[bytes],
        hears: Hears,
        max_flows: int = DEFAULT_MAX_FLOWS,
        left_at: Path | None = None,
    ) -> None:
        """``left_at``: where the process before left its records, and this one will; None: nowhere."""
        self.state, self.table = State(flows=FlowTable(max_flows)), EMPTY
        self.tap: Tap | None = None  # who hears decisions, while somebody traces
        self._left_at = left_at
        if left_at is not None and (taken := take_over(left_at, self._restored)) is not None:
            self.state, self.table = taken
            log.info("took over %d flows that the process before left in %s", len(self.state.flows), left_at)
        self._tidied = EMPTY.edition  # of the table whose services and backends are the only ones remembered
        self._hears = hears
        self._sockets = Sockets(links, vips)
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._guarded_run, name="packet-engine", daemon=True)
        self.at_rest = AtRest(self._thread, lambda: self._wake(_LOOK))

    def counters(self) -> Counters:
        """Return what has been counted."""
        return counters_of(self.state)

    def handshakes(self) -> Mapping[Names, Handshakes]:
        """Return what was seen of handshakes, where services have them looked at."""
        return self.state.handshakes.seen(time.monotonic_ns() // 1000)

    @property
    def max_flows(self) -> int:
        """How many flows can be on record."""
        return self.state.flows.max_flows

    def flows(self) -> Iterator[FlowSeen]:
        """Yield the flows on record, a few at a time; what comes or goes meanwhile may be missed."""
        table = self.table
        for key, flow in self.state.flows:
            service = find_service(table, key[16:32], key[34:36], key[36])
            state, seen_s = flow.state, flow.seen_s
            ends_s = seen_s + flow.timeouts_s[state]
            yield FlowSeen(key, service.key if service else None, flow.backend, state, ends_s)

    def ask(self, question: Callable[[Scene], Answer]) -> Answer:
        """Return the answer to a question about what would come of frames now; it changes nothing."""
        return self.at_rest.call(
            lambda: question(Scene(self.table, int(time.monotonic()), lambda: overlay(self.state)))
        )

    def tracer(self) -> Tracer:
        """Return what tells decisions."""
        return TapTracer(self)

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

    def check(self, table: ForwardingTable) -> None:
        """Take any table."""

    def install(self, table: ForwardingTable) -> None:
        """Use another table from the next batch on."""
        if (table.sources, table.servers) != (self.table.sources, self.table.servers):
            self._sockets.hear(table.sources, table.servers)  # may fail: then the next look tries again
        self.table = table

    def tend(self) -> None:
        """Do nothing: the engine's own thread does it."""

    def start(self) -> None:
        """Begin to forward."""
        self._thread.start()
        if self._left_at is not None:
            forget(self._left_at)

    def stop(self) -> None:
        """Forward no more; the counters are final then."""
        if self._thread.is_alive():
            self._wake(_STOP)
            self._thread.join()

    def hand_on(self) -> None:
        """Leave the records of flows for the next start."""
        if self._left_at is not None:
            now_s = int(time.monotonic())
            leave(self._left_at, lambda: records.pack(self.state, self.table, now_s, here()))

    def _restored(self, packed: bytes) -> tuple[State, ForwardingTable]:
        """Return a state and the table that was in use, from what was left."""
        left, now_s = records.unpack(packed), int(time.monotonic())
        check(left.framed, now_s)
        state = State(flows=FlowTable(self.max_flows))
        return state, records.restore(left, state, now_s)

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
            self._hears.failure(error)

    def _run(self) -> None:
        poller, by_fd = self._poller()
        next_expiry = time.monotonic() + EXPIRE_EVERY_S
        while True:
            for fd, _ in poller.poll(self.wait_ms()):
                if fd != self._wake_read:
                    self._forward_batch(*by_fd[fd])
                elif _STOP in os.read(fd, 256):
                    return self._count_ring_drops()
                else:
                    self.at_rest.run()
                    poller, by_fd = self._poller()
                    break
            now = time.monotonic()
            if late := self.late(int(now)):
                self._send(late)
                if self.tap is not None:
                    self.tap.hear_late(late)
            if now >= next_expiry:
                next_expiry = now + EXPIRE_EVERY_S
                self._count_ring_drops()
                if self._sockets.retire_lost():
                    poller, by_fd = self._poller()
                self.tidy(int(now))

    def _poller(self) -> tuple[select.poll, dict[int, tuple[int, PacketSocket]]]:
        """Return what waits for frames on every source, and the sources by descriptor."""
        poller, by_fd = select.poll(), self._sockets.sources_by_fd()
        for fd in (self._wake_read, *by_fd):
            poller.register(fd, select.POLLIN)
        return poller, by_fd

    def wait_ms(self) -> float:
        """Return how long to wait for a frame before ``late`` is asked again."""
        return 1000 * EXPIRE_EVERY_S

    def late(self, now_s: int) -> Sequence[Verdict]:
        """Return what is to be sent though no frame has come."""
        return ()

    def tidy(self, now_s: int) -> None:
        """Forget what is over, once a second, and what the table of now has not: memory stays bounded."""
        expire(self.state, now_s)
        table = self.table
        if table.edition is not self._tidied and forget_others(self.state, table):
            self._tidied = table.edition

    def _forward_batch(self, ifindex: int, source: PacketSocket) -> None:
        """Process the frames that wait on one socket and send what comes of them."""
        state, table, known, decide = self.state, self.table, self.known, self.decide
        if self.tap is not None:
            known, decide = unknown, self.tap.around(known, decide)
        now_ns = time.monotonic_ns()
        now_s, state.clock_us = now_ns // 1_000_000_000, now_ns // 1000
        released = state.released
        queues: defaultdict[int, list[Frame]] = defaultdict(list)  # by the interface to leave by
        frames: Iterable[Frame] = source.receive(BATCH_FRAMES)
        if table.wrapped:
            frames = completed(frames, table.wrapped)
        for vnet, frame in frames:
            offload = None if vnet is NO_VNET else offload_of(vnet)
            short = known(frame, ifindex, table, state, now_s, offload)
            _, reason, out_ifindex, out = short or decide(frame, ifindex, table, state, now_s, offload)
            if out:  # there is something to send
                if vnet is not NO_VNET:
                    vnet = NO_VNET if reason in _ANSWERS else moved(vnet, frame, out)
                queues[out_ifindex].append((vnet, out))
            elif reason is _VIP_CONFLICT:
                self._hears.conflict(frame, ifindex)
            elif reason is _REFUSAL:
                self._hears.refusal(frame)
            if released:
                _queue(released, queues)
                released.clear()
        self._send_queues(queues)

    def _send(self, verdicts: Iterable[Verdict]) -> None:
        queues: defaultdict[int, list[Frame]] = defaultdict(list)
        _queue(verdicts, queues)
        self._send_queues(queues)

    def _send_queues(self, queues: Mapping[int, list[Frame]]) -> None:
        ways = self._sockets.ways
        for out_ifindex, waiting in queues.items():
            way = ways.get(out_ifindex)  # None: the interface was deleted
            self._count_failures(way.send_all(waiting) if way else Sent(0, 0, len(waiting)))

    def _count_failures(self, outcome: Sent) -> None:
        self.state.reasons[Reason.SEND_TOO_BIG] += outcome.too_big
        self.state.reasons[Reason.SEND_FAILED] += outcome.failed

    def _count_ring_drops(self) -> None:
        # Cumulative at the sources, so set, not added.
        self.state.reasons[Reason.RECEIVE_RING_FULL] = self._sockets.drops()


def _queue(verdicts: Iterable[Verdict], queues: defaultdict[int, list[Frame]]) -> None:
    """Put pieces that are to be sent into the queues of their interfaces; pieces carry no offload."""
    for action, _, out_ifindex, piece in verdicts:
        if action >= _TX:
            queues[out_ifindex].append((NO_VNET, piece))
