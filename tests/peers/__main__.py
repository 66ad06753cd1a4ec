"""dsrlb beside IPVS, in one kernel, and beside HAProxy and nginx: ``scripts/bench peers``."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernels import image
from kernels.debian import CACHE, Debian, KernelError
from kernels.machine import Machine, SilentError, running, tap

from dsrlb.errors import DsrlbError
from peers import proxies, rows
from peers.report import Cell, faults, report
from peers.rows import LB_MAC, Row

CONTENDERS = ("ipvs", "xdp", "xdp generic", "packet")
WIRE = "dsrlb-peers"
TOOLS = ("ipvsadm",)
BOOT_S, START_S, MEASURE_S = 120, 900, 300


class Wire:
    """The process in the namespace of the wire."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, **words: Any) -> None:
        """Tell it what to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def heard(self) -> Any:
        """Return what it answers."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ask(self, **words: Any) -> Any:
        """Tell it what to do, and return what it answers."""
        self.tell(**words)
        return self.heard()


@contextmanager
def wire() -> Iterator[tuple[Wire, list[int]]]:
    """Have the wire's namespace, its device and its process; what was left of an earlier run goes first."""
    subprocess.run(["ip", "netns", "del", WIRE], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["ip", "netns", "add", WIRE], check=True)
    inside = ["ip", "netns", "exec", WIRE]
    try:
        subprocess.run([*inside, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"], check=True)
        with tap(WIRE, "w0") as fds:
            subprocess.run(["ip", "-n", WIRE, "link", "set", "w0", "up"], check=True)
            process = subprocess.Popen(
                [*inside, sys.executable, "-m", "peers.load"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            try:
                yield Wire(process), fds
            finally:
                process.kill()
                process.communicate()
    finally:
        subprocess.run(["ip", "netns", "del", WIRE], check=True)


def _asked(machine: Machine, name: str, deadline_s: float, **words: Any) -> Any:
    machine.go_on(json.dumps(words))
    return machine.hears(name, deadline_s)


def cells(machine: Machine, there: Wire, contender: str, chosen: Sequence[Row], given: Any) -> Iterator[Cell]:
    """Have a contender forward, and yield what came of each row."""
    rules = "".join(f"{line}\n" for row in chosen for line in row.rules())
    words = {"rules": rules} if contender == "ipvs" else {}
    say(f"{contender} begins")
    started = _asked(machine, "started", START_S, do="start", contender=contender, **words)
    say("\n".join(f"    {line}" for line in started.splitlines()[:40]))
    for row in chosen:
        opened = there.ask(do="open", mode=row.mode, port=row.port)
        cell = Cell(row, contender, opened["servers"], opened["moved"], opened["wrong"])
        there.tell(do="load", port=row.port)
        for _ in range(given.windows):
            cell.windows.append(_asked(machine, "measured", MEASURE_S, do="measure", seconds=given.window))
        there.tell(do="came")
        there.heard()  # how many were sent
        there.heard()
        say(f"  {cell}")
        yield cell
    _asked(machine, "stopped", START_S, do="stop")


def say(words: str) -> None:
    """Tell how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def _run(given: Any, done: list[Cell]) -> None:
    chosen = [one for one in rows.ALL if one.mode in given.mode and one.scheduler in given.scheduler]
    kernel = Debian(given.cache).kernel(given.kernel)
    say(f"Linux {kernel.release}: building the wheel, and what the machine boots into")
    archives = [image.common(given.cache), image.own(given.cache, kernel, {}, "peers.guest", TOOLS)]
    with wire() as (there, fds):
        cards = [(LB_MAC, fds)]
        with running(kernel.image, archives, cards, given.cache, is_counted=True) as machine:
            machine.hears("kernel", BOOT_S)
            for contender in given.contender:
                for cell in cells(machine, there, contender, chosen, given):
                    done.append(cell)  # one by one: what is known is told, whatever comes


def main() -> int:
    """Do it; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/bench peers", description=__doc__.partition(":")[0])
    parser.add_argument("--kernel", default="6.12")
    parser.add_argument("--contender", action="append", choices=CONTENDERS)
    parser.add_argument("--mode", action="append", choices=tuple(rows.MODES))
    parser.add_argument("--scheduler", action="append", choices=rows.SCHEDULERS)
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--window", type=float, default=0.3, help="seconds of the machine's clock")
    parser.add_argument("--only", choices=("ipvs", "proxies"))
    parser.add_argument("--rounds", type=int, default=5, help="of HAProxy and nginx beside inline")
    parser.add_argument("--cache", type=Path, default=CACHE)
    given = parser.parse_args()
    given.contender = list(dict.fromkeys(["ipvs", *(given.contender or CONTENDERS)]))
    given.mode, given.scheduler = given.mode or rows.MODES, given.scheduler or rows.SCHEDULERS
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    given.cache.mkdir(parents=True, exist_ok=True)
    given.cache = given.cache.resolve()
    wrong = 0
    try:
        if given.only != "proxies":
            wrong = _beside_ipvs(given)
        if given.only != "ipvs":
            print("\n".join(proxies.report(proxies.run(given.rounds, 1))))
    except (KernelError, SilentError, DsrlbError) as error:
        print(f"scripts/bench peers: {error}", file=sys.stderr)
        return 1
    return wrong


def _beside_ipvs(given: Any) -> int:
    """Print the table of what is in the machine; what came before an error is told as well."""
    done: list[Cell] = []
    try:
        _run(given, done)
    finally:
        print("\n".join(report(done)), flush=True)
    return int(any(any(faults(one, done)) for one in done))


if __name__ == "__main__":
    raise SystemExit(main())
