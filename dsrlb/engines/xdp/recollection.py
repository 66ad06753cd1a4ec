"""What the program remembers, as a state of the specification: what one frame touches is read from the maps.

So ``datapath.decide`` says of a frame what the program would do with it: the two agree, frame by frame
(tests/parity), as long as they remember the same.  Nothing is written but the state itself.

Other CPUs go on forwarding: what is read is of the moment in which it is read.
"""

from __future__ import annotations

import struct
from functools import partial

import numpy as np

from dsrlb.budget import PER_SECOND, Budget
from dsrlb.engines.xdp import layout, reading, remembered
from dsrlb.engines.xdp.counting import of_all_cpus
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.layout import FLOWS_A_BUCKET, FlowBit
from dsrlb.engines.xdp.rings import ring_in
from dsrlb.engines.xdp.translations import translation_of_flow, translation_of_reply
from dsrlb.flows import TIMEOUT_S, BackendCount, Flow, FlowTable, Translation
from dsrlb.foresight.layer import Layer
from dsrlb.foresight.overlay import fragments
from dsrlb.fragments import Datagram, FragmentTable
from dsrlb.host import bpf_maps
from dsrlb.least import Race
from dsrlb.model import V4_MAPPED
from dsrlb.persistence import TemplateTable
from dsrlb.ports import SourcePorts
from dsrlb.standing import Names
from dsrlb.state import State
from dsrlb.table import CompiledService, ForwardingTable
from dsrlb.wire.flowhash import flow_hash

_INDEX = struct.Struct("=I")
_TOLD = struct.Struct("=II")  # struct told: second_s, times; in struct budget behind a lock of 4 bytes
_NETWORK = struct.Struct("=8sI")  # struct network: two words, IP version
_LOCK_BYTES = 4


def recollected(tables: Tables, table: ForwardingTable, beside: State, now_s: int) -> State:
    """Return a state that answers as the program and its companion do; ``beside``: the companion's."""
    state = State(
        templates=TemplateTable(templates=Layer(partial(remembered.template, tables))),
        fragments=_pieces(tables, "fragments", beside.fragments, now_s),
        reply_fragments=_pieces(tables, "reply_fragments", beside.reply_fragments, now_s),
        turns=Layer(partial(_turn, tables)),
        backends=Layer(partial(_count, tables)),
        paths=Layer(beside.paths.get),
        told=_budget(tables),
        clock_us=beside.clock_us,
    )
    state.flows = _Flows(tables, table, state, now_s)
    state.races = Layer(partial(_race, tables, table, state))
    return state


class _Flows(FlowTable):
    """Flows on record: so many as there is room for in the buckets of each."""

    def __init__(self, tables: Tables, table: ForwardingTable, state: State, now_s: int) -> None:
        self._tables, self._table, self._state, self._now_s = tables, table, state, now_s
        super().__init__(len(tables.flows), Layer(self._read))
        self.replies = Layer(self._of_reply)
        self.ports = SourcePorts(Layer(partial(ring_in, tables.loaded), partial(_rings, tables)))

    def _read(self, key: bytes) -> Flow | None:
        record = reading.flow(self._tables, key)
        if record is None:
            return None
        service = self._table.services.get(record.service)
        timeouts_s = service.timeouts_s if service is not None else TIMEOUT_S
        count = self._state.backends.setdefault((record.service, record.backend), BackendCount())
        seen_s = record.until_s - timeouts_s[record.state]
        flow = Flow(record.backend, record.state, seen_s, count, timeouts_s)
        flow.translation = translation_of_flow(self._tables.loaded, key, record)
        if flow.translation is not None:
            flow.translation.has_port = bool(record.bits & FlowBit.HAS_PORT)
        return flow

    def _of_reply(self, name: bytes) -> Flow | None:
        translation = translation_of_reply(self._tables.loaded, name)
        flow = self.get(translation.key) if translation is not None else None
        found: Translation | None = flow.translation if flow is not None else None
        return flow if found is not None and found.reply_key == name else None

    def has_room(self, key: bytes) -> bool:
        """Return whether a flow has a line, or finds one in its buckets and in what may begin this second."""
        if self.get(key) is not None or (self._may_begin() and self._has_line(key)):
            return True
        self.refused += 1
        return False

    def _has_line(self, key: bytes) -> bool:
        for bucket in reading.flow_buckets(flow_hash(key), self._tables.loaded.sizes.flows - 1):
            first = bucket * FLOWS_A_BUCKET
            lines = self._tables.flows[first : first + FLOWS_A_BUCKET]
            if np.any((lines["target"] == 0) | (lines["until_s"] < self._now_s)):
                return True
        return False

    def _may_begin(self) -> bool:
        """Return whether some CPU may begin a record in this second; whose turn it will be nobody knows."""
        loaded = self._tables.loaded
        raw = bpf_maps.lookup(loaded.maps["setup"], bytes(4))
        most = int(np.frombuffer(raw or bytes(layout.SETUP.itemsize), layout.SETUP)["inserts_a_second"][0])
        each = of_all_cpus(loaded, "allowances", 0, layout.ALLOWANCE)
        return not most or bool(np.any((each["second_s"] != self._now_s) | (each["begun"] < most)))


