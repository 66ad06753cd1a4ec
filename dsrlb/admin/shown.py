"""What ``dsrlb show`` shows, as plain values: the configuration beside what holds and what was counted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from dsrlb import schedulers
from dsrlb.admin.choosing import Chosen, backends_of, services_of
from dsrlb.admin.shown_drift import drift, drift_of_end, durable
from dsrlb.admin.shown_times import time_ms, weighing
from dsrlb.config import Config
from dsrlb.control import Loop
from dsrlb.control.drains import Drain, Left, is_empty, left_of
from dsrlb.control.kept import NOTHING, Kept
from dsrlb.engines.base import Counters
from dsrlb.flows import BackendCount
from dsrlb.health.record import Record
from dsrlb.model import Backend, Reason, Service, person_backend
from dsrlb.modes.proxy import PROXY
from dsrlb.response import Memory
from dsrlb.standing import AS_CONFIGURED, Names, Standing, key_of, named
from dsrlb.table import CompiledService, ForwardingTable, Target

Row = dict[str, Any]
_NOTHING = BackendCount()


@dataclass(frozen=True)
class Seen:
    """All of one moment."""

    config: Config
    standings: Mapping[Names, Standing]
    table: ForwardingTable
    counters: Counters
    drains: Mapping[Names, Drain]
    kept: Mapping[Names, Kept]
    records: Mapping[Names, Record]
    responses: Mapping[Names, Memory]
    now_s: float
    now: float  # the same, in seconds since 1970

    def count(self, names: Names) -> BackendCount:
        """Return what was counted of a backend."""
        return self.counters.backends.get(names, _NOTHING)

    def standing(self, names: Names) -> Standing:
        """Return the standing of a backend."""
        return self.standings.get(names, AS_CONFIGURED)

    @property
    def said_by(self) -> str:
        """Who says how things are configured."""
        return "file" if self.config.origin is not None else "options"


def seen_of(loop: Loop) -> Seen:
    """Return all of this moment."""
    wishes = loop.wishes
    return Seen(
        config=loop.config,
        standings=loop.standings.of,
        table=loop.table(),
        counters=loop.totals.look(),
        drains=wishes.drains,
        kept=wishes.durable.of,
        records=loop.checks.records(),
        responses=loop.observed.responses.of,
        now_s=time.monotonic(),
        now=time.time(),
    )


def service_rows(seen: Seen, service: str | None = None) -> list[Row]:
    """Return a row for each service."""
    return [_service_row(seen, one) for one in services_of(seen.config.services, service)]


def backend_rows(seen: Seen, backend: str | None = None, service: str | None = None) -> list[Row]:
    """Return a row for each backend of each service."""
    return [backend_row(seen, one) for one in backends_of(seen.config.services, backend, service)]


def counter_rows(seen: Seen) -> list[Row]:
    """Return a row for each counter by reason that is not zero, for tables that were full, for limits."""
    counted = seen.counters
    said = [(one.word, counted.reasons[one]) for one in Reason]
    said += [
        ("(flow table full)", counted.flows_refused),
        ("(persistence table full)", counted.templates_refused),
    ]
    rows: list[Row] = [{"reason": word, "frames": int(frames)} for word, frames in said if frames]
    return rows + [
        {"service": service, "reason": reason, "only_counted": is_shadow, "refused": count}
        for (service, reason, is_shadow), count in counted.refused.items()
    ]


def on_record(counters: Counters) -> int:
    """Return how many flows are on record."""
    return sum(one.active + one.inactive for one in counters.backends.values())


def backend_row(seen: Seen, chosen: Chosen) -> Row:
    """Return what there is to know of one backend of a service."""
    names, service, backend = chosen
    standing, count = seen.standing(names), seen.count(names)
    drain, kept = seen.drains.get(names), seen.kept.get(names, NOTHING)
    compiled = seen.table.services.get(names[0])
    target = compiled.by_key.get(names[1]) if compiled is not None else None
    return {
        "service": service.name,
        "service_name": service.label,
        "backend": person_backend(names[1]),
        "name": backend.label,
        "standing": list(standing_words(standing, backend, target)),
        "why": standing.why or standing.why_ejected,
        "ejected_left_s": ejected_left_s(seen, standing),
        "starting_percent": standing.share_percent,
        "weight": standing.weight_of(backend),
        "weight_configured": backend.weight,
        "expected_percent": _percent(_share(compiled, names[1]), sum(compiled.shares) if compiled else 0),
        "share_percent": _share_of_flows(seen, names, service, compiled),
        "flows": count.flows if counts_flows(service, compiled) else None,
        "active": count.active if records_all(compiled) else None,
        "inactive": count.inactive if records_all(compiled) else None,
        "packets": count.packets if counts_packets(service) else None,
        "bytes": count.octets,
        "time_ms": time_ms(seen.responses.get(names), seen.records.get(names)),
        "response": weighing(seen.responses.get(names), seen.now_s),
        "remaining": remaining(seen, chosen),
        "drain": drain_of(seen, names),
        "drift": [
            *drift(standing, kept, backend, seen.said_by),
            *drift_of_end(drain, kept, seen.now_s, seen.now),
        ],
        "durable": list(durable(kept)),
    }


def ejected_left_s(seen: Seen, standing: Standing) -> float | None:
    """Return for how long a backend gets no new flows yet, as its clients' handshakes failed."""
    return round(max(0.0, standing.ejected_until_s - seen.now_s), 1) if standing.ejected else None


