"""Which backend a packet's flow belongs to, or gets.

A known flow keeps its backend.  A new one is picked by the service's cursor, and recorded.
"""

from __future__ import annotations

from dsrlb.flows import BackendCount, Flow, FlowTable, begins_anew, first_state, next_state
from dsrlb.least import Race, pick_least, prepare
from dsrlb.schedulers.base import Cursor
from dsrlb.state import State
from dsrlb.table import CompiledService, Target
from dsrlb.wire import l4
from dsrlb.wire.flowhash import client_hash, flow_hash

_COUNTER, _LEAST, _CLIENT_HASH = Cursor.COUNTER, Cursor.LEAST, Cursor.CLIENT_HASH


def pick_backend(
    service: CompiledService, key: bytes, flags: int | None, state: State, now_s: int
) -> Target | None:
    """Return the backend that a flow belongs to; None if it has none that can take its packet.

    A known flow keeps its backend.  When that backend is out of reach for a while its packets
    are dropped (TCP sends them again) rather than given to a server that would reset them;
    only a new connection is picked a new one, and so is a flow whose backend is gone.
    """
    flow = state.flows.get(key)
    if flow is not None and not flow.is_over(now_s) and not (flags and begins_anew(flow.state, flags)):
        target = service.by_key.get(flow.backend)
        if target is not None and target.hop is not None:
            flow.seen_s, flow.timeouts_s = now_s, service.timeouts_s
            if flags is not None:
                flow.enter(next_state(flow.state, flags))
            return target
        if target is not None and flags is not None and not flags & l4.SYN:
            return None
    return _pick_anew(service, key, flags, state, now_s)


def _pick_anew(
    service: CompiledService, key: bytes, flags: int | None, state: State, now_s: int
) -> Target | None:
    """Pick a backend by the service's cursor and record the flow."""
    if not service.slots:
        return None
    opens = flags is None or flags & (l4.SYN | l4.ACK) == l4.SYN
    if service.cursor in (_COUNTER, _LEAST) and opens and _has_room(state.flows, key):
        target = _pick_once(service, key, state)
    else:
        # Neither of these can repeat its pick, so what has no record to come is picked by hash.
        target = pick_by_hash(service, key)
    count = count_of(state, service, target)
    if state.flows.insert(key, Flow(target.key, first_state(flags), now_s, count, service.timeouts_s)):
        count.flows += 1
    return target


def _pick_once(service: CompiledService, key: bytes, state: State) -> Target:
    """Pick for a flow that opens: the backend whose turn it is, or the one with the least load."""
    if service.cursor is _LEAST:
        race = _race(service, state)
        return service.targets[pick_least(race, service.slots, flow_hash(key))]
    turn = state.turns.get(service.key, 0) % len(service.slots)
    state.turns[service.key] = turn + 1
    return service.targets[service.slots[turn]]


def _race(service: CompiledService, state: State) -> Race:
    """Return what is remembered of a service's least cursor, prepared for its backends of now."""
    race = state.races.setdefault(service.key, Race())
    if race.entry is not service:
        counts = tuple(count_of(state, service, target) for target in service.targets)
        prepare(race, service, tuple(target.key for target in service.targets), service.shares, counts)
    return race


def _has_room(flows: FlowTable, key: bytes) -> bool:
    return len(flows) < flows.max_flows or flows.get(key) is not None


def pick_by_hash(service: CompiledService, key: bytes) -> Target:
    """Return the backend in the slot of the flow's, or of the client's, hash (multiply and shift)."""
    hashed = client_hash(key[:16]) if service.cursor is _CLIENT_HASH else flow_hash(key)
    return service.targets[service.slots[hashed * len(service.slots) >> 32]]


def count_of(state: State, service: CompiledService, target: Target) -> BackendCount:
    """Return the counters of one backend of one service."""
    key = service.key, target.key
    count = state.backends.get(key)
    if count is None:
        count = state.backends[key] = BackendCount()
    return count
