"""The XDP engine: a program in the kernel forwards, this process keeps it company.

::

    ForwardingTable ──install──► Tables ──► maps ◄── program on each interface   (engine of the traffic)
                                              ▲            │ handed over, or the host's
                                              └─ reads ── Companion ◄── AF_PACKET sockets

The program and all it remembers outlive the process, unless they are to go with it.  A start finds what is
pinned: maps are used on, the program on the interfaces is replaced by this one's without a moment between.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path as FilePath

from dsrlb.engines.base import Answer, Counters, FlowSeen, Hears
from dsrlb.engines.choice import EngineChoice
from dsrlb.engines.handover import forget, here, leave
from dsrlb.engines.packet import PacketEngine
from dsrlb.engines.tap import unknown
from dsrlb.engines.xdp import handing, program, reading
from dsrlb.engines.xdp.attach import Attached
from dsrlb.engines.xdp.companion import Companion
from dsrlb.engines.xdp.handshakes import handshakes
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.layout import RECORDS_REFUSED, TEMPLATES_REFUSED
from dsrlb.engines.xdp.pinned import are_made
from dsrlb.engines.xdp.pins import Pins
from dsrlb.engines.xdp.plan import check_room
from dsrlb.engines.xdp.program import Loaded
from dsrlb.engines.xdp.recollection import recollected
from dsrlb.engines.xdp.settling import settle
from dsrlb.engines.xdp.sizes import DEFAULT_MAX_FLOWS, sizes_for
from dsrlb.engines.xdp.sweeping import Sweeper
from dsrlb.engines.xdp.traced import Traced
from dsrlb.engines.xdp.tracing import XdpTracer
from dsrlb.foresight.foretold import Scene
from dsrlb.host import bpf, bpf_maps
from dsrlb.host.links import Link
from dsrlb.model import Reason
from dsrlb.sampling import Handshakes
from dsrlb.standing import Names
from dsrlb.state import Path, Verdict
from dsrlb.table import EMPTY, ForwardingTable

BOOT_ID = FilePath("/proc/sys/kernel/random/boot_id")
WAIT_MS = 10  # for the first piece of a datagram whose later ones are held


class XdpEngine:
    """The program, its maps, its links and its companion."""

    name = "xdp"

    def __init__(self, choice: EngineChoice, keeps: bool, likely: ForwardingTable, hears: Hears) -> None:
        """Load the program; take over what an earlier process left of this instance.

        keeps: whether the program stays at work when this process stops.  likely: what maps are to hold.
        Raises HostError or ConfigError, with nothing changed.
        """
        self._keeps, self._table = keeps, EMPTY
        # Not where a packet engine leaves its own: each knows its own way of writing.
        self._left_at = choice.left_at.with_suffix(".maps") if choice.left_at is not None else None
        self._changing = threading.Lock()  # held to change maps
        self._is_started = False
        with ExitStack() as undo:
            self._pins = Pins(FilePath(choice.bpf_fs), choice.instance)
            undo.callback(self._pins.close)
            undo.callback(self._remove_pins)
            self._is_new = not are_made(self._pins.maps)
            if self._is_new:
                self._pins.remove_maps()
            sizes = sizes_for(likely, choice.max_flows or (DEFAULT_MAX_FLOWS if self._is_new else 1))
            left = handing.found(self._left_at, sizes) if self._is_new else None
            sizes = left.sizes if left is not None else sizes
            self._loaded = undo.enter_context(program.loaded(sizes, maps_at=self._pins.maps))
            program.set_setup(self._loaded, inserts_a_second=choice.max_new_flows or 0)
            self._tables = Tables(self._loaded)
            if not self._is_new or handing.filled(self._loaded, left, self._left_at):
                self._table = self._tables.adopt()
                check_room(self._tables.allocation, likely)
            self._attached = Attached(self._pins, choice.xdp_mode)
            undo.callback(self._attached.close)
            self._change_to(self._loaded)
            self._sweeper = Sweeper(self._loaded)
            self._companion = Companion(self._tables, self._learn)
            self._give_up_held()
            self._beside = Beside(self._companion, hears)
            undo.callback(self._beside.close)
            self._undo = undo.pop_all()

    def _put(self, tells: Traced | None = None) -> None:
        """Put the program that tells its decisions into this one's place; without it this one back."""
        of = self._loaded if tells is None else tells
        if of.entry != self._entry:
            self._change_to(of)

    def _change_to(self, of: Loaded | Traced) -> None:
        """Put a program in the place of one that is on interfaces, then let go of the other's steps."""
        number = bpf_maps.number_of(of.maps["steps"])
        if not self._pins.step_map(number).exists():
            bpf.pin(of.maps["steps"].fd, self._pins.step_map(number))
        self._entry = of.entry
        self._attached.replace(of.entry)
        settle()
        self._pins.keep_only(number)

    def _give_up_held(self) -> None:
        """Count pieces that a process held which was killed for what they are now."""
        held = reading.reasons(self._loaded)[Reason.FRAGMENT_HELD]
        self._companion.state.reasons[Reason.FRAGMENT_HELD] -= held
        self._companion.state.reasons[Reason.FRAGMENT_EXPIRED] += held
        self._companion.settle()

    # ------------------------------------------------------------------------- as every engine

    @property
    def table(self) -> ForwardingTable:
        """The table in use."""
        return self._table

    @property
    def outlives(self) -> bool:
        """Whether the program stays at work; a start that fails leaves things as it found them."""
        return self._keeps if self._is_started else not self._is_new

    @property
    def counts_in(self) -> str:
        """The maps, which outlive the process; their numbers are this boot's."""
        maps = self._loaded.maps["counts"], self._loaded.maps["reasons"]
        return " ".join([BOOT_ID.read_text().strip(), *(str(bpf_maps.number_of(one)) for one in maps)])

    def counters(self) -> Counters:
        """Return what the program and its companion have counted, since the maps were made."""
        counted = reading.reasons(self._loaded)
        refused = counted[RECORDS_REFUSED], counted[TEMPLATES_REFUSED]
        with self._changing:  # what a target has counted is not on its way to another place
            backends, ends = reading.counts(self._tables), dict(self._tables.before)
        return Counters(counted[: len(Reason)], backends, *refused, ends)

    def handshakes(self) -> Mapping[Names, Handshakes]:
        """Return what was seen of handshakes, where services have them looked at."""
        beside = self._companion.state.handshakes.tallies.copy()
        with self._changing:
            return handshakes(self._tables, beside, time.monotonic_ns() // 1000)

    @property
    def max_flows(self) -> int:
        """How many flows can be on record."""
        return len(self._tables.flows)

    def flows(self) -> Iterator[FlowSeen]:
        """Yield the flows on record, a few at a time; what comes or goes meanwhile may be missed."""
        for key, record in reading.flows(self._tables):
            yield FlowSeen(key, record.service, record.backend, record.state, record.until_s)

    def ask(self, question: Callable[[Scene], Answer]) -> Answer:
        """Return the answer to a question about what would come of frames now; it changes nothing."""
        return self._beside.at_rest.call(lambda: question(self._scene(int(time.monotonic()))))

    def _scene(self, now_s: int) -> Scene:
        tables, table, beside = self._tables, self._table, self._companion.state
        return Scene(table, now_s, lambda: recollected(tables, table, beside, now_s))

    def tracer(self) -> XdpTracer:
        """Return what tells decisions; loads a program for that.  HostError: what the kernel says."""
        return XdpTracer(self._tables, self._beside, self._put)

    def add_way_out(self, link: Link, *, hears: bool = False) -> None:
        """Make an interface usable for sending; and ``hears``, for errors about what was sent."""
        self._beside.add_way_out(link, hears=hears)
        self._let_out([link])

    def widen(self, links: Sequence[Link], vips: Sequence[bytes]) -> None:
        """Take frames of more VIPs, on more interfaces.  ConfigError or HostError: nothing has changed."""
        new = [link for link in links if link.ifindex not in self._attached.ifindexes]
        with ExitStack() as undo:
            for link in links:
                if link in new:
                    undo.callback(self._attached.detach, link.ifindex)
                self._attached.attach(link, self._entry)
            if len(self._attached.ifindexes) > 1:
                self._let_out(links)
            self._beside.widen(links, vips)
            undo.pop_all()
        self._companion.program_on = self._attached.ifindexes

    def _let_out(self, links: Sequence[Link]) -> None:
        for link in links:
            self._attached.let_out(link, self._entry)
        self._companion.program_on = self._attached.ifindexes

    def narrow(self, links: Sequence[Link], vips: Sequence[bytes], ways: Iterable[int]) -> None:
        """Take frames of these VIPs on these interfaces only, and send by no other ways (ifindex)."""
        ways = frozenset(ways)
        self._beside.narrow(links, vips, ways)
        for ifindex in self._attached.ifindexes - {link.ifindex for link in links} - ways:
            self._attached.detach(ifindex)
        self._companion.program_on = self._attached.ifindexes

    def check(self, table: ForwardingTable) -> None:
        """Raise HostError for a table that the maps are too small for; nothing is changed."""
        with self._changing:
            self._tables.check(table)

    def install(self, table: ForwardingTable) -> None:
        """Use another table from now on."""
        with self._changing:
            self._tables.install(table)
        self._beside.install(table)
        self._table = table

    def tend(self) -> None:
        """End records that are over, and forget what none refers to any more."""
        self._sweeper.run()
        with self._changing:
            self._tables.tidy()

    def start(self) -> None:
        """Let the companion begin; the program forwards since it was attached and has a table."""
        self._is_started = True
        self._beside.start()
        if self._left_at is not None:
            forget(self._left_at)

    def stop(self) -> None:
        """Take the program off, unless it is to stay at work; the companion ends."""
        self._put()  # somebody may trace
        if not self.outlives:
            for ifindex in self._attached.ifindexes:
                self._attached.detach(ifindex)
        self._beside.stop()
        self._companion.settle()

    def hand_on(self) -> None:
        """Leave what stands in the maps for the next start, unless they stay themselves."""
        if self._left_at is not None and not self.outlives:
            now_s = int(time.monotonic())
            leave(self._left_at, lambda: handing.pack(self._loaded, now_s, here()))

    def close(self) -> None:
        """Stop, and release everything that is not to stay; harmless when repeated."""
        self.stop()
        self._undo.close()

    def _remove_pins(self) -> None:
        if not self.outlives:
            self._pins.remove()

    def _learn(self, paths: Mapping[bytes, Path]) -> None:
        with self._changing:
            self._tables.install(
                self._tables.table, {server: path.mtu_bytes for server, path in paths.items()}
            )


class Beside(PacketEngine):
    """The packet engine's sockets and thread, at the service of the companion."""

    name = "companion"

    def __init__(self, companion: Companion, hears: Hears) -> None:
        super().__init__([], [], hears)
        self._companion, self.state = companion, companion.state
        self._ring_drops = 0
        self.known = unknown
        self.decide = lambda frame, ifindex, table, _, now_s, offload: companion.process(
            frame, ifindex, table, now_s, offload
        )

    def wait_ms(self) -> float:
        """Wait for a short time only while pieces are held."""
        return WAIT_MS if self._companion.holds else super().wait_ms()

    def late(self, now_s: int) -> list[Verdict]:
        """Return the pieces whose first one has come; the counts are settled in any case."""
        late = self._companion.late(self.table, now_s) if self._companion.holds else []
        self._companion.settle()
        return late

    def _count_ring_drops(self) -> None:
        before, self._ring_drops = self._ring_drops, self._sockets.drops()
        self.state.reasons[Reason.RECEIVE_RING_FULL] += self._ring_drops - before

    def tidy(self, now_s: int) -> None:
        """Forget what is over."""
        self._companion.tidy(self.table, now_s)
