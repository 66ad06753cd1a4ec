"""Counters as lines for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsrlb.engines.base import Counters
from dsrlb.flows import BackendCount
from dsrlb.model import (
    PROTOCOL_NUMBERS,
    Reason,
    Service,
    backend_key,
    person_backend,
    service_key,
    wire_address,
)
from dsrlb.table import CompiledService, ForwardingTable, Target
from dsrlb.wire.l4 import TCP

_PROTOCOL_AT = 18  # in a service key


def lines(counted: Counters, table: ForwardingTable, services: Iterable[Service] = ()) -> Iterator[str]:
    """Yield the counters that are not zero by Reason, then those of each backend of each service.

    ``services`` are those of the table, for the names that a person gave.
    """
    names = {names: called for service in services for names, called in _names(service)}
    counts = [(reason.word, counted.reasons[reason]) for reason in Reason if counted.reasons[reason]]
    yield f"{'reason':<24} {'frames':>12}"
    yield from (f"{word:<24} {count:>12}" for word, count in counts)
    if counted.flows_refused:
        yield f"{'(flow table full)':<24} {counted.flows_refused:>12}"
    if counted.templates_refused:
        yield f"{'(persistence table full)':<24} {counted.templates_refused:>12}"
    yield ""
    yield (
        f"{'service':<32} {'backend':<24} {'packets':>12} {'bytes':>14} {'flows':>10} {'active':>8}"
        f" {'inactive':>8}"
    )
    for service in table.services.values():
        for target in service.targets:
            key = service.key, target.key
            row = _of_backend(service, target, counted.backends.get(key, BackendCount()))
            yield f"{row}  {names[key]}" if key in names else row


def _names(service: Service) -> Iterator[tuple[tuple[bytes, bytes], str]]:
    """Yield what a person calls each backend of a service, ``web/rs1``, by the keys of both."""
    key = service_key(wire_address(service.vip), service.port, PROTOCOL_NUMBERS[service.protocol])
    for backend in service.backends:
        called = "/".join(name for name in (service.label, backend.label) if name)
        if called:
            yield (key, backend_key(backend)), called


def _of_backend(service: CompiledService, target: Target, count: BackendCount) -> str:
    flows, active, inactive = str(count.flows), str(count.active), str(count.inactive)
    if not service.records_all:  # then nobody knows which flows are alive, nor which datagram is a first one
        active = inactive = "-"
        flows = flows if service.key[_PROTOCOL_AT] == TCP else "-"
    note = "" if target.hop is not None else "  (unresolved)"
    return (
        f"{service.name:<32} {person_backend(target.key):<24} {count.packets:>12} {count.octets:>14}"
        f" {flows:>10} {active:>8} {inactive:>8}{note}"
    )
