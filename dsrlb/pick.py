"""Which backend a packet's flow belongs to, or gets.

A flow on record keeps its backend.  One without is where the slots say, or, while slots change hands,
where the former ones say (``dsrlb/transition.py``); a new one is picked by the service's cursor.  It is
recorded if the slots alone will not lead its next packet to the same backend.  Where clients are to stay
with a server, a new flow goes to that of its client's template (``dsrlb/persistence.py``).

A backend that is down takes the packets of TCP connections under way, while it can be reached: where it has
died its host resets them, and clients know at once.  All else that was to go there is picked anew.
"""

from __future__ import annotations

from dsrlb.flows import BackendCount, Flow, FlowState, begins_anew, first_state, next_state
from dsrlb.least import Race, pick_least, prepare
from dsrlb.schedulers.base import Cursor
from dsrlb.state import State
from dsrlb.table import GONE, WHOLE_ADDRESS, CompiledService, Target
from dsrlb.wire import l4
from dsrlb.wire.flowhash import client_hash, client_network, flow_hash

_COUNTER, _LEAST = Cursor.COUNTER, Cursor.LEAST


def pick_backend(
    service: CompiledService, key: bytes, flags: int | None, state: State, now_s: int
) -> Target | None:
    """Return the backend that a flow belongs to; None if it has none that can take its packet.

    A known flow keeps its backend.  When that backend is out of reach for a while its packets
    are dropped (TCP sends them again) rather than given to a server that would reset them;
    only a new connection is picked a new one, and so is a flow whose backend is gone.
    """
    flow = state.flows.get(key)
    if flow is None:
        return _pick_unrecorded(service, key, flags, state, now_s)
    if not flow.is_over(now_s) and not (flags and begins_anew(flow.state, flags)):
        target = service.by_key.get(flow.backend)
        is_under_way = flags is not None and not flags & l4.SYN
        if target is not None and target.hop is not None and (target.up or is_under_way):
            flow.seen_s, flow.timeouts_s = now_s, service.timeouts_s
            if flags is not None:
                state_now = next_state(flow.state, flags)
                if service.persist is not None and flow.state < state_now == FlowState.ESTABLISHED:
                    _prolong(service, key, target, state, now_s)
                flow.enter(state_now)
            if is_told_by_slots(service, key) and target is pick_by_hash(service, key):
                state.flows.forget(key)  # left over from when slots changed hands
            return target
        if target is not None and is_under_way:
            return None
    target = _pick_unrecorded(service, key, flags, state, now_s)
    if is_told_by_slots(service, key):
        state.flows.forget(key)
    return target


def _pick_unrecorded(
    service: CompiledService, key: bytes, flags: int | None, state: State, now_s: int
) -> Target | None:
    """Return the backend of a flow without a (valid) record, and record it if it needs one."""
    opens = flags is not None and flags & (l4.SYN | l4.ACK) == l4.SYN
    owner = persisted(service, key, state, now_s) if service.former is None else None
    owner = owner or pick_under_way(service, key)
    if is_told_by_slots(service, key):
        if opens and owner is not None:
            count_of(state, service, owner).flows += 1
        return owner
    if owner is not None and (opens or flags is None) and not (owner.hop and owner.up):
        owner = None
    if owner is not None and owner.hop is None:
        return None
    if not state.flows.has_room(key):  # what its next packet will get, this one gets
        target = owner or pick_by_hash(service, key)
        _persist(service, key, target, FlowState.SYN_RECEIVED, state, now_s)
        return target
    is_new = opens or owner is None or (flags is None and service.former is None)
    target = _pick_new(service, key, state, now_s) if is_new else owner
    if target is not None:
        count = count_of(state, service, target)
        # The slots will not lead to its former backend for ever, and it may be silent for long.
        first = first_state(flags, is_proven=not is_new and service.former is not None)
        state.flows.insert(key, Flow(target.key, first, now_s, count, service.timeouts_s))
        count.flows += opens or service.records_all
        _persist(service, key, target, first, state, now_s)
    return target


def persisted(service: CompiledService, key: bytes, state: State, now_s: int) -> Target | None:
    """Return the backend of the template of a flow's client, if there is one."""
    if service.persist is None:
        return None
    backend = state.templates.backend(template_key(service, key), now_s)
    return service.by_key.get(backend) if backend is not None else None


