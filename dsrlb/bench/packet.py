"""How fast is the packet engine?  L2 DSR of 64-byte frames on one core, against two baselines.

Each round runs every contender once, in an order that turns from round to round.  A turn: start the
contender, let it prove that it forwards every frame right, load it with more than it can take, count
frames and its CPU time over a window, stop the load, and compare what it claims with what came out.

The figure is frames per second of the contender's own CPU time, so that other work on the machine
costs precision, not truth; on a core of its own it equals frames per second.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import IO

from dsrlb.bench import ground
from dsrlb.errors import DsrlbError

CONTENDERS = ("scapy", "raw", "dsrlb")
BARS = {"scapy": 40.0, "raw": 0.9}  # dsrlb is to be at least so many times as fast
SETTLE_S, QUIET_S, DEADLINE_S = 0.3, 0.25, 10.0


@dataclass(frozen=True)
class Turn:
    """What one contender did in one round, within the window."""

    frames: int
    seconds: float
    cpu_s: float
    offered_per_s: float
    claimed: int  # over the whole turn
    counted: int  # at the far end, over the whole turn

    @property
    def frames_per_cpu_s(self) -> float:
        """The figure that is compared."""
        return self.frames / self.cpu_s

    @property
    def core_share(self) -> float:
        """How much of its core the contender had."""
        return self.cpu_s / self.seconds


@dataclass(frozen=True)
class Ratio:
    """How many times as fast dsrlb is as a baseline, in the same round."""

    baseline: str
    median: float
    lowest: float
    highest: float
    bar: float

    @property
    def is_met(self) -> bool:
        """Return whether the median reaches the bar."""
        return self.median >= self.bar


def ratios(turns: Mapping[str, Sequence[Turn]]) -> list[Ratio]:
    """Return dsrlb's ratio to each baseline, round by round, and its spread."""
    found = []
    for baseline, bar in BARS.items():
        pairs = zip(turns["dsrlb"], turns[baseline], strict=True)
        each = [ours.frames_per_cpu_s / theirs.frames_per_cpu_s for ours, theirs in pairs]
        found.append(Ratio(baseline, median(each), min(each), max(each), bar))
    return found


def report(turns: Mapping[str, Sequence[Turn]]) -> Iterator[str]:
    """Yield the table and the verdicts as lines for a person."""
    yield "         kframes/CPU s    lowest..highest  kframes/s   core  offered k/s"
    for name, each in turns.items():
        rates = [turn.frames_per_cpu_s / 1000 for turn in each]
        yield (
            f"{name:<8} {median(rates):>13.1f} {f'{min(rates):.1f}..{max(rates):.1f}':>18}"
            f" {median(turn.frames / turn.seconds for turn in each) / 1000:>10.1f}"
            f" {median(turn.core_share for turn in each):>6.0%}"
            f" {median(turn.offered_per_s for turn in each) / 1000:>12.0f}"
        )
    yield ""
    for one in ratios(turns):
        spread = f"{one.lowest:.2f}..{one.highest:.2f}"
        verdict = "met" if one.is_met else "NOT met"
        yield f"dsrlb / {one.baseline:<6} {one.median:>8.2f}  ({spread})  at least {one.bar:g}: {verdict}"


def as_json(turns: Mapping[str, Sequence[Turn]]) -> str:
    """Return all turns and ratios as JSON."""
    told = {
        "turns": {name: [asdict(turn) for turn in each] for name, each in turns.items()},
        "ratios": [{**asdict(one), "met": one.is_met} for one in ratios(turns)],
    }
    return json.dumps(told, indent=2)


def run(rounds: int, window_s: float) -> dict[str, list[Turn]]:
    """Build the ground, run every contender in every round, and clean up.

    DsrlbError when a contender forwards wrongly, miscounts, or was not given more than it can take.
    """
    turns: dict[str, list[Turn]] = {name: [] for name in CONTENDERS}
    traffic_core, contender_core = ground.cores()
    with ground.standing(), _traffic(traffic_core) as wire:
        for number in range(rounds):
            shift = number % len(CONTENDERS)
            for name in CONTENDERS[shift:] + CONTENDERS[:shift]:
                turns[name].append(_turn(wire, name, contender_core, window_s))
    return turns


