"""The program in the kernel: loaded with maps of the sizes wanted, its steps in place."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsrlb.bpf.objects import object_path
from dsrlb.engines.xdp import clock, layout
from dsrlb.engines.xdp.pinned import found_at, sizes_found
from dsrlb.engines.xdp.sizes import Sizes, constants, max_entries
from dsrlb.host import bpf, bpf_maps

ENTRY = "dsrlb_xdp"
SWEEP = "dsrlb_sweep"
_ZERO = bytes(4)


@dataclass(frozen=True)
class Loaded:
    """What is in the kernel."""

    entry: bpf.Program
    programs: Mapping[str, bpf.Program]  # by the name of the step; "sweep", "credit"
    maps: Mapping[str, bpf_maps.Map]
    sizes: Sizes
    maps_at: Path | None

    @property
    def entries(self) -> Mapping[str, int]:
        """How many entries each array map has."""
        return max_entries(self.sizes)


@contextmanager
def loaded(sizes: Sizes, *, test_clock: bool = False, maps_at: Path | None = None) -> Iterator[Loaded]:
    """Load the program for the length of a ``with`` block.

    ``maps_at``: a folder of a BPF file system.  Maps that are pinned there are used, with the sizes that they
    have; others are made and pinned.  Not pinned are ``steps``, whose entries are this program's own and
    stay only as long as somebody holds the map, and what lasts no longer than a packet.
    Raises HostError: what the kernel says; pinned maps that are not of this layout, or too small.
    """
    there = found_at(maps_at) if maps_at is not None else {}
    sizes = sizes_found(sizes, there, maps_at)
    pinned = {name: maps_at / name for name in layout.KEPT} if maps_at is not None else {}
    with bpf.load(
        object_path("xdp"),
        constants={**constants(sizes), **clock.constants(), "test_clock": bytes((test_clock,))},
        max_entries={**max_entries(sizes), **there},
        pinned=pinned,
    ) as opened:
        programs = {name: opened.program(f"dsrlb_{name}") for name in (*layout.STEPS, "sweep", "credit")}
        maps = {one.name: one for one in opened.maps()}
        for place, name in enumerate(layout.STEPS):
            bpf_maps.update(maps["steps"], struct.pack("=I", place), struct.pack("=I", programs[name].fd))
        made = Loaded(opened.program(ENTRY), programs, maps, sizes, maps_at)
        _set(made, layout=layout.LAYOUT)
        yield made


def set_clock(loaded: Loaded, now_s: int, now_us: int | None = None) -> None:
    """Tell a program that was loaded with ``test_clock`` what time it is; ``now_us``: for handshakes."""
    _set(loaded, now_s=now_s, now_us=now_s * 1_000_000 if now_us is None else now_us)


def set_setup(loaded: Loaded, inserts_a_second: int | None = None, has_servers: bool | None = None) -> None:
    """Say how many records a CPU may begin in a second, and whether servers answer through the program."""
    values = {"inserts_a_second": inserts_a_second, "has_servers": has_servers}
    _set(loaded, **{name: int(value) for name, value in values.items() if value is not None})


def _set(loaded: Loaded, **values: int) -> None:
    raw = bpf_maps.lookup(loaded.maps["setup"], _ZERO)
    setup = np.frombuffer(raw or bytes(layout.SETUP.itemsize), layout.SETUP).copy()
    for name, value in values.items():
        setup[name] = value
    bpf_maps.update(loaded.maps["setup"], _ZERO, setup.tobytes())
