"""A forwarding table written into the program's maps, and taken over from them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby

import numpy as np

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.adopt import Found, adopt
from dsrlb.engines.xdp.allocation import Allocation
from dsrlb.engines.xdp.counting import added, counted, zeroed
from dsrlb.engines.xdp.memory import mapped
from dsrlb.engines.xdp.plan import check_change, plan
from dsrlb.engines.xdp.program import Loaded, set_setup
from dsrlb.engines.xdp.recovered import recovered
from dsrlb.engines.xdp.settling import settle
from dsrlb.engines.xdp.writes import Fill, Put, PutKey, Restart, SetLoad, Settle, Write
from dsrlb.flows import BackendCount
from dsrlb.host import bpf_maps
from dsrlb.sampling import CELLS
from dsrlb.table import EMPTY, ForwardingTable

_INDEX = struct.Struct("=I")
_TARGET_IN = {"templates": struct.Struct("=I"), "fragments": struct.Struct("=6xH")}  # as in layout.h
_A_BATCH = 16_384


class Tables:
    """The maps of a loaded program, and what of a forwarding table stands where in them.

    ``slots``, ``loads``, ``flows``, ``cells`` and ``handshakes`` are the maps' own memory.
    """

    def __init__(self, loaded: Loaded, settled: Callable[[], None] = settle) -> None:
        """``settled``: wait until no packet is under way that has seen anything from before."""
        self.loaded = loaded
        maps, sizes = loaded.maps, loaded.sizes
        self.slots = mapped(maps["slots"], sizes.slots, np.dtype(np.uint16))
        self.loads = mapped(maps["loads"], sizes.targets, layout.LOAD)
        self.flows = mapped(maps["flows"], sizes.flows, layout.FLOW)
        self.cells = mapped(maps["cells"], CELLS, layout.CELL)
        self.handshakes = mapped(maps["handshakes"], sizes.targets, layout.HANDSHAKES)
        self.allocation = Allocation(sizes)
        self.table = EMPTY
        self.paths: Mapping[bytes, int] = {}
        self.before: dict[tuple[bytes, bytes], BackendCount] = {}  # of targets whose place another one has
        self._settled = settled

    def check(self, table: ForwardingTable) -> None:
        """Raise ``HostError`` for a table that cannot follow on the one in use; nothing is changed."""
        check_change(self.allocation, table)

    def install(self, table: ForwardingTable, paths: Mapping[bytes, int] | None = None) -> None:
        """Make the program forward as a table says.

        ``paths``: what routers said that the way to a server (16 bytes) takes, in bytes; None: as before.
        Raises HostError: where there is no room, with nothing changed.  After a write that failed, the table
        before is the one to be installed by the next ``tidy``: the maps do not tell all of it.
        """
        paths = self.paths if paths is None else paths
        writes = plan(self.allocation, table, self, paths)
        if table.servers:
            set_setup(self.loaded, has_servers=True)
        try:
            self._carry_out(writes)
        except BaseException:
            before = self.table
            self.adopt()
            self.table = before
            raise
        if not table.servers:
            set_setup(self.loaded, has_servers=False)
        self.table, self.paths = table, paths
        self.before = {
            names: count for names, count in self.before.items() if names[0] in self.allocation.services
        }

    def tidy(self) -> None:
        """Forget what no record refers to any more: services that are gone, and to look for records at all.

        Cheap where there is nothing to do; call it once a second.
        """
        self.install(self.table)

    def adopt(self) -> ForwardingTable:
        """Take over what stands in the maps; return it as a table, without what the program does not need."""
        found = Found(self.loaded.sizes, self._read, self.slots, self._numbers)
        self.allocation, repairs = adopt(found)
        self._carry_out(repairs)
        self.table = recovered(self.allocation, self.slots)
        return self.table

    def _read(self, name: str) -> bytes:
        table = self.loaded.maps[name]
        return bpf_maps.values(table, self.loaded.entries[name])

    def _numbers(self, name: str) -> dict[bytes, int]:
        table = self.loaded.maps[name]
        values = {key: bpf_maps.lookup(table, key) for key in bpf_maps.keys(table)}
        return {key: _INDEX.unpack(value)[0] for key, value in values.items() if value is not None}

    def names(self, target: int) -> tuple[bytes, bytes] | None:
        """Return service key and backend key of a target, by its index."""
        return self.allocation.names(target)

    def target_of(self, names: tuple[bytes, bytes]) -> int | None:
        """Return the index of a target, by service key and backend key."""
        held = self.allocation.services.get(names[0])
        return None if held is None else self.allocation.target_of.get((held.id, names[1]))

    def race_now(self, number: int) -> int:
        """Return how far the race of a service (its id) has come."""
        raw = bpf_maps.lookup(self.loaded.maps["races"], _INDEX.pack(number))
        return int(np.frombuffer(raw or bytes(layout.RACE.itemsize), layout.RACE)["now"][0])

    # ------------------------------------------------------------------------- writing

    def _carry_out(self, writes: Iterable[Write]) -> None:
        """Write, in order; what goes to one map in a row goes by one call."""
        for (kind, name), group in groupby(writes, key=_kind_of):
            if kind is Put:
                entries = ((_INDEX.pack(one.place), one.value) for one in group if isinstance(one, Put))
                bpf_maps.update_batch(self.loaded.maps[name], entries)
            elif kind is PutKey:
                self._put_keys(name, [one for one in group if isinstance(one, PutKey)])
            elif kind is Restart:
                self._restart([one for one in group if isinstance(one, Restart)])
            else:
                for one in group:
                    self._write(one)

    def _put_keys(self, name: str, entries: list[PutKey]) -> None:
        table = self.loaded.maps[name]
        bpf_maps.update_batch(table, ((one.key, one.value) for one in entries if one.value is not None))
        for one in entries:
            if one.value is None:
                bpf_maps.delete(table, one.key)

    def _restart(self, restarts: list[Restart]) -> None:
        """Let targets begin anew: what they counted stays their former backends', whom nothing leads here."""
        for target, names in restarts:
            if names[0]:
                count = counted(self.loaded, self.loads, target)
                self.before[names] = added(self.before.get(names), count)
            bpf_maps.update(self.loaded.maps["counts"], _INDEX.pack(target), zeroed(self.loaded))
            self.loads[target] = np.zeros((), layout.LOAD)
        indices = {one.target for one in restarts}
        self._forget_handshakes(list(indices))
        for name, at in _TARGET_IN.items():
            table = self.loaded.maps[name]
            for batch in bpf_maps.batches(table, _A_BATCH):
                for key, value in batch:
                    if at.unpack_from(value)[0] in indices:
                        bpf_maps.delete(table, key)

    def _forget_handshakes(self, targets: list[int]) -> None:
        """Free the cells of targets, then take back what they counted."""
        self.cells["tag"][np.isin(self.cells["target"], targets)] = 0
        self.handshakes[targets] = np.zeros((), layout.HANDSHAKES)

    def _write(self, write: Write) -> None:
        match write:
            case Fill(first, targets):
                self.slots[first : first + len(targets)] = targets
            case SetLoad(target, member, value):
                self.loads[member][target] = value
            case Settle():
                self._settled()


def _kind_of(write: Write) -> tuple[type, str]:
    return type(write), write.map if isinstance(write, Put | PutKey) else ""
