"""Slots that change hands without breaking a connection: from one forwarding table to the next.

A hash cursor picks the same backend for each packet of a flow, so a flow needs no record: as long as
its slot stays with its backend.  When slots change hands (a backend was added, drained, re-weighted, is
down or out of reach), the new table carries the *former* ones along.  While the two differ in a flow's slot::

                     SYN                        any other packet of TCP, any UDP
      no record      to the slot's backend,     to the former slot's backend, recorded
                     recorded                   (to the slot's, if that one is gone)
      record         to the backend on record

So every flow without a record is where the former slots say.  That stays true when slots change
again: the former slots stay the same, since all flows born in between have records.  After as long a
silence as a flow may keep, every flow that still lives has been seen and recorded, and the former slots
are dropped.  Where the two agree, and always when there are no former slots, flows are not recorded.

A backend that cannot be reached is still the former one: what belongs to it waits for it.  One that
was removed is not: its flows go where the new slots say.  At the start, former slots are those
that there would be if every backend could be reached.

*Source*: compare Olteanu et al., Beamer, NSDI 2018, section 3 (previous servers in the buckets);
Mendelson et al., Load Balancing with JET: Just Enough Tracking, CoNEXT 2020.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dsrlb.flows import FlowState
from dsrlb.schedulers.base import Cursor
from dsrlb.table import GONE, CompiledService, Former, ForwardingTable
from dsrlb.wire.l4 import TCP

_HASHES = (Cursor.FLOW_HASH, Cursor.CLIENT_HASH)
_PROTOCOL_AT = 18  # in a service key


def carry(old: ForwardingTable, new: ForwardingTable, now_s: int) -> ForwardingTable:
    """Return the new table with the former slots of those services whose flows need them.

    ``old``: the table in use, which this one is to replace; ``now_s``: the data path's clock.
    """
    services = {key: _carried(old.services.get(key), one, now_s) for key, one in new.services.items()}
    return replace(new, services=services)


def window_s(service: CompiledService) -> int:
    """Return how long former slots are kept: longer than a flow of the service may be silent."""
    state = FlowState.ESTABLISHED if service.key[_PROTOCOL_AT] == TCP else FlowState.UDP
    return service.timeouts_s[state] + 1


def _carried(old: CompiledService | None, new: CompiledService, now_s: int) -> CompiledService:
    if old is new:
        return new
    former = _former(old, new, now_s)
    if former is None:
        return new
    if new.cursor in _HASHES and former.prefixes == new.prefixes and len(former.slots) == len(new.slots):
        former = replace(former, slots=_filled(former.slots, new.slots))
        if former.slots == new.slots:
            return new
    return replace(new, former=former)


def _former(old: CompiledService | None, new: CompiledService, now_s: int) -> Former | None:
    """Return where the service's flows without a record are, if anywhere."""
    until_s = now_s + window_s(new)
    if old is None:
        return Former(new.prefixes, new.intended, until_s) if new.cursor in _HASHES else None
    if old.former is not None and now_s < old.former.until_s:
        if _is_same(old, new):
            until_s = old.former.until_s
        return Former(old.former.prefixes, _moved(old.former.slots, old, new), until_s)
    if old.cursor not in _HASHES or old.records_all:  # where every flow is on record, one without is new
        return None
    return Former(old.prefixes, _moved(old.slots, old, new), until_s)


def _is_same(old: CompiledService, new: CompiledService) -> bool:
    is_read_alike = old.cursor is new.cursor and old.prefixes == new.prefixes
    return is_read_alike and old.by_key.keys() == new.by_key.keys() and old.slots == new.slots


def _moved(slots: memoryview, old: CompiledService, new: CompiledService) -> memoryview:
    """Return slots of the old service as indices of the new one's targets."""
    if old.by_key.keys() == new.by_key.keys():  # both are in order of their keys
        return slots
    places = {target.key: place for place, target in enumerate(new.targets)}
    place_of = np.full(GONE + 1, GONE, np.uint16)
    place_of[: len(old.targets)] = [places.get(target.key, GONE) for target in old.targets]
    return _view(place_of[np.frombuffer(slots, np.uint16)])


def _filled(slots: memoryview, current: memoryview) -> memoryview:
    """Return slots in which the current backend stands where the former one is gone."""
    before = np.frombuffer(slots, np.uint16)
    if not np.any(before == GONE):
        return slots
    return _view(np.where(before == GONE, np.frombuffer(current, np.uint16), before))


def _view(slots: NDArray[np.uint16]) -> memoryview:
    return memoryview(slots.tobytes()).cast("H")
