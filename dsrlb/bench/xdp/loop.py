"""The loop of ``bpf/bench.bpf.c``: flow after flow through a program, timed inside the kernel."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsrlb.bench.xdp.frames import FRAME4_BYTES, FRAME6_BYTES
from dsrlb.bpf.objects import object_path
from dsrlb.engines.xdp.memory import mapped
from dsrlb.errors import DsrlbError
from dsrlb.host import bpf, bpf_maps

BATCH = 1024  # bench.bpf.c: frames between two stamps
MOST_RUNS = 4096 * BATCH  # ... and as many stamps
_FLOOR, _TOTAL = 0, 1  # places in `timed`
_ROOM = {4: 64, 6: 128}  # of a frame in its map
_BYTES = {4: FRAME4_BYTES, 6: FRAME6_BYTES}
_LOOP = np.dtype(
    [("runs", "u8"), ("flow", "u4"), ("mask", "u4"), ("begin", "u8"), ("now", "u8"), ("pad", "u8", 4)]
)
Timed = Literal["floor", "total"]


class Run(NamedTuple):
    """What came of a run: what the program said last, and the nanoseconds a packet of each batch."""

    action: int
    batches: NDArray[np.float64]

    @property
    def median_ns(self) -> float:
        """Half of the batches took no longer."""
        return float(np.median(self.batches))


@dataclass(frozen=True)
class Loop:
    """The loaded loop, and the memory of its maps."""

    programs: dict[str, bpf.Program]
    frames: dict[int, NDArray[np.uint8]]  # by version: one a row
    states: NDArray[Any]
    stamps: NDArray[np.uint64]

    def fill(self, version: int, frames: NDArray[np.uint8]) -> None:
        """Put frames in, one for each flow; their number is a power of two."""
        self.frames[version][: len(frames), : _BYTES[version]] = frames
        self.states[:] = 0
        self.states["mask"] = len(frames) - 1

    def run(self, which: Timed, version: int, runs: int) -> Run:
        """Run the next flows' frames through; a whole number of batches, MOST_RUNS at most."""
        state = self.states[_FLOOR if which == "floor" else _TOTAL]
        state["runs"] = 0
        done = bpf.run(self.programs[f"{which}{version}"], bytes(_BYTES[version]), repeat=runs)
        if state["runs"] != runs:
            raise DsrlbError(f"the timed loop ended after {state['runs']} of {runs} frames; this is a bug")
        stamps = self.stamps[: runs // BATCH].astype(np.int64)
        return Run(done.retval, np.diff(stamps) / BATCH)


@contextmanager
def loaded(program: bpf.Program, flows: dict[int, int]) -> Iterator[Loop]:
    """Load the loop around a program, with room for so many flows of each version."""
    sizes = {f"frames{version}": count for version, count in flows.items()}
    with bpf.load(object_path("bench"), max_entries=sizes) as opened:
        programs = {name: opened.program(name) for name in ("floor4", "total4", "floor6", "total6")}
        for place, timed in ((_FLOOR, opened.program("swap_macs")), (_TOTAL, program)):
            bpf_maps.update(opened.map("timed"), struct.pack("=I", place), struct.pack("=I", timed.fd))
        yield Loop(
            programs,
            {
                version: mapped(opened.map(f"frames{version}"), count, np.dtype(np.uint8)).reshape(
                    count, _ROOM[version]
                )
                for version, count in flows.items()
            },
            mapped(opened.map("loops"), 2, _LOOP),
            mapped(opened.map("stamps"), MOST_RUNS // BATCH, np.dtype(np.uint64)),
        )
