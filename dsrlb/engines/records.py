"""All that a packet engine knows of flows, as bytes: what a process leaves for the next one.

::

    +---------+---------+----------------+-------------+---------+---------+
    | header  | flows   | translations   | templates   | rings   | slots   |      in a frame (``framed.py``)
    |         | 64 each | 128 each       | 60 each     | 42 each | 2 each  |
    +---------+---------+----------------+-------------+---------+---------+

The header says how many of each there are, and what each service was: its cursor, who stood in its slots
and in its former ones.  That is what ``transition.carry`` goes by; what it does not need is not here.

Not here: datagrams in pieces, which live for seconds; counters; what routers said of the ways to servers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from struct import Struct
from typing import Any

import numpy as np

from dsrlb import modes
from dsrlb.engines.framed import Framed, framed, unfit, unframed
from dsrlb.flows import TIMEOUT_S, BackendCount, Flow, FlowState, Translation
from dsrlb.model import ModeOptions
from dsrlb.schedulers.base import Cursor
from dsrlb.state import State
from dsrlb.table import EMPTY, GONE, CompiledService, Former, ForwardingTable, Target, find_service

MAGIC = b"dsrlb\0\0\1"  # the last byte is the layout's version
SLOTS_MOST = 16 << 20  # in all; services beyond begin as at a first start
_FLOW = Struct("<40s18sBBI")  # key, backend, its length, state, seen_s
_TRANSLATION = Struct("<40s40sI38sBBI")  # both names, way back: ifindex, link, its length; has_port; 0
_TEMPLATE = Struct("<36s18sBIx")  # key, backend, its length, until_s
_RING = Struct("<38sHH")  # name, first, head
_KINDS = {"flows": _FLOW, "translations": _TRANSLATION, "templates": _TEMPLATE, "rings": _RING}
_LINK_MOST = 38
_HASHES = (Cursor.FLOW_HASH, Cursor.CLIENT_HASH)


@dataclass(frozen=True)
class Left:
    """What a process left, for :func:`restore`."""

    framed: Framed
    kinds: Mapping[str, memoryview]
    slots: memoryview

    @property
    def header(self) -> Mapping[str, Any]:
        """What stands in front of it."""
        return self.framed.header


def pack(state: State, table: ForwardingTable, now_s: int, where: str) -> bytes:
    """Return the records of flows that live; ``where`` names boot and network, as this process sees them."""
    living = [(key, flow) for key, flow in state.flows if not flow.is_over(now_s)]
    kinds = {
        "flows": b"".join(_packed_flow(key, flow) for key, flow in living),
        "translations": b"".join(_packed_translations(living)),
        "templates": b"".join(
            _TEMPLATE.pack(key, one.backend, len(one.backend), one.until_s) for key, one in state.templates
        ),
        "rings": b"".join(_RING.pack(*ring) for ring in state.flows.ports.rings()),
    }
    slots = _Slots()
    header = {
        "where": where,
        "saved_s": now_s,
        "counts": {name: len(packed) // _KINDS[name].size for name, packed in kinds.items()},
        "services": [_packed_service(one, state, slots) for one in table.services.values()],
    }
    return framed(MAGIC, header, (*kinds.values(), *slots.parts))


def unpack(packed: bytes) -> Left:
    """Return what was packed.  BrokenRecords: it is something else, of another version, or damaged."""
    found = unframed(MAGIC, packed)
    try:
        rest, kinds = found.rest, {}
        for name, layout in _KINDS.items():
            length = int(found.header["counts"][name]) * layout.size
            kinds[name], rest = rest[:length], rest[length:]
        return Left(found, kinds, rest.cast("H"))
    except (ValueError, KeyError, TypeError) as error:
        raise unfit(error) from error


def restore(left: Left, state: State, now_s: int) -> ForwardingTable:
    """Fill a fresh state with what was left; return the table that was in use.  BrokenRecords: begin anew.

    A service whose slots had no room is not in it: what ``carry`` makes of that is what a first start is.
    """
    try:
        services = {one.key: one for one in _services(left)}
        told = {bytes.fromhex(one["key"]) for one in left.header["services"] if _is_told(one)}
        table = replace(EMPTY, services=services)
        for ring in _RING.iter_unpack(left.kinds["rings"]):
            state.flows.ports.restore(*ring)
        for key, backend, length, until_s in _TEMPLATE.iter_unpack(left.kinds["templates"]):
            state.templates.keep(key, backend[:length], until_s)
        _restore_flows(left, table, state, now_s)
        _restore_translations(left, state)
        turns = {bytes.fromhex(one["key"]): one["turn"] for one in left.header["services"]}
        state.turns.update({key: int(turn) for key, turn in turns.items() if turn is not None})
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise unfit(error) from error
    return replace(table, services={key: one for key, one in services.items() if key in told})


def _packed_flow(key: bytes, flow: Flow) -> bytes:
    return _FLOW.pack(key, flow.backend, len(flow.backend), flow.state, flow.seen_s)


def _packed_translations(living: list[tuple[bytes, Flow]]) -> Iterator[bytes]:
    for key, flow in living:
        one = flow.translation
        if one is not None and len(one.back_link) <= _LINK_MOST:
            link = one.back_link, len(one.back_link)
            yield _TRANSLATION.pack(key, one.reply_key, one.back_ifindex, *link, one.has_port, 0)


def _restore_flows(left: Left, table: ForwardingTable, state: State, now_s: int) -> None:
    """Record the flows of services that there were."""
    for key, backend, length, at, seen_s in _FLOW.iter_unpack(left.kinds["flows"]):
        service = find_service(table, key[16:32], key[34:36], key[36])
        if service is not None and len(state.flows) < state.flows.max_flows:
            name = backend[:length]
            count = state.backends.setdefault((service.key, name), BackendCount())
            flow = Flow(name, int(FlowState(at)), seen_s, count, service.timeouts_s)
            if not flow.is_over(now_s):
                state.flows.insert(key, flow)


def _restore_translations(left: Left, state: State) -> None:
    """Give flows their second names again, and their ports."""
    for key, name, ifindex, link, length, has_port, _ in _TRANSLATION.iter_unpack(left.kinds["translations"]):
        flow = state.flows.get(key)
        if flow is not None and (not has_port or state.flows.ports.hold(name)):
            state.flows.translate(flow, Translation(key, name, ifindex, link[:length], bool(has_port)))


# --- services -------------------------------------------------------------------------------------


class _Slots:
    """Slots of services one behind the other; the same ones stand there once."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        self._count = 0

    def put(self, slots: memoryview) -> tuple[int, int] | None:
        """Return the first place and the number of these slots; None: there is no room for them."""
        packed = slots.tobytes()
        if packed not in self._places:
            if (self._count + len(slots)) * 2 > SLOTS_MOST:
                return None
            self._places[packed] = self._count, len(slots)
            self.parts.append(packed)
            self._count += len(slots)
        return self._places[packed]


