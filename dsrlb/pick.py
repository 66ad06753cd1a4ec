"""Which backend a packet's flow belongs to, or gets.

A known flow keeps its backend.  A new one is picked by the service's cursor, and recorded.
"""

from __future__ import annotations

from dsrlb.flows import BackendCount, FlowTable, begins_anew, first_state, next_state
from dsrlb.schedulers.base import Cursor
from dsrlb.state import State
from dsrlb.table import CompiledService, Target
from dsrlb.wire import l4
from dsrlb.wire.flowhash import client_hash, flow_hash

_COUNTER, _CLIENT_HASH = Cursor.COUNTER, Cursor.CLIENT_HASH


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
            flow.seen_s = now_s
            if flags is not None:
                flow.state = next_state(flow.state, flags)
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
    if service.cursor is _COUNTER and opens and _has_room(state.flows, key):
        turn = state.turns.get(service.key, 0) % len(service.slots)
        state.turns[service.key] = turn + 1
        target = service.targets[service.slots[turn]]
    else:
        # A counter cannot repeat its pick, so what has no record to come is picked by hash.
        target = pick_by_hash(service, key)
    if state.flows.insert(key, target.key, first_state(flags), now_s):
        count_of(state, service, target).flows += 1
    return target


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
