"""What would come of a frame, and what that hangs on: the data path run on states that are thrown away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from dsrlb.datapath import decide
from dsrlb.flows import FlowState, begins_anew
from dsrlb.foresight.subject import Kind, Subject, subject_of
from dsrlb.model import Reason
from dsrlb.pick import owner_of, persisted, pick_by_hash, pick_under_way, slot_of, template_key
from dsrlb.schedulers.base import Cursor
from dsrlb.state import State, Verdict, mtu_to
from dsrlb.table import CompiledService, ForwardingTable, Target


class Scene(NamedTuple):
    """What an engine goes by at one moment."""

    table: ForwardingTable
    now_s: int
    imagined: Callable[[], State]  # what it remembers: another one at each call, to be written at will


class Why(Enum):
    """What led a packet to its backend."""

    RECORD = "record"  # its flow is on record
    TEMPLATE = "template"  # its client has been there lately
    FORMER = "former slot"  # slots change hands, and its flow is older
    SLOT = "slot"  # the hash
    TURN = "turn"  # the counter
    LEAST = "least"  # the fewest connections


@dataclass(frozen=True)
class Record:
    """A flow on record."""

    backend: bytes
    state: FlowState
    silent_s: int  # since its last packet
    left_s: int  # until it is forgotten; below 0: it is over
    begins_anew: bool  # the packet opens another connection in its place

    @property
    def holds(self) -> bool:
        """Whether it is one of the connection that the packet is of."""
        return self.left_s >= 0 and not self.begins_anew


@dataclass(frozen=True)
class Slot:
    """The slot that the hash of a flow leads to."""

    number: int
    of: int
    backend: bytes
    former_backend: bytes | None  # while slots change hands: where it led before; None: nowhere, or the same


@dataclass(frozen=True)
class Foretold:
    """What would come of a frame."""

    verdict: Verdict
    released: Sequence[Verdict]  # pieces that would be sent beside it
    moved: Mapping[Reason, int]  # counters
    subject: Subject
    target: Target | None  # where it goes, or would if it did not stop
    why: Why | None
    before: Record | None
    after: Record | None
    template: tuple[bytes, int] | None  # the backend of the client's template, and for how long yet
    slot: Slot | None
    has_room: bool  # for a record
    mtu_bytes: int | None  # of the way to the target, what routers said included; None: no target
    loads: Mapping[bytes, tuple[int, int]]  # active and inactive flows of each backend, before


def foretell(frame: bytes, ifindex: int, scene: Scene) -> Foretold:
    """Return what would come of a frame that came in by an interface now."""
    table, now_s = scene.table, scene.now_s
    before, after = scene.imagined(), scene.imagined()
    subject = subject_of(frame, table, before, now_s)
    verdict = decide(frame, ifindex, table, after, now_s)
    service, key = subject.service, subject.key
    target = _target(subject, before, after, now_s)
    return Foretold(
        verdict=verdict,
        released=tuple(after.released),
        moved={reason: after.reasons[reason] for reason in Reason if after.reasons[reason]},
        subject=subject,
        target=target,
        why=_why(subject, target, before, after, now_s),
        before=_record(subject, before, now_s),
        after=_record(Subject(key=key), after, now_s),
        template=_template(service, key, before, now_s),
        slot=_slot(service, key) if service is not None and key is not None else None,
        has_room=after.flows.refused == 0,
        mtu_bytes=mtu_to(before, target.address, target.hop) if target and target.hop else None,
        loads=_loads(service, before),
    )


def _target(subject: Subject, before: State, after: State, now_s: int) -> Target | None:
    """Return the backend that is sent something, else the one that the flow is at."""
    service = subject.service
    if service is None:
        return None
    for target in service.targets:
        names = service.key, target.key
        was, now = before.backends.get(names), after.backends.get(names)
        if now is not None and now.packets > (was.packets if was is not None else 0):
            return target
    return owner_of(service, subject.key, after, now_s) if subject.key is not None else None


def _record(subject: Subject, state: State, now_s: int) -> Record | None:
    flow = state.flows.get(subject.key) if subject.key is not None else None
    if flow is None:
        return None
    anew = bool(subject.kind is Kind.REQUEST and subject.flags and begins_anew(flow.state, subject.flags))
    silent_s = now_s - flow.seen_s
    left_s = flow.timeouts_s[flow.state] - silent_s
    return Record(flow.backend, FlowState(flow.state), silent_s, left_s, anew)


def _why(subject: Subject, target: Target | None, before: State, after: State, now_s: int) -> Why | None:
    """Return what led a request, or an error about one, to its backend."""
    service, key = subject.service, subject.key
    if service is None or key is None or target is None:
        return None
    record = _record(subject, before, now_s)
    if record is not None and record.holds and record.backend == target.key:
        return Why.RECORD
    if persisted(service, key, before, now_s) is target:
        return Why.TEMPLATE
    if pick_under_way(service, key) is target and pick_by_hash(service, key) is not target:
        return Why.FORMER
    if after.flows.get(key) is not None and service.cursor is Cursor.COUNTER:
        return Why.TURN
    if after.flows.get(key) is not None and service.cursor is Cursor.LEAST:
        return Why.LEAST
    return Why.SLOT


def _template(
    service: CompiledService | None, key: bytes | None, state: State, now_s: int
) -> tuple[bytes, int] | None:
    if service is None or key is None:
        return None
    target, kept = persisted(service, key, state, now_s), state.templates.get(template_key(service, key))
    return (target.key, kept.until_s - now_s) if target is not None and kept is not None else None


def _slot(service: CompiledService, key: bytes) -> Slot | None:
    here, before = pick_by_hash(service, key), pick_under_way(service, key)
    if here is None:
        return None
    number = slot_of(key, service.prefixes, len(service.slots))
    former = before.key if service.former is not None and before is not None and before is not here else None
    return Slot(number, len(service.slots), here.key, former)


def _loads(service: CompiledService | None, state: State) -> dict[bytes, tuple[int, int]]:
    if service is None:
        return {}
    counts = {one.key: state.backends.get((service.key, one.key)) for one in service.targets}
    return {key: (one.active, one.inactive) if one else (0, 0) for key, one in counts.items()}