def _packed_service(one: CompiledService, state: State, slots: _Slots) -> dict[str, Any]:
    former, reads_slots = one.former, one.cursor in _HASHES and not one.records_all
    return {
        "key": one.key.hex(),
        "cursor": one.cursor.value,
        "prefixes": one.prefixes,
        "members": [(target.key.hex(), target.up) for target in one.targets],
        "timeouts_s": one.timeouts_s,
        "records_all": one.records_all,
        "turn": state.turns.get(one.key),
        "former": former and (former.prefixes, slots.put(former.slots), former.until_s),
        "slots": slots.put(one.slots) if reads_slots or former else None,
        "reads_slots": reads_slots,
    }


def _is_told(one: Mapping[str, Any]) -> bool:
    """Return whether all that ``carry`` reads of a service is there."""
    has_former = one["former"] is None or one["former"][1] is not None
    return has_former and (one["slots"] is not None or not one["reads_slots"])


def _services(left: Left) -> Iterator[CompiledService]:
    """Yield the services as far as they are told of: for ``carry``, not for packets."""
    for one in left.header["services"]:
        targets = tuple(_target(bytes.fromhex(key), bool(up)) for key, up in one["members"])
        former, slots = one["former"], _read(left, one["slots"], len(targets))
        yield CompiledService(
            key=bytes.fromhex(one["key"]),
            name="",
            cursor=Cursor(one["cursor"]),
            prefixes=_prefixes(one["prefixes"]),
            slots=slots,
            targets=targets,
            shares=(0,) * len(targets),
            by_key={target.key: target for target in targets},
            mode=modes.MODES[0],
            options=ModeOptions(),
            persist=None,
            timeouts_s=_timeouts(one["timeouts_s"]),
            intended=slots,
            records_all=bool(one["records_all"]),
            former=former and _former(left, former, len(targets)),
        )


def _target(key: bytes, up: bool) -> Target:
    return Target(key, None, key[:16], key[16:], up=up)


def _former(left: Left, said: tuple[Any, Any, int], members: int) -> Former:
    prefixes, place, until_s = said
    return Former(_prefixes(prefixes), _read(left, place, members), int(until_s))


def _read(left: Left, place: list[int] | None, members: int) -> memoryview:
    """Return slots: indices of members, or GONE."""
    first, count = place or (0, 0)
    there = np.frombuffer(left.slots[first : first + count], np.uint16)
    if len(there) != count or np.any((there >= members) & (there != GONE)):
        raise ValueError("slots lead nowhere")
    return memoryview(there.tobytes()).cast("H")


def _prefixes(said: list[int] | None) -> tuple[int, int] | None:
    return (int(said[0]), int(said[1])) if said else None


def _timeouts(said: list[int]) -> tuple[int, ...]:
    if len(said) != len(TIMEOUT_S):
        raise ValueError("a service has other time-outs")
    return tuple(int(one) for one in said)
