"""The packet engine beside the program: what the program leaves, by the records that the program made.

It sees two kinds of frames: those that the program handed over, and those that it left to the host, where
the host's business may be dsrlb's too (errors about wrapped packets, others who claim a VIP).  On them it
runs the same ``datapath.decide`` as the packet engine does, with a state whose flows, templates and owners of
datagrams are read from the program's maps.  It writes none of them: a packet that comes here with no record
gets none, as where the table is full.

What it remembers itself: pieces that overtook their first one, until that is on record in the map; what
routers said of the ways to servers, which the control path's side writes into the map of targets.

How the counters add up
-----------------------
The program counts every frame once, and so does this; together each frame counts once if what the program
passed is not counted again.  So a frame that is left to the host here too is taken out of this count, and one
that was left to the host there, but is dsrlb's here, out of that one (by counting it once less here)::

    program              here                            together
    handed_over     1    forwarded (in pieces)  1        both: that it was handed over, what became of it
    not_vip         1    tunnel_error 1, not_vip -1      tunnel_error
    vip_conflict    1    vip_conflict           0        vip_conflict

``settle`` adds the counts to the program's own after each batch of frames: with the process nothing is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from dsrlb.datapath import decide
from dsrlb.engines.xdp.credits import credit
from dsrlb.engines.xdp.handshakes import Beside as HandshakesBeside
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.recall import Datagrams, Flows, Templates
from dsrlb.errors import DsrlbError
from dsrlb.model import PASS_REASONS, Action, Reason
from dsrlb.state import Path, State, Verdict, expire, forget_others
from dsrlb.table import ForwardingTable
from dsrlb.wire.destination import destination
from dsrlb.wire.offload import Offload

_TUNNEL_REASONS = frozenset((Reason.TUNNEL_ERROR, Reason.TUNNEL_ERROR_TOLD, Reason.NO_DECAPSULATION))
_HELD = Reason.FRAGMENT_HELD
Learn = Callable[[Mapping[bytes, Path]], None]

log = logging.getLogger("dsrlb")


class Companion:
    """Verdicts on frames that the program left; ``state.released`` has what else is to be sent.

    ``learn`` is told what is known of the ways to servers, whenever that changes.
    """

    def __init__(self, tables: Tables, learn: Learn = lambda paths: None) -> None:
        self._tables = tables
        self._flows, self._datagrams = Flows(tables), Datagrams(tables)
        self._replies = Datagrams(tables, "reply_fragments")
        self.state = State(
            flows=self._flows,
            templates=Templates(tables),
            fragments=self._datagrams,
            reply_fragments=self._replies,
            handshakes=HandshakesBeside(tables),
        )
        self.program_on: frozenset[int] = frozenset()  # interfaces where the program has counted already
        self._learn, self._learned = learn, dict(self.state.paths)

    def process(
        self,
        frame: bytes,
        ifindex: int,
        table: ForwardingTable,
        now_s: int,
        offload: Offload | None = None,
    ) -> Verdict:
        """Return the verdict on a frame."""
        self._flows.table = table
        verdict = decide(frame, ifindex, table, self.state, now_s, offload)
        if ifindex in self.program_on:
            self._count_once(verdict[1], frame, table)
        if verdict[1] in _TUNNEL_REASONS:
            self._tell_paths()
        return verdict

    @property
    def holds(self) -> bool:
        """Whether pieces wait for a first one that may come at any time."""
        return self._datagrams.held_bytes + self._replies.held_bytes > 0

    def late(self, table: ForwardingTable, now_s: int) -> list[Verdict]:
        """Return the verdicts on held pieces whose first piece is on record by now."""
        self._flows.table = table
        verdicts: list[Verdict] = []
        for arrival in [*self._datagrams.due(now_s), *self._replies.due(now_s)]:
            self.state.reasons[_HELD] -= 1
            frame, ifindex, _, _, offload = arrival
            verdict = decide(frame, ifindex, table, self.state, now_s, offload)
            if (
                verdict[1] is not _HELD and verdict[0] is not Action.PASS
            ):  # else a server's: waits on, or is its own
                verdicts.append(verdict)
            verdicts += self.state.released
            self.state.released.clear()
        return verdicts

    def tidy(self, table: ForwardingTable, now_s: int) -> None:
        """Forget what is over; call once a second."""
        expire(self.state, now_s)
        counts = self.state.backends.items()
        known = {names: count for names, count in counts if names[0] in self._tables.allocation.services}
        forget_others(self.state, table)
        self.state.backends.update(known)  # counted for as long as the program counts
        self._tell_paths()

    def settle(self) -> None:
        """Hand what has been counted over to the program's counters, which outlive the process."""
        credit(self.state, self._tables)

    def _count_once(self, reason: Reason, frame: bytes, table: ForwardingTable) -> None:
        if reason in PASS_REASONS:
            self.state.reasons[reason] -= 1
        elif reason in _TUNNEL_REASONS or (
            reason is Reason.BAD_CHECKSUM and destination(frame) in table.sources
        ):
            self.state.reasons[Reason.NOT_VIP] -= 1

    def _tell_paths(self) -> None:
        paths = dict(self.state.paths)
        if paths == self._learned:
            return
        try:
            self._learn(paths)
        except DsrlbError as error:  # tried again at the next occasion
            log.warning("what routers said of the ways to servers could not be written: %s", error)
        else:
            self._learned = paths
