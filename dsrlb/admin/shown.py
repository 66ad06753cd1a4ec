"""What ``dsrlb show`` shows, as plain values: the configuration beside what holds and what was counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dsrlb import schedulers
from dsrlb.admin.choosing import Chosen, backends_of, services_of
from dsrlb.config import Config
from dsrlb.engines.base import Counters
from dsrlb.flows import BackendCount
from dsrlb.model import Backend, Reason, Service, person_backend
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


def service_rows(seen: Seen, service: str | None = None) -> list[Row]:
    """Return a row for each service."""
    return [_service_row(seen, one) for one in services_of(seen.config.services, service)]


def backend_rows(seen: Seen, backend: str | None = None, service: str | None = None) -> list[Row]:
    """Return a row for each backend of each service."""
    return [backend_row(seen, one) for one in backends_of(seen.config.services, backend, service)]


def counter_rows(seen: Seen) -> list[Row]:
    """Return a row for each counter by reason that is not zero, then for tables that were full."""
    counted = seen.counters
    said = [(one.word, counted.reasons[one]) for one in Reason]
    said += [
        ("(flow table full)", counted.flows_refused),
        ("(persistence table full)", counted.templates_refused),
    ]
    return [{"reason": word, "frames": int(frames)} for word, frames in said if frames]


def on_record(counters: Counters) -> int:
    """Return how many flows are on record."""
    return sum(one.active + one.inactive for one in counters.backends.values())


def backend_row(seen: Seen, chosen: Chosen) -> Row:
    """Return what there is to know of one backend of a service."""
    names, service, backend = chosen
    standing, count = seen.standing(names), seen.count(names)
    compiled = seen.table.services.get(names[0])
    target = compiled.by_key.get(names[1]) if compiled is not None else None
    return {
        "service": service.name,
        "service_name": service.label,
        "backend": person_backend(names[1]),
        "name": backend.label,
        "standing": list(_words(standing, backend, target)),
        "why": standing.why,
        "starting_percent": standing.share_percent,
        "weight": standing.weight_of(backend),
        "weight_configured": backend.weight,
        "expected_percent": _percent(_share(compiled, names[1]), sum(compiled.shares) if compiled else 0),
        "share_percent": _share_of_flows(seen, names, service, compiled),
        "flows": count.flows if counts_flows(service, compiled) else None,
        "active": count.active if records_all(compiled) else None,
        "inactive": count.inactive if records_all(compiled) else None,
        "packets": count.packets,
        "bytes": count.octets,
        "remaining": None if standing.is_wanted(backend) else _remaining(count, compiled),
        "drift": list(_drift(standing, backend, seen.said_by)),
    }


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
        "drifting": sum(bool(row["drift"]) for row in rows),
    }


def _fate(compiled: CompiledService | None) -> str:
    """Return what becomes of new flows where no backend takes any."""
    return "refused" if compiled is not None and compiled.refuses else "dropped"


def _sum(rows: list[Row], word: str) -> int | None:
    counted = [row[word] for row in rows]
    return None if None in counted else sum(counted)


def _words(standing: Standing, backend: Backend, target: Target | None) -> Iterator[str]:
    """Yield what speaks against new flows, the operator's word first; or that it is up."""
    if not standing.enabled:
        yield "disabled"
    if standing.weight_of(backend) == 0:
        yield "drained"
    if not standing.up:
        yield "down"
    if target is None or target.hop is None:
        yield "unresolved"
    elif standing.takes_new(backend):
        yield "up" if standing.share_percent == 100 else "starting"


def _drift(standing: Standing, backend: Backend, said_by: str) -> Iterator[str]:
    """Yield in what the operator's word differs from the configuration."""
    if standing.weight is not None and standing.weight != backend.weight:
        verb = "says" if said_by == "file" else "say"
        yield f"weight {standing.weight}, {said_by} {verb} {backend.weight}"
    if standing.drained:
        yield f"drained, not by the {said_by}"
    if not standing.enabled:
        yield f"disabled, not by the {said_by}"


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


def _remaining(count: BackendCount, compiled: CompiledService | None) -> Row:
    """Return how many flows a backend still has that gets no new ones.

    While slots change hands, those that have been silent since are not on record yet.
    """
    is_all = compiled is not None and (compiled.records_all or compiled.former is None)
    return {"active": count.active, "inactive": count.inactive, "at_least": not is_all}


def weight_is_heeded(service: Service) -> bool:
    """Return whether the scheduler goes by weights other than 0."""
    return schedulers.BY_NAME[service.scheduler].weighted