class Wire:
    """The process at the far end of the wire, and the count of frames that arrived there."""

    def __init__(self, process: subprocess.Popen[str], counters: IO[str]) -> None:
        """Take a running ``dsrlb.bench.traffic`` and the open /proc/net/dev of its namespace."""
        self._process, self._counters = process, counters

    def tell(self, command: str) -> None:
        """Give a command."""
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101  opened as a pipe below
        stdin.write(command + "\n")
        stdin.flush()

    def answer(self) -> str:
        """Wait for the answer to the last command."""
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101  opened as a pipe below
        return stdout.readline().strip()

    def arrived(self) -> int:
        """Return how many frames have arrived so far."""
        self._counters.seek(0)
        lines = (line.partition(":") for line in self._counters)
        return next(int(rest.split()[1]) for name, _, rest in lines if name.strip() == ground.WIRE_DEVICE)

    def arrived_in_the_end(self) -> int:
        """Wait until no more frames arrive and return how many have."""
        deadline, last = time.monotonic() + DEADLINE_S, -1
        while (now := self.arrived()) != last:
            if time.monotonic() > deadline:
                raise DsrlbError("Frames still arrive long after the load has ended.")
            last = now
            time.sleep(QUIET_S)
        return last


@contextlib.contextmanager
def _traffic(core: int) -> Iterator[Wire]:
    with _started(ground.WIRE, "dsrlb.bench.traffic", str(core)) as process:
        wait_for = time.monotonic() + DEADLINE_S
        counters = Path(f"/proc/{process.pid}/net/dev")
        while ground.WIRE_DEVICE + ":" not in counters.read_text():  # not yet inside the namespace
            if time.monotonic() > wait_for:
                raise DsrlbError("The traffic generator does not start.")
            time.sleep(0.01)
        with counters.open() as opened:
            yield Wire(process, opened)


@contextlib.contextmanager
def _started(namespace: str, module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Hold a module of this package running in a namespace for the length of a block."""
    command = ground.inside(namespace, sys.executable, "-m", module, *arguments)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603  fixed
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _turn(wire: Wire, name: str, core: int, window_s: float) -> Turn:
    """Run one contender once."""
    with _started(ground.LB, "dsrlb.bench.contenders", name, str(core)) as contender:
        _line(contender, name)
        before = wire.arrived()
        wire.tell("prove")
        if (verdict := wire.answer()) != "ok":
            raise DsrlbError(f"{name} does not forward right: {verdict}.")
        load_s = window_s + 2 * SETTLE_S
        wire.tell(f"load {load_s}")
        time.sleep(SETTLE_S)
        began, first, cpu_began = time.monotonic(), wire.arrived(), cpu_seconds(contender.pid)
        time.sleep(window_s)
        ended, last, cpu_ended = time.monotonic(), wire.arrived(), cpu_seconds(contender.pid)
        offered_per_s = int(wire.answer()) / load_s
        counted = wire.arrived_in_the_end() - before
        contender.terminate()
        claimed = int(_line(contender, name))
    turn = Turn(last - first, ended - began, cpu_ended - cpu_began, offered_per_s, claimed, counted)
    _doubt(name, turn)
    return turn


def _line(contender: subprocess.Popen[str], name: str) -> str:
    stdout = contender.stdout
    assert stdout is not None  # noqa: S101  opened as a pipe above
    line = stdout.readline()
    if not line:
        raise DsrlbError(f"The contender {name} ended before its time; its error stands above.")
    return line


def _doubt(name: str, turn: Turn) -> None:
    """Raise DsrlbError if a turn measured something else than it should."""
    if turn.claimed != turn.counted:
        raise DsrlbError(f"{name} claims {turn.claimed} frames, but {turn.counted} arrived at the far end.")
    if turn.offered_per_s < 1.05 * turn.frames / turn.seconds:
        raise DsrlbError(f"{name} was offered no more than it forwards, so its limit was not reached.")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and all its threads (clock_getcpuclockid(3), CPUCLOCK_SCHED)."""
    return time.clock_gettime((~pid << 3) | 2)
