"""Try dsrlb's wheel on other kernels, and say in a table what came of it: ``scripts/test-kernels``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsrlb.errors import DsrlbError
from dsrlb.lab.topology import Lab
from kernels import image
from kernels.debian import CACHE, NEWEST, Debian, Kernel, KernelError
from kernels.exchange import MODES, XDP_MODES, exchanged, labs, told, wrong_in
from kernels.machine import Machine, SilentError, booted

VERSIONS = ("5.10", "6.1", "6.12", NEWEST)
BOOT_S, LOAD_S, STORIES_S, START_S, STOP_S = 120, 600, 1800, 360, 120
COLUMNS = ("kernel", "objects", "instructions", *(f"{m} {x}" for m in MODES for x in XDP_MODES), "stories")
PASSED = "yes"


@dataclass
class Outcome:
    """What came of one kernel."""

    cells: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def note(self, column: str, wrong: Sequence[str], passed: str = PASSED) -> None:
        """Note what came of a column."""
        self.cells[column] = "NO" if wrong else passed
        self.wrong += [f"{column}: {one}" for one in wrong]


def tried(machine: Machine, kernel: Kernel, standing: Sequence[Lab]) -> Outcome:
    """Follow what the machine does; a machine that falls silent has failed in all that was to come."""
    outcome = Outcome({"kernel": kernel.release.removesuffix("-cloud-amd64")})
    try:
        release = machine.hears("kernel", BOOT_S)
        outcome.note("kernel", [] if release == kernel.release else [release], outcome.cells["kernel"])
        _note_objects(outcome, machine.hears("loaded", LOAD_S))
        for lab in standing:
            for xdp_mode in XDP_MODES:
                _serve(outcome, machine, lab, xdp_mode)
        _note_stories(outcome, machine.hears("stories", STORIES_S))
    except SilentError as error:
        outcome.wrong.append(str(error))
    return outcome


def _note_objects(outcome: Outcome, loaded: dict[str, Any]) -> None:
    refused = [f"{name}: {counts}" for name, counts in loaded.items() if isinstance(counts, str)]
    counts = {name: by_program for name, by_program in loaded.items() if not isinstance(by_program, str)}
    programs = sum(len(one) for one in counts.values())
    outcome.note("objects", refused, f"{len(counts)} ({programs} programs)")
    largest = max((number for one in counts.values() for number in one.values()), default=0)
    outcome.note("instructions", [], f"{largest:,}")
    for name, by_program in counts.items():
        say(f"  {name}: {len(by_program)} programs, largest {max(by_program.values()):,} instructions")


def _note_stories(outcome: Outcome, came: dict[str, Any]) -> None:
    skipped = [f"{came['skipped']} were skipped"] if came["skipped"] else []
    outcome.note("stories", [*came["failed"], *skipped], f"{came['tests']}")
    say(f"  stories: {came['tests']}, of which {len(came['failed'])} failed")


def _serve(outcome: Outcome, machine: Machine, lab: Lab, xdp_mode: str) -> None:
    log = machine.hears("ready", START_S)
    try:
        wrong = exchanged(lab) if "ready" in log else [f"it does not start: {log[-1000:]}"]
    except DsrlbError as error:
        wrong = [str(error)]
    machine.go_on()
    wrong += wrong_in(machine.hears("served", STOP_S), xdp_mode)
    outcome.note(f"{lab.mode} {xdp_mode}", wrong)
    say(f"  {lab.mode} {xdp_mode}: {outcome.cells[f'{lab.mode} {xdp_mode}']}")


def table(outcomes: Sequence[Outcome]) -> str:
    """Return what came of all as a table."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS)]
    rows += [tuple(one.cells.get(column, "NO") for column in COLUMNS) for one in outcomes]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def say(words: str) -> None:
    """Tell how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def _run(versions: Sequence[str], cache: Path) -> list[Outcome]:
    debian = Debian(cache)
    kernels = [debian.kernel(version) for version in versions]
    say("building the wheel, and what the machines boot into")
    common = image.common(cache)
    outcomes = []
    with labs() as standing:
        ports = [(lab.namespace("switch"), lab.mac("lb")) for lab in standing]
        words = {"labs": [told(lab) for lab in standing], "xdp_modes": XDP_MODES}
        for kernel in kernels:
            began = time.monotonic()
            say(f"Linux {kernel.release}")
            archives = [common, image.own(cache, kernel, words)]
            with booted(kernel.image, archives, ports, cache) as machine:
                outcomes.append(tried(machine, kernel, standing))
            for one in outcomes[-1].wrong:
                say(f"  WRONG: {one}")
            say(f"  {time.monotonic() - began:.0f} s")
    return outcomes


def main() -> int:
    """Do it; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/test-kernels", description=__doc__.partition(":")[0])
    parser.add_argument("versions", nargs="*", default=VERSIONS, metavar="VERSION",
                        help=f"such as 6.1, or {NEWEST} (default: {' '.join(VERSIONS)})")  # fmt: skip
    parser.add_argument("--cache", type=Path, default=CACHE,
                        help="folder for kernels and images (default: %(default)s)")  # fmt: skip
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what stands is taken down
    given.cache.mkdir(parents=True, exist_ok=True)
    try:
        outcomes = _run(given.versions, given.cache.resolve())
    except (KernelError, image.ImageError, DsrlbError) as error:
        print(f"scripts/test-kernels: {error}", file=sys.stderr)
        return 1
    print(table(outcomes))
    return int(any(one.wrong or len(one.cells) < len(COLUMNS) for one in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
