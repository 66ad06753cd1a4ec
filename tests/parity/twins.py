"""The two data paths side by side: each frame goes through both, and everything that they say is compared."""

from __future__ import annotations

from parity.ground import LEAST_BYTES, MOST_BYTES, Counters, Runner, forget_all
from parity.memory import differences
from parity.sweeping import sweep_all

from dsrlb.datapath import process
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.program import Loaded, set_clock, set_setup
from dsrlb.model import Action, Reason
from dsrlb.state import State, expire, forget_others
from dsrlb.table import EMPTY, ForwardingTable
from dsrlb.transition import carry

RECORDS_REFUSED = 62  # bpf/xdp/reasons.h: in a place of its own behind the reasons


class Differ(AssertionError):
    """The two do not agree."""


class HandedOver(Exception):
    """The program left a frame to the packet engine."""


class Twins:
    """A loaded program and the specification, with one table, one clock and one past."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._run = Runner(loaded.entry)
        self._counters = Counters(loaded.maps["reasons"])
        self.begin()

    def begin(self) -> None:
        """Forget everything on both sides."""
        forget_all(self._loaded)
        set_setup(self._loaded, inserts_a_second=0)
        self._counters.moved()
        self.state, self.table, self.now_s = State(), EMPTY, 0
        self._tables = Tables(self._loaded)
        self.wait(0)

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now_s += seconds
        set_clock(self._loaded, self.now_s)

    def sweep(self) -> None:
        """Forget what is over on both sides."""
        for _ in range(3):  # the first call only begins a round where none is under way
            expire(self.state, self.now_s)
        sweep_all(self._loaded, self._tables)
        self._counters.moved()

    def install(self, table: ForwardingTable) -> None:
        """Put a table in place of the one before, as the control path does."""
        self.table = carry(self.table, table, self.now_s)
        forget_others(self.state, self.table)
        self._tables.install(self.table)

    def step(self, frame: bytes, ifindex: int) -> tuple[Action, Reason, int, bytes]:
        """Process a frame on both sides; return the verdict.  Raises ``Differ``, ``HandedOver``."""
        before, refused = list(self.state.reasons), self.state.flows.refused
        if not LEAST_BYTES <= len(frame) <= MOST_BYTES:  # the program never meets such a frame
            return Action.PASS, Reason.NOT_IP, 0, frame
        action, out = self._run(frame, ifindex)
        moved = self._counters.moved()
        if moved.get(Reason.HANDED_OVER):
            raise HandedOver
        verdict = process(frame, ifindex, self.table, self.state, self.now_s)
        freed = [piece.hex() for _, _, _, piece in self.state.released]
        self.state.released.clear()
        expected = {
            number: after - earlier
            for number, (after, earlier) in enumerate(zip(self.state.reasons, before, strict=True))
            if after != earlier
        }
        if self.state.flows.refused != refused:
            expected[RECORDS_REFUSED] = self.state.flows.refused - refused
        left = out.hex() if action in (Action.PASS, Action.TX, Action.REDIRECT) else ""
        wanted = frame.hex() if verdict[0] == Action.PASS else verdict[3].hex()
        mine, theirs = (verdict[0], expected, wanted, freed), (action, moved, left, [])
        if mine != theirs:
            raise Differ(f"datapath.process  {_person(*mine)}\nthe program       {_person(*theirs)}")
        return verdict

    def compare(self) -> None:
        """Compare everything that the two remember.  Raises ``Differ``."""
        found = differences(self.state, self.table, self._tables, self.now_s)
        if found:
            raise Differ("\n".join(found))


def _person(action: int, moved: dict[int, int], out: str, freed: list[str]) -> str:
    words = {RECORDS_REFUSED: "records_refused"}
    reasons = ", ".join(
        f"{words.get(number) or Reason(number).word} {count:+}" for number, count in moved.items()
    )
    name = Action(action).name if action else "ABORTED"
    return f"{name} ({reasons}) {out}" + "".join(f"\n    freed {piece}" for piece in freed)