def _rings(tables: Tables) -> int:
    return sum(1 for _ in bpf_maps.keys(tables.loaded.maps["rings"]))


def _count(tables: Tables, names: Names) -> BackendCount | None:
    """Return how many flows a backend has; what it was sent says nothing of what comes."""
    index = tables.target_of(names)
    if index is None:
        return None
    load = tables.loads[index]
    return BackendCount(active=int(load["active"]), inactive=int(load["inactive"]))


def _race_line(tables: Tables, key: bytes) -> np.void | None:
    held = tables.allocation.services.get(key)
    raw = bpf_maps.lookup(tables.loaded.maps["races"], _INDEX.pack(held.id)) if held is not None else None
    return None if raw is None else np.frombuffer(raw, layout.RACE)[0]


def _turn(tables: Tables, key: bytes) -> int | None:
    line = _race_line(tables, key)
    return None if line is None else int(line["turn"])


def _race(tables: Tables, table: ForwardingTable, state: State, key: bytes) -> Race | None:
    """Return the race of a service, prepared for its backends of now, as the control path has prepared it."""
    service, line = table.services.get(key), _race_line(tables, key)
    if service is None or line is None:
        return None
    running = tuple(place for place, share in enumerate(service.shares) if share)
    return Race(
        entry=service,
        names=tuple(target.key for target in service.targets),
        shares=service.shares,
        counts=tuple(
            state.backends.setdefault((key, target.key), BackendCount()) for target in service.targets
        ),
        running=running,
        total=sum(service.shares),
        first=int(line["first"]),
        now=int(line["now"]),
        due=dict(_due(tables, service, running)),
    )


def _due(tables: Tables, service: CompiledService, running: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the newcomers of a race, and when the turn of each is."""
    indices = ((place, tables.target_of((service.key, service.targets[place].key))) for place in running)
    loads = ((place, tables.loads[index]) for place, index in indices if index is not None)
    return [(place, int(load["due"])) for place, load in loads if load["newcomer"]]


def _pieces(tables: Tables, name: str, beside: FragmentTable, now_s: int) -> FragmentTable:
    """Return the datagrams in pieces: those in the program's map, and what the companion holds.

    It holds pieces where the map's entry is over: their identification is used again.
    """
    held = fragments(beside)

    def below(key: bytes) -> Datagram | None:
        known = remembered.datagram(tables, name, key)
        waiting: Datagram | None = held.get(key)
        if known is None or known.owner is None:
            return waiting
        return waiting if waiting is not None and known.until_s < now_s else known

    table = FragmentTable(held.max_datagrams, held.max_held_bytes, Layer(below, lambda: len(beside)))
    table.held_bytes = beside.held_bytes
    return table


def _budget(tables: Tables) -> Budget:
    """Return what is left to be told to clients in the last second in which there was anything to tell."""
    maps = tables.loaded.maps
    second_s, times = _TOLD.unpack_from(bpf_maps.lookup(maps["budget"], bytes(4)) or bytes(12), _LOCK_BYTES)

    def spent(network: bytes) -> int | None:
        is_v4 = network.startswith(V4_MAPPED)
        words = network[12:15].ljust(4, b"\0") + bytes(4) if is_v4 else network
        value = bpf_maps.lookup(maps["told_networks"], _NETWORK.pack(words, 4 if is_v4 else 6))
        told = _TOLD.unpack(value) if value is not None else (0, 0)
        return told[1] if told[0] == second_s else None

    return Budget(second_s, max(0, PER_SECOND - times), Layer(spent))