def _persist(
    service: CompiledService, key: bytes, target: Target | None, begins_in: int, state: State, now_s: int
) -> None:
    """Let the client of a flow that begins in this state stay with its backend."""
    if service.persist is not None and target is not None:
        lasts_s = service.persist.timeout_s
        if begins_in not in (FlowState.UDP, FlowState.ESTABLISHED):
            lasts_s = min(lasts_s, service.timeouts_s[FlowState.SYN_RECEIVED])
        state.templates.keep(template_key(service, key), target.key, now_s + lasts_s)


def _prolong(service: CompiledService, key: bytes, target: Target, state: State, now_s: int) -> None:
    """Prolong the template of a client whose connection is established, unless it leads elsewhere by now."""
    if persisted(service, key, state, now_s) in (None, target):
        _persist(service, key, target, FlowState.ESTABLISHED, state, now_s)


def template_key(service: CompiledService, key: bytes) -> bytes:
    """Return what names the template of a flow's client (``dsrlb/persistence.py``)."""
    return service.key + client_network(key[:16], service.prefixes or WHOLE_ADDRESS)


def is_told_by_slots(service: CompiledService, key: bytes) -> bool:
    """Return whether every packet of a flow gets the same backend without a record."""
    if service.records_all:
        return False
    return service.former is None or pick_under_way(service, key) is pick_by_hash(service, key)


def owner_of(service: CompiledService, key: bytes, state: State, now_s: int) -> Target | None:
    """Return the backend that a flow is at, if known: by its record, or by the slots if it needs none."""
    flow = state.flows.get(key)
    if flow is not None and not flow.is_over(now_s):
        return service.by_key.get(flow.backend)
    return None if service.records_all else pick_under_way(service, key)


def pick_under_way(service: CompiledService, key: bytes) -> Target | None:
    """Return the backend that a flow without a record is at, if it began before now; perhaps out of reach."""
    former = service.former
    if former is None:
        return pick_by_hash(service, key)
    if not len(former.slots):
        return None
    place = former.slots[slot_of(key, former.prefixes, len(former.slots))]
    return None if place == GONE else service.targets[place]


def pick_by_hash(service: CompiledService, key: bytes) -> Target | None:
    """Return the backend in the slot of a flow's hash, or its client network's (multiply and shift)."""
    slots = service.slots
    return service.targets[slots[slot_of(key, service.prefixes, len(slots))]] if len(slots) else None


def slot_of(key: bytes, prefixes: tuple[int, int] | None, slots: int) -> int:
    """Return the number of a flow's slot among so many."""
    hashed = flow_hash(key) if prefixes is None else client_hash(client_network(key[:16], prefixes))
    return hashed * slots >> 32


def _pick_new(service: CompiledService, key: bytes, state: State, now_s: int) -> Target | None:
    """Pick for a new flow: its client's backend, whose turn it is, who has the least load, or by hash."""
    kept = persisted(service, key, state, now_s)
    if kept is not None and kept.hop is not None and kept.up and kept.weight:
        return kept
    if not len(service.slots):
        return None
    if service.cursor is _LEAST:
        return service.targets[pick_least(_race(service, state), service.slots, flow_hash(key))]
    if service.cursor is _COUNTER:
        turn = state.turns.get(service.key, 0) % len(service.slots)
        state.turns[service.key] = turn + 1
        return service.targets[service.slots[turn]]
    return pick_by_hash(service, key)


def _race(service: CompiledService, state: State) -> Race:
    """Return what is remembered of a service's least cursor, prepared for its backends of now."""
    race = state.races.setdefault(service.key, Race())
    if race.entry is not service:
        counts = tuple(count_of(state, service, target) for target in service.targets)
        prepare(race, service, tuple(target.key for target in service.targets), service.shares, counts)
    return race


def count_of(state: State, service: CompiledService, target: Target) -> BackendCount:
    """Return the counters of one backend of one service."""
    key = service.key, target.key
    count = state.backends.get(key)
    if count is None:
        count = state.backends[key] = BackendCount()
    return count
