"""Handshakes in the program's maps (``bpf/xdp/sampling.h``): told, and looked at beside the program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from operator import add

import numpy as np
from numpy.typing import NDArray

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.install import Tables
from dsrlb.sampling import SILENT_US, Cell, Handshakes, HandshakeTable, Tally, cell_of, tag_of
from dsrlb.standing import Names

_COUNTS = ("answered", "again", "reset", "silent", "times")


def handshakes(tables: Tables, beside: Mapping[Names, Tally], now_us: int) -> dict[Names, Handshakes]:
    """Return what was seen with the backends of each service that has its handshakes looked at.

    ``beside``: what the companion has counted.  Called by whoever may change the tables.
    """
    found = dict(_sampled(tables, beside))
    places = list(found.values())
    waiting = _waiting(tables.cells.copy(), now_us)
    counted = tables.handshakes[places]
    columns = [counted[one].tolist() for one in _COUNTS]
    opened = tables.handshakes["opened"][
        places
    ].tolist()  # last: so it is never less than the others together
    rows = zip(opened, *columns, (waiting.get(index, ()) for index in places), strict=True)
    return {
        names: _together(Handshakes(*row), beside.get(names)) for names, row in zip(found, rows, strict=True)
    }


def _sampled(tables: Tables, beside: Mapping[Names, Tally]) -> Iterator[tuple[Names, int]]:
    """Yield the backends with which handshakes were seen, and their places in the map."""
    opened = tables.handshakes["opened"].tolist()
    for service in tables.table.services.values():
        for target in service.targets if service.samples else ():
            names = service.key, target.key
            index = tables.target_of(names)
            if index is not None and (opened[index] or names in beside):
                yield names, index


def _together(one: Handshakes, more: Tally | None) -> Handshakes:
    if more is None:
        return one
    return Handshakes(
        one.opened + more.opened,
        one.answered + more.answered,
        one.again + more.again,
        one.reset + more.reset,
        one.silent + more.silent,
        list(map(add, one.times, more.times)),
        one.waiting_us,
    )


def _waiting(cells: NDArray[np.void], now_us: int) -> dict[int, list[int]]:
    """Return by target how long those have waited that were sent once, and may be answered yet."""
    held = cells[(cells["tag"] != 0) & (cells["again"] == 0)]
    waits_us = np.maximum(now_us - held["began_us"].astype(np.int64), 0)
    may_be_answered = waits_us <= SILENT_US
    targets, waits_us = held["target"][may_be_answered], waits_us[may_be_answered]
    order = np.argsort(targets, kind="stable")
    found, firsts = np.unique(targets[order], return_index=True)
    sorted_us, ends = waits_us[order].tolist(), [*firsts[1:].tolist(), len(order)]
    spans = zip(
        found.tolist(), firsts.tolist(), ends, strict=False
    )  # no target: there is an end all the same
    return {target: sorted_us[first:end] for target, first, end in spans}


class Beside(HandshakeTable):
    """What is looked at by the companion: in the program's cells, with counts of its own.

    It writes a cell while the program may: what can come of that is a handshake that is not counted, or
    once more.
    """

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self._tables = tables

    def request(self, key: bytes, names: Names, flags: int, now_us: int) -> bool:
        """Look at a client's TCP packet that goes to a backend; return whether its flow holds a cell now."""
        with self._cell(key):
            return super().request(key, names, flags, now_us)

    def reply_reset(self, key: bytes) -> None:
        """Look at a server's RST in a client's flow of this key."""
        with self._cell(key):
            super().reply_reset(key)

    def keep(self, names: set[Names]) -> None:
        """Forget backends that have no place in the maps any more."""
        super().keep({one for one in self.tallies if self._tables.target_of(one) is not None})

    @contextmanager
    def _cell(self, key: bytes) -> Iterator[None]:
        """Have a flow's cell here for the length of a ``with`` block."""
        at = cell_of(tag_of(key))
        before = self._read(at)
        self.cells = {} if before is None else {at: before}
        yield
        after = self.cells.pop(at, None)
        if after != before:
            self._write(at, after)

    def _read(self, at: int) -> Cell | None:
        cell = self._tables.cells[at].copy()
        names = self._tables.names(int(cell["target"]))
        if not cell["tag"] or names is None:
            return None
        return Cell(int(cell["tag"]), names, int(cell["began_us"]), bool(cell["again"]))

    def _write(self, at: int, cell: Cell | None) -> None:
        line = self._tables.cells[at : at + 1]
        line["tag"] = 0
        target = self._tables.target_of(cell.names) if cell is not None else None
        if cell is not None and target is not None:
            fresh = np.zeros(1, layout.CELL)
            fresh["began_us"], fresh["target"], fresh["again"] = cell.began_us, target, cell.again
            line[:] = fresh
            line["tag"] = cell.tag
