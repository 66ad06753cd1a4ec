"""The two data paths side by side: each frame goes through both, and everything that they say is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import add

import packets as p
from parity.by_wire import WireRunner
from parity.ground import LEAST_BYTES, MOST_BYTES, Counters, Runner, forget_all, takes_context
from parity.memory import differences

from dsrlb.datapath import process
from dsrlb.engines.xdp import reading
from dsrlb.engines.xdp.companion import Companion
from dsrlb.engines.xdp.handshakes import handshakes
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.layout import RECORDS_REFUSED
from dsrlb.engines.xdp.program import Loaded, set_clock, set_setup
from dsrlb.flows import SWEEP_FLOWS, FlowTable
from dsrlb.host import bpf
from dsrlb.model import Action, Reason
from dsrlb.sampling import Handshakes
from dsrlb.standing import Names
from dsrlb.state import Path, State, Verdict, expire, forget_others
from dsrlb.table import EMPTY, ForwardingTable
from dsrlb.transition import carry
from dsrlb.wire import ipv6
from dsrlb.wire.ethernet import ETHERTYPE_IPV6

REFUSED_AT = len(Reason)  # behind the reasons
ABORTED = 0  # linux/bpf.h: XDP_ABORTED
_HELD = {Reason.FRAGMENT_HELD, Reason.FRAGMENT_TABLE_FULL}
Freed = tuple[int, bytes]  # action, frame


class Differ(AssertionError):
    """The two do not agree."""


@dataclass(frozen=True)
class Outcome:
    """What comes of one frame."""

    action: int
    out: bytes  # what is sent, or left to the host
    moved: dict[int, int]  # counters by Reason
    freed: list[Freed]  # pieces that go beside it

    def person(self) -> str:
        """Return it as a person reads it."""
        words = {RECORDS_REFUSED: "records_refused"}
        moved = [f"{words.get(one) or Reason(one).word} {change:+}" for one, change in self.moved.items()]
        name = Action(self.action).name if self.action != ABORTED else "ABORTED"
        freed = [f"\n    and {Action(action).name} {piece.hex()}" for action, piece in self.freed]
        return f"{name} ({', '.join(moved)}) {self.out.hex()}" + "".join(freed)


class Twins:
    """A loaded program and the specification, with one table, one clock and one past."""

    def __init__(
        self, loaded: Loaded, flows: Callable[[], FlowTable] = FlowTable, inserts_a_second: int = 0
    ) -> None:
        """``flows`` makes the specification's flow table."""
        self._loaded, self._flows, self._inserts_a_second = loaded, flows, inserts_a_second
        self._run = (Runner if takes_context() else WireRunner)(loaded.entry)
        self._counters = Counters(loaded.maps["reasons"])
        self.begin()

    def begin(self) -> None:
        """Forget everything on both sides."""
        forget_all(self._loaded)
        set_setup(self._loaded, inserts_a_second=self._inserts_a_second)
        self._counters.moved()
        self.state, self.table = State(flows=self._flows()), EMPTY
        self._tables = Tables(self._loaded)
        self._companion = Companion(self._tables, self._learn)
        self._companion.program_on = frozenset((p.IFINDEX, p.OTHER_IFINDEX))
        self.be_at(0, 0)

    def wait(self, seconds: int, more_us: int = 0) -> None:
        """Let time pass; ``more_us``: on the clock of handshakes alone."""
        self.be_at(self.now_s + seconds, self.now_us + seconds * 1_000_000 + more_us)

    def be_at(self, now_s: int, now_us: int) -> None:
        """Set both clocks."""
        self.now_s, self.now_us = now_s, now_us
        self.state.clock_us = self._companion.state.clock_us = now_us
        set_clock(self._loaded, now_s, now_us)

    def handshakes(self) -> dict[Names, Handshakes]:
        """Return what is told of the program's handshakes."""
        return handshakes(self._tables, self._companion.state.handshakes.tallies, self.now_us)

    def sweep(self) -> None:
        """Forget what is over on both sides."""
        for _ in range(3 + len(self.state.flows) // SWEEP_FLOWS):  # the first call may only begin a round
            expire(self.state, self.now_s)
        bpf.run(self._loaded.programs["sweep"], bytes(LEAST_BYTES), repeat=self._loaded.sizes.flows)
        self._companion.tidy(self.table, self.now_s)
        self._tables.tidy()

    def install(self, table: ForwardingTable) -> None:
        """Put a table in place of the one before, as the control path does."""
        self.table = carry(self.table, table, self.now_s)
        _forget_services(self.state, self.table)
        self._tables.install(self.table)
        self._tables.tidy()

    def _learn(self, paths: Mapping[bytes, Path]) -> None:
        self._tables.install(self.table, {server: path.mtu_bytes for server, path in paths.items()})

    def step(self, frame: bytes, ifindex: int) -> Verdict:
        """Process a frame on both sides; return the verdict.  Raises ``Differ``."""
        if not LEAST_BYTES <= len(frame) <= MOST_BYTES:  # the program never meets such a frame
            return Action.PASS, Reason.NOT_IP, 0, frame
        found, was_left = self._by_pair(frame, ifindex)
        verdict, expected = self._by_specification(frame, ifindex)
        if found != expected:
            raise Differ(f"datapath.process  {expected.person()}\nthe program       {found.person()}")
        if was_left and not self._may_leave(frame, ifindex, expected):
            raise Differ(f"the program leaves it to the packet engine: {expected.person()}")
        return verdict

    def _may_leave(self, frame: bytes, ifindex: int, outcome: Outcome) -> bool:
        """Return whether a frame is one that the program cannot do itself.

        That is one to be cut, or to be held until its first piece comes, or put together by the kernel.
        """
        packet_bytes = len(frame) - LEAST_BYTES
        is_long = packet_bytes > self.table.mtus.get(ifindex, packet_bytes)
        is_only_piece = outcome.out[12:14] == ETHERTYPE_IPV6 and outcome.out[20] == ipv6.FRAGMENT
        is_held = outcome.moved.keys() & _HELD != set()
        return is_long or bool(outcome.freed) or is_only_piece or is_held

    def _by_specification(self, frame: bytes, ifindex: int) -> tuple[Verdict, Outcome]:
        """Return what ``datapath.process`` says, and what comes of it."""
        state = self.state
        before = [*state.reasons, state.flows.refused]
        verdict = process(frame, ifindex, self.table, state, self.now_s)
        moved = _change([*state.reasons, state.flows.refused], before)
        if REFUSED_AT in moved:
            moved[RECORDS_REFUSED] = moved.pop(REFUSED_AT)
        action, _, _, out = verdict
        freed = sorted(_sent(state.released))
        return verdict, Outcome(action, frame if action == Action.PASS else out, moved, freed)

    def _by_pair(self, frame: bytes, ifindex: int) -> tuple[Outcome, bool]:
        """Return what the program and its companion make of a frame; whether the program left it."""
        action, out = self._run(frame, ifindex)
        moved, companion = self._counters.moved(), self._companion
        before = list(companion.state.reasons)
        freed: list[Freed] = []
        if action == Action.PASS:
            if out != frame:
                raise Differ(f"the program passes a frame that it has changed: {out.hex()}")
            action, _, _, out = companion.process(frame, ifindex, self.table, self.now_s)
            freed = _sent(companion.state.released)
            if action == Action.PASS:
                out = frame
        elif action == Action.DROP:
            out = b""
        if companion.holds:
            freed += _sent(companion.late(self.table, self.now_s))
        for number, change in _change(companion.state.reasons, before).items():
            moved[number] = moved.get(number, 0) + change
        was_left = bool(moved.pop(Reason.HANDED_OVER, 0))
        moved = {number: change for number, change in moved.items() if change}
        return Outcome(action, out, moved, sorted(freed)), was_left

    def compare(self) -> None:
        """Compare everything that the two remember.  Raises ``Differ``."""
        found = differences(self.state, self.table, self._tables, self._companion.state, self.now_s)
        mine = list(self.state.reasons)
        theirs = list(map(add, reading.reasons(self._loaded), self._companion.state.reasons))
        theirs[Reason.HANDED_OVER] = 0
        for number, change in _change(theirs, mine).items():
            found.append(f"{Reason(number).word}: {mine[number]}; of the program {mine[number] + change}")
        if found:
            raise Differ("\n".join(found))


def _forget_services(state: State, table: ForwardingTable) -> None:
    """Forget services that are gone; the program keeps what their backends counted while there is room."""
    counts, cells, tallies = (
        dict(state.backends),
        dict(state.handshakes.cells),
        dict(state.handshakes.tallies),
    )
    forget_others(state, table)
    state.backends.update(counts)
    state.handshakes.cells.update(cells)
    state.handshakes.tallies.update(tallies)


def _change(after: list[int], before: list[int]) -> dict[int, int]:
    pairs = enumerate(zip(after, before, strict=True))
    return {number: now - earlier for number, (now, earlier) in pairs if now != earlier}


def _sent(released: list[Verdict]) -> list[Freed]:
    """Return, and take away, what is sent of held pieces and of others behind the first; in no order."""
    freed = [(int(action), out) for action, _, _, out in released if action >= Action.TX]
    released.clear()
    return freed
