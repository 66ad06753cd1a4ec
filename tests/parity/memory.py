"""What the two remember, in one form, and where it differs."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import astuple
from operator import add
from typing import Any

import numpy as np

from dsrlb.engines.xdp import reading
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.translations import translation_of_reply
from dsrlb.flows import BackendCount, FlowState
from dsrlb.host import bpf_maps
from dsrlb.model import person_address, person_backend
from dsrlb.ports import COUNT, PORT_AT
from dsrlb.sampling import Cell, Tally
from dsrlb.state import State
from dsrlb.table import ForwardingTable

SHOWN_MOST = 8
SERVICE_KEY_BYTES = 20
_TEMPLATE = struct.Struct("=II")  # struct template: target, until_s
_OWNER = struct.Struct("=IHH")  # struct fragment_owner: until_s, service, target
_RING = struct.Struct("=I4xq")  # struct ring: head, ports in use
_ARC = struct.Struct("=16x48Q")  # struct arc: the bits
_ARC_AT = 37  # in the key of a ring: where that of an arc has its number
_DATAGRAM_BYTES = 37  # of struct fragment_key: the rest are zeros


def differences(state: State, table: ForwardingTable, tables: Tables, beside: State, now_s: int) -> list[str]:
    """Return a line for each thing that one of the two remembers otherwise."""
    pairs: list[tuple[str, dict[Any, Any], dict[Any, Any], Callable[[Any], str]]] = [
        ("flow", specified_flows(state, now_s), program_flows(tables, now_s), _person_flow),
        (
            "client",
            specified_templates(state, table, now_s),
            program_templates(tables, table, now_s),
            bytes.hex,
        ),
        (
            "datagram",
            specified_datagrams(state, table, now_s),
            program_datagrams(tables, table, now_s),
            bytes.hex,
        ),
        (
            "translation",
            specified_translations(state, now_s),
            program_translations(tables, now_s),
            bytes.hex,
        ),
        ("ring", specified_rings(state), program_rings(tables), bytes.hex),
        ("cell", specified_cells(state, table), program_cells(tables, table), str),
        (
            "handshakes",
            specified_handshakes(state, table),
            program_handshakes(tables, beside, table),
            _person_names,
        ),
        ("counters", specified_counts(state, table), program_counts(tables, beside, table), _person_names),
    ]
    return [line for pair in pairs for line in _unlike(*pair)]


def _unlike(
    what: str, specified: dict[Any, Any], found: dict[Any, Any], person: Callable[[Any], str]
) -> list[str]:
    names = [name for name in {**specified, **found} if specified.get(name) != found.get(name)]
    return [
        f"{what} {person(name)}: {specified.get(name)}; of the program {found.get(name)}"
        for name in names[:SHOWN_MOST]
    ]


def specified_flows(state: State, now_s: int) -> dict[bytes, tuple[Any, ...]]:
    """Return the flows that are not over: whose they are, state, until when, the port that a server sees."""
    names = {id(count): _person_names(name) for name, count in state.backends.items()}
    return {
        key: (
            names[id(flow.count)],
            FlowState(flow.state).name,
            flow.seen_s + flow.timeouts_s[flow.state],
            flow.translation and int.from_bytes(flow.translation.reply_key[34:36], "big"),
        )
        for key, flow in state.flows
        if not flow.is_over(now_s)
    }


def program_flows(tables: Tables, now_s: int) -> dict[bytes, tuple[Any, ...]]:
    """Return the same of the program's flow table."""
    return {
        key: (
            _person_names((record.service, record.backend)),
            FlowState(record.state).name,
            record.until_s,
            record.nat_port if record.bits & 1 else None,
        )
        for key, record in reading.flows(tables)
        if record.until_s >= now_s
    }


def specified_templates(state: State, table: ForwardingTable, now_s: int) -> dict[bytes, tuple[str, int]]:
    """Return the clients that have a backend, which, and until when."""
    return {
        key: (person_backend(template.backend), template.until_s)
        for key, template in state.templates._templates.items()
        if now_s <= template.until_s and (key[:SERVICE_KEY_BYTES], template.backend) in backends_of(table)
    }


def program_templates(tables: Tables, table: ForwardingTable, now_s: int) -> dict[bytes, tuple[str, int]]:
    """Return the same of the program's map."""
    found = {}
    for key, value in _entries(tables, "templates"):
        target, until_s = _TEMPLATE.unpack(value)
        names = tables.names(target)
        if names is not None and names in backends_of(table) and now_s <= until_s:
            found[key] = person_backend(names[1]), until_s
    return found


def specified_datagrams(
    state: State, table: ForwardingTable, now_s: int
) -> dict[bytes, tuple[tuple[bytes, bytes], int]]:
    """Return the datagrams in pieces whose first one has come: where it went, and until when that holds."""
    return {
        key: (datagram.owner, datagram.until_s)
        for key, datagram in state.fragments._datagrams.items()
        if datagram.owner in backends_of(table) and now_s <= datagram.until_s
    }


def program_datagrams(
    tables: Tables, table: ForwardingTable, now_s: int
) -> dict[bytes, tuple[tuple[bytes, bytes], int]]:
    """Return the same of the program's map."""
    found = {}
    for key, value in _entries(tables, "fragments"):
        until_s, _, target = _OWNER.unpack(value)
        owner = tables.names(target)
        if owner is not None and owner in backends_of(table) and now_s <= until_s:
            found[key[:_DATAGRAM_BYTES]] = owner, until_s
    return found


