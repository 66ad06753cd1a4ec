"""Counters as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.model import Reason, person_address
from dsrlb.state import State
from dsrlb.table import ForwardingTable


def lines(state: State, table: ForwardingTable) -> Iterator[str]:
    """Yield the counters that are not zero by Reason, then packets, bytes and flows of each backend."""
    counts = [(reason.word, state.reasons[reason]) for reason in Reason if state.reasons[reason]]
    yield f"{'reason':<24} {'frames':>12}"
    yield from (f"{word:<24} {count:>12}" for word, count in counts)
    if state.flows.refused:
        yield f"{'(flow table full)':<24} {state.flows.refused:>12}"
    yield ""
    yield f"{'service':<32} {'backend':<24} {'packets':>12} {'bytes':>14} {'flows':>10}"
    for service in table.services.values():
        for target in service.targets:
            count = state.backends.get((service.key, target.key))
            packets, octets, flows = (count.packets, count.octets, count.flows) if count else (0, 0, 0)
            note = "" if target.hop is not None else "  (unresolved)"
            backend = person_address(target.key)
            yield f"{service.name:<32} {backend:<24} {packets:>12} {octets:>14} {flows:>10}{note}"
