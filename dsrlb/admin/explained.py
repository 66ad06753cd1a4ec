"""What is foretold of a frame, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dsrlb.admin.because import because
from dsrlb.admin.shown import standing_words
from dsrlb.admin.shown_table import slots_of_each
from dsrlb.foresight.foretold import Foretold, Record
from dsrlb.foresight.meaning import MEANING
from dsrlb.model import (
    V4_MAPPED,
    Action,
    Backend,
    Service,
    person_address,
    person_backend,
    person_mac,
)
from dsrlb.modes.base import NO_LIMIT, wraps
from dsrlb.standing import AS_CONFIGURED, Names, Standing, key_of, named
from dsrlb.state import Verdict
from dsrlb.table import CompiledService, Target

Row = dict[str, Any]


@dataclass(frozen=True)
class Around:
    """What a person calls things, and how backends stand."""

    services: Sequence[Service]
    links: Mapping[int, str]  # names of interfaces
    engine: str = ""  # empty: none runs
    standings: Mapping[Names, Standing] = field(default_factory=dict)
    notes: Sequence[str] = ()  # what was taken for granted


def explained(told: Foretold, frame: bytes, ifindex: int, around: Around) -> Row:
    """Return all that there is to tell of a frame."""
    service = told.subject.service
    labels = {names: backend for one in around.services for names, backend in named(one)}
    label = partial(_label, service, labels)
    return {
        "engine": around.engine or None,
        "kind": told.subject.kind.value,
        "flow": _flow(told.subject.key),
        "interface": _link(around, ifindex),
        "frame": frame.hex(),
        "service": None if service is None else _service(service, around),
        "record": {"before": _record(told.before), "after": _record(told.after)},
        "slot": _slot(told),
        "template": None
        if told.template is None
        else {"backend": person_backend(told.template[0]), "left_s": told.template[1]},
        "backend": None if told.target is None else person_backend(told.target.key),
        "name": "" if told.target is None else label(told.target.key),
        "why": None if told.why is None else told.why.value,
        "because": list(because(told, lambda key: _called(key, label(key)))),
        "hop": None if service is None or told.target is None else _hop(told, service, told.target, around),
        "verdict": told.verdict[0].name.lower(),
        "reason": told.verdict[1].word,
        "meaning": MEANING[told.verdict[1]],
        "counted": {reason.word: change for reason, change in told.moved.items()},
        "out": _sent(told.verdict, around),
        "also": [_sent(one, around) for one in told.released],
        "backends": [] if service is None else _backends(told, service, labels, around),
        "notes": list(around.notes),
    }


def _label(service: CompiledService | None, labels: Mapping[Names, Backend], key: bytes) -> str:
    backend = labels.get((service.key, key)) if service is not None else None
    return backend.label if backend is not None else ""


def _called(key: bytes, label: str) -> str:
    return f"{person_backend(key)} ({label})" if label else person_backend(key)


def _link(around: Around, ifindex: int) -> str:
    return around.links.get(ifindex, str(ifindex))


def _flow(key: bytes | None) -> Row | None:
    if key is None:
        return None
    client, vip = person_address(key[:16]), person_address(key[16:32])
    sport, dport = (int.from_bytes(key[at : at + 2], "big") for at in (32, 34))
    return {"client": client, "sport": sport, "vip": vip, "dport": dport, "protocol": key[36]}


def _service(service: CompiledService, around: Around) -> Row:
    said = next((one for one in around.services if key_of(one) == service.key), None)
    return {
        "service": service.name,
        "name": "" if said is None else said.label,
        "mode": service.mode.name,
        "scheduler": None if said is None else said.scheduler,
        "cursor": service.cursor.value,
        "slots": len(service.slots),
        "records_all": service.records_all,
        "changing_hands": service.former is not None,
        "encap": service.options.encap if wraps(service.mode, service.options) else None,
        "encap_port": service.options.encap_port,
    }


def _record(record: Record | None) -> Row | None:
    if record is None:
        return None
    return {
        "backend": person_backend(record.backend),
        "state": record.state.name.lower(),
        "silent_s": record.silent_s,
        "left_s": record.left_s,
        "begins_anew": record.begins_anew,
    }


def _slot(told: Foretold) -> Row | None:
    slot = told.slot
    if slot is None:
        return None
    former = None if slot.former_backend is None else person_backend(slot.former_backend)
    return {
        "number": slot.number,
        "of": slot.of,
        "backend": person_backend(slot.backend),
        "former_backend": former,
    }


def _hop(told: Foretold, service: CompiledService, target: Target, around: Around) -> Row | None:
    hop = target.hop
    if hop is None:
        return None
    known = told.mtu_bytes if told.mtu_bytes is not None and told.mtu_bytes < NO_LIMIT else None
    added = service.mode.overhead_bytes(service.options, 4 if target.address.startswith(V4_MAPPED) else 6)
    return {
        "interface": _link(around, hop.ifindex),
        "src_mac": person_mac(hop.src_mac),
        "dst_mac": person_mac(hop.dst_mac),
        "mtu_bytes": known,
        "fits_bytes": None if known is None else known - added,
    }


def _sent(verdict: Verdict, around: Around) -> Row | None:
    action, reason, ifindex, out = verdict
    if action < Action.TX:
        return None
    return {"interface": _link(around, ifindex), "reason": reason.word, "frame": out.hex()}


def _backends(
    told: Foretold, service: CompiledService, labels: Mapping[Names, Backend], around: Around
) -> list[Row]:
    total = sum(service.shares)
    rows = zip(service.targets, service.shares, slots_of_each(service).tolist(), strict=True)
    return [_backend(told, service, *row, total, labels, around) for row in rows]


def _backend(
    told: Foretold,
    service: CompiledService,
    target: Target,
    share: int,
    slots: int,
    total: int,
    labels: Mapping[Names, Backend],
    around: Around,
) -> Row:
    names = service.key, target.key
    backend, standing = labels.get(names), around.standings.get(names, AS_CONFIGURED)
    active, inactive = told.loads.get(target.key, (0, 0)) if service.records_all else (None, None)
    return {
        "backend": person_backend(target.key),
        "name": "" if backend is None else backend.label,
        "chosen": told.target is not None and told.target.key == target.key,
        "standing": [] if backend is None else list(standing_words(standing, backend, target)),
        "why": standing.why or standing.why_ejected,
        "weight": target.weight,
        "share_percent": round(100 * share / total, 1) if total else 0.0,
        "slots": slots,
        "active": active,
        "inactive": inactive,
    }
