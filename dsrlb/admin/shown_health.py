"""``dsrlb show health``: what checks and clients' handshakes say of each server, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsrlb.admin.choosing import Chosen, backends_of
from dsrlb.admin.shown import Seen, drain_of, ejected_left_s, remaining
from dsrlb.admin.shown_times import weighing
from dsrlb.health.base import Subject
from dsrlb.health.mending import mending
from dsrlb.health.record import Asked, Record
from dsrlb.health.remarks import Remarks
from dsrlb.model import person_backend
from dsrlb.standing import Names

Row = dict[str, Any]


def rows(
    seen: Seen,
    records: Mapping[Names, Record],
    remarks: Remarks,
    backend: str | None = None,
    service: str | None = None,
) -> list[Row]:
    """Return a row for each backend that is checked, or whose clients' handshakes are watched."""
    chosen = backends_of(seen.config.services, backend, service)
    return [
        {**_row(seen, one, records.get(one[0])), "remarks": _remarks(seen, one, remarks)}
        for one in chosen
        if _is_looked_after(one)
    ]


def _is_looked_after(chosen: Chosen) -> bool:
    _, service, backend = chosen
    return (backend.check or service.check) is not None or service.samples


def _row(seen: Seen, chosen: Chosen, record: Record | None) -> Row:
    names, service, backend = chosen
    standing, check = seen.standing(names), backend.check or service.check
    last = record.last if record is not None else None
    return {
        "service": service.name,
        "service_name": service.label,
        "backend": person_backend(names[1]),
        "name": backend.label,
        "kind": None if check is None else check.kind,
        "asked": None if record is None else _where(record.subject),
        "state": "down" if not standing.up else "up" if last is not None else "unasked",
        "why": standing.why,
        "since_s": None if record is None else round(seen.now_s - record.since_s, 1),
        "last": None if last is None else _last(last, seen.now_s),
        "passed_in_a_row": _in_a_row(record, ok=True),
        "failed_in_a_row": _in_a_row(record, ok=False),
        "rise": None if check is None else check.rise,
        "fall": None if check is None else check.fall,
        "time_ms": None if record is None or record.time_s is None else round(1000 * record.time_s, 1),
        "next_in_s": None if record is None else round(max(0.0, record.due_s - seen.now_s), 1),
        "ejected": standing.ejected,
        "why_ejected": standing.why_ejected,
        "ejected_left_s": ejected_left_s(seen, standing),
        "mending": _mending(record),
        "response": weighing(seen.responses.get(names), seen.now_s),
        "remaining": remaining(seen, chosen),
        "drain": drain_of(seen, names),
    }


def _remarks(seen: Seen, chosen: Chosen, remarks: Remarks) -> list[Row]:
    """Return what is wrong though checks pass."""
    _, service, backend = chosen
    return [one._asdict() for one in remarks.of(service.vip, backend.address, seen.now_s)]


def _mending(record: Record | None) -> str:
    """Return what to do about the last check, if it failed."""
    if record is None or record.last is None or record.last.outcome.ok:
        return ""
    return mending(record.subject.check.kind, record.last.outcome.word)


def _where(subject: Subject) -> str:
    """Return where a server is asked: at its own address, or at the VIP, by the path of the traffic."""
    address = subject.vip if subject.mode else subject.address
    host = f"[{address}]" if address.version == 6 and subject.port else str(address)
    where = f"{host}:{subject.port}" if subject.port else host
    return f"{where} at {subject.address}" if subject.mode else where


def _last(last: Asked, now_s: float) -> Row:
    return {
        "word": last.outcome.word,
        "detail": last.outcome.detail,
        "ago_s": round(max(0.0, now_s - last.at_s), 1),
        "took_ms": round(1000 * last.took_s, 1),
    }


def _in_a_row(record: Record | None, *, ok: bool) -> int:
    if record is None or record.last is None or record.last.outcome.ok != ok:
        return 0
    return record.in_a_row
