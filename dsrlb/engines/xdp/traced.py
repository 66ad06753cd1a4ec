"""The program that tells its decisions: loaded beside the one at work, with the same maps.

The structs are those of ``bpf/xdp/notes.h`` and ``bpf/xdp/trace.h``.  A decision as it comes out of the ring
buffer::

    0          40                      40 + kept, filled up to 8          the end
    +----------+-----------------------+----------------------------------+
    | DECISION | the frame as it came  | the frame as it is sent, if it is|
    +----------+-----------------------+----------------------------------+
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsrlb.bpf.objects import object_path
from dsrlb.engines.tracing import Decision, SentFrame
from dsrlb.engines.xdp import clock, layout
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.program import ENTRY, Loaded
from dsrlb.engines.xdp.sizes import constants, max_entries
from dsrlb.host import bpf, bpf_maps
from dsrlb.model import Action, Reason

MAPS = ("notes", "filter", "untold", "told")  # beside those of the program that does not tell
DECISION = np.dtype(
    [
        ("at_ns", "u8"),
        ("ifindex", "u4"),
        ("out_ifindex", "u4"),
        ("target", "u4"),
        ("before_bytes", "u4"),
        ("after_bytes", "u4"),
        ("before_kept", "u2"),
        ("after_kept", "u2"),
        ("verdict", "u1"),
        ("reason", "u1"),
        ("pad", "u1", 6),
    ]
)
FILTER = np.dtype(
    [
        ("reasons", "u8"),
        ("client", "u1", 16),
        ("client_mask", "u1", 16),
        ("vip", "u1", 16),
        ("backend", "u1", 16),
        ("service", "u4"),
        ("every", "u4"),
        ("most_bytes", "u4"),
        ("pad", "u4"),
    ]
)
_ZERO = bytes(4)


@dataclass(frozen=True)
class Traced:
    """The program that tells, in the kernel."""

    entry: bpf.Program
    maps: dict[str, bpf_maps.Map]

    def ask(self, wanted: Any) -> None:
        """Write what is asked for: a FILTER."""
        bpf_maps.update(self.maps["filter"], _ZERO, wanted.tobytes())

    @property
    def untold(self) -> int:
        """How many decisions found no room."""
        raw = bpf_maps.lookup(self.maps["untold"], _ZERO)
        return int(np.frombuffer(raw or b"", np.uint64).sum())


@contextmanager
def loaded(beside: Loaded, *, test_clock: bool = False) -> Iterator[Traced]:
    """Load it with the maps of a program, for a ``with`` block.  HostError: what the kernel says."""
    shared = {name for name in (*layout.KEPT, *layout.PASSING) if name != "steps"}
    with bpf.load(
        object_path("traced"),
        constants={**constants(beside.sizes), **clock.constants(), "test_clock": bytes((test_clock,))},
        max_entries=max_entries(beside.sizes),
        reused={name: beside.maps[name].fd for name in shared},
    ) as opened:
        maps = {name: opened.map(name) for name in ("steps", *MAPS)}
        steps = [*(opened.program(f"dsrlb_{name}") for name in layout.STEPS), opened.program(ENTRY)]
        for place, program in enumerate([*steps, opened.program("dsrlb_say")]):
            bpf_maps.update(maps["steps"], struct.pack("=I", place), struct.pack("=I", program.fd))
        yield Traced(opened.program("dsrlb_trace"), maps)


def decoded(raw: bytes, tables: Tables) -> Decision | None:
    """Return a decision; None: it tells no reason, as it should."""
    head = np.frombuffer(raw, DECISION, 1)[0]
    number = int(head["reason"])
    if number >= len(Reason):
        return None
    action, ifindex = int(head["verdict"]), int(head["ifindex"])
    first, kept = DECISION.itemsize, int(head["before_kept"])
    after = first + -(-kept // 8) * 8
    out = int(head["out_ifindex"]) if action == Action.REDIRECT else ifindex
    sent = raw[after : after + int(head["after_kept"])]
    return Decision(
        *(int(head["at_ns"]), "xdp", ifindex, action, Reason(number)),
        *(raw[first : first + kept], int(head["before_bytes"])),
        (SentFrame(out, sent, int(head["after_bytes"])),) if sent else (),
        *(tables.names(int(head["target"])) or (None, None)),
    )