def _service_row(seen: Seen, service: Service) -> Row:
    rows = [backend_row(seen, (names, service, one)) for names, one in named(service)]
    compiled = seen.table.services.get(key_of(service))
    shares = compiled.shares if compiled is not None else ()
    return {
        "service": service.name,
        "name": service.label,
        "mode": service.mode,
        "scheduler": service.scheduler,
        "backends": len(rows),
        "taking_new_flows": sum(share > 0 for share in shares),
        "fate": "" if any(shares) else _fate(compiled),
        **{word: _sum(rows, word) for word in ("flows", "active", "inactive", "packets", "bytes")},
        "response": _weights(rows),
        "drifting": sum(bool(row["drift"]) for row in rows),
    }


def _weights(rows: list[Row]) -> list[Row] | None:
    """Return what response times make of the weights of a service's backends; None where they do not."""
    words = "backend", "name", "time_ms"
    said = [
        {**{word: row[word] for word in words}, "percent": row["response"]["percent"]}
        for row in rows
        if row["response"] is not None
    ]
    return said or None


def _fate(compiled: CompiledService | None) -> str:
    """Return what becomes of new flows where no backend takes any."""
    return "refused" if compiled is not None and compiled.refuses else "dropped"


def _sum(rows: list[Row], word: str) -> int | None:
    counted = [row[word] for row in rows]
    return None if None in counted else sum(counted)


def standing_words(standing: Standing, backend: Backend, target: Target | None) -> Iterator[str]:
    """Yield what speaks against new flows, the operator's word first; or that it is up."""
    if not standing.enabled:
        yield "disabled"
    if standing.weight_of(backend) == 0:
        yield "drained"
    if not standing.up:
        yield "down"
    if standing.ejected:
        yield "ejected"
    if standing.gone:
        yield "gone"
    elif target is None or target.hop is None:
        yield "unresolved"
    elif standing.takes_new(backend):
        yield "up" if standing.share_percent == 100 else "starting"


def remaining(seen: Seen, chosen: Chosen) -> Row | None:
    """Return the flows that a backend still has which is to get no new ones; None if it is to get some."""
    names, _, backend = chosen
    standing, left = seen.standing(names), left_of(seen.count(names), seen.table.services.get(names[0]))
    if standing.is_wanted(backend):
        return None
    return asdict(replace(left, at_least=left.at_least and not standing.gone))


def drain_of(seen: Seen, names: Names) -> Row | None:
    """Return how far the drain of a backend is; None if it is not drained."""
    drain, left = seen.drains.get(names), left_of(seen.count(names), seen.table.services.get(names[0]))
    if drain is None:
        return None
    return {
        "state": _drain_state(drain, left, seen),
        "for_s": round(seen.now_s - drain.began_s, 1),
        "let_go": None if drain.let_go is None else asdict(drain.let_go),
        "left_s": None if drain.until_s is None else round(max(0.0, drain.until_s - seen.now_s), 1),
    }


def _drain_state(drain: Drain, left: Left, seen: Seen) -> str:
    if drain.is_over:
        return "over"
    return "empty" if is_empty(drain, left, seen.now_s) else "draining"


def _share(compiled: CompiledService | None, key: bytes) -> int:
    if compiled is None:
        return 0
    shares = zip(compiled.targets, compiled.shares, strict=True)
    return next((share for target, share in shares if target.key == key), 0)


def _share_of_flows(
    seen: Seen, names: Names, service: Service, compiled: CompiledService | None
) -> float | None:
    """Return how much of the service's flows a backend has had; where flows are not counted, of packets."""
    word = "flows" if counts_flows(service, compiled) else "packets"
    total = sum(getattr(seen.count(one), word) for one, _ in named(service))
    return _percent(getattr(seen.count(names), word), total) if total else None


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0


def records_all(compiled: CompiledService | None) -> bool:
    """Return whether every flow of a service is on record."""
    return compiled is not None and compiled.records_all


def counts_flows(service: Service, compiled: CompiledService | None) -> bool:
    """Return whether it is known which packet begins a flow."""
    return records_all(compiled) or service.protocol == "tcp"


def counts_packets(service: Service) -> bool:
    """Return whether packets are counted: where they are forwarded."""
    return service.mode != PROXY.name


def weight_is_heeded(service: Service) -> bool:
    """Return whether the scheduler goes by weights other than 0."""
    return schedulers.BY_NAME[service.scheduler].weighted