def specified_translations(state: State, now_s: int) -> dict[bytes, tuple[bytes, int, bytes]]:
    """Return the second names of flows that are not over: the first name, the way back to the client."""
    return {
        name: (flow.translation.key, flow.translation.back_ifindex, flow.translation.back_link)
        for name, flow in state.flows.replies.items()
        if flow.translation is not None and not flow.is_over(now_s)
    }


def program_translations(tables: Tables, now_s: int) -> dict[bytes, tuple[bytes, int, bytes]]:
    """Return the same of the program's map, and names that no flow has."""
    found = {}
    for name, _ in _entries(tables, "replies"):
        translation = translation_of_reply(tables.loaded, name)
        assert translation is not None
        record = reading.flow(tables, translation.key)
        if record is None or now_s <= record.until_s:
            found[name] = translation.key, translation.back_ifindex, translation.back_link
    return found


def specified_rings(state: State) -> dict[bytes, tuple[int, int]]:
    """Return the rings of source ports: how many are in use, where the next one is looked for."""
    return {
        name[:PORT_AT] + b"\0\0" + name[PORT_AT:]: (ring.used.bit_count(), (ring.first + ring.head) % COUNT)
        for name, ring in state.flows.ports.by_name.items()
    }


def program_rings(tables: Tables) -> dict[bytes, tuple[int, int]]:
    """Return the same of the program's maps; ports in use are counted in the arcs."""
    rings = {name: _RING.unpack(value)[0] for name, value in _entries(tables, "rings")}
    used = dict.fromkeys(rings, 0)
    for key, value in _entries(tables, "arcs"):
        words = _ARC.unpack(value)
        name = key[:_ARC_AT] + bytes(3)
        used[name] = used.get(name, 0) + sum(word.bit_count() for word in words)
    return {name: (count, rings.get(name, -1)) for name, count in used.items()}


def backends_of(table: ForwardingTable) -> set[tuple[bytes, bytes]]:
    """Return service key and backend key of every backend."""
    return {(one.key, backend) for one in table.services.values() for backend in one.by_key}


def _entries(tables: Tables, name: str) -> Iterator[tuple[bytes, bytes]]:
    table = tables.loaded.maps[name]
    for key in bpf_maps.keys(table):
        yield key, bpf_maps.lookup(table, key) or b""


def specified_counts(state: State, table: ForwardingTable) -> dict[tuple[bytes, bytes], BackendCount]:
    """Return what the backends of a table have been sent, those without anything left out."""
    there = backends_of(table)
    return {
        name: count for name, count in state.backends.items() if name in there and count != BackendCount()
    }


def program_counts(
    tables: Tables, beside: State, table: ForwardingTable
) -> dict[tuple[bytes, bytes], BackendCount]:
    """Return the same of the program's counters, with what its companion sent."""
    there = backends_of(table)
    counts = reading.counts(tables)
    for name, more in beside.backends.items():
        count = counts.setdefault(name, BackendCount())
        count.packets += more.packets
        count.octets += more.octets
    return {name: count for name, count in counts.items() if name in there and count != BackendCount()}


def specified_cells(state: State, table: ForwardingTable) -> dict[int, Cell]:
    """Return the handshakes that are under way with backends of a table."""
    there = backends_of(table)
    return {at: cell for at, cell in state.handshakes.cells.items() if cell.names in there}


def program_cells(tables: Tables, table: ForwardingTable) -> dict[int, Cell]:
    """Return the same of the program's map."""
    there, found = backends_of(table), {}
    for at in np.flatnonzero(tables.cells["tag"]).tolist():
        tag, began_us, target, again, _ = tables.cells[at].item()
        names = tables.names(target)
        if names in there:
            found[at] = Cell(tag, names, began_us, bool(again))
    return found


def specified_handshakes(state: State, table: ForwardingTable) -> dict[tuple[bytes, bytes], Tally]:
    """Return what was counted of handshakes with the backends of a table, those without any left out."""
    there = backends_of(table)
    return {names: one for names, one in state.handshakes.tallies.items() if names in there}


def program_handshakes(
    tables: Tables, beside: State, table: ForwardingTable
) -> dict[tuple[bytes, bytes], Tally]:
    """Return the same of the program's counts, with what its companion has counted."""
    found = {}
    for names in backends_of(table):
        *counts, _, times = tables.handshakes[tables.target_of(names)].item()
        more = beside.handshakes.tallies.get(names, Tally())
        *more_counts, more_times = astuple(more)
        tally = Tally(*map(add, counts, more_counts), list(map(add, times.tolist(), more_times)))
        if tally != Tally():
            found[names] = tally
    return found


def _person_flow(key: bytes) -> str:
    ends = (person_address(key[at : at + 16]) for at in (0, 16))
    ports = (int.from_bytes(key[at : at + 2], "big") for at in (32, 34))
    one, other = (f"[{address}]:{port}" for address, port in zip(ends, ports, strict=True))
    return f"{one} -> {other}/{key[36]}"


def _person_names(names: tuple[bytes, bytes]) -> str:
    service, backend = names
    port = int.from_bytes(service[16:18], "big")
    return f"[{person_address(service[:16])}]:{port}/{service[18]} {person_backend(backend)}"
