"""What a change of the configuration moves, service by service.  Pure.

::

                       new flows              flows under way
    slots move         go elsewhere           stay: they are on record, or where the former slots say
    backend removed    go elsewhere           move: to servers that reset them
    service removed    are not served         end
    another mode       as the slots say       come to their server in another way, if it takes them so
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dsrlb import schedulers
from dsrlb.config import Config
from dsrlb.control.planned_slots import (
    Compiled,
    fits_bytes,
    imbalance_percent,
    moved_share,
    mss,
    parts,
    settled,
    slots_moved,
    slots_of,
)
from dsrlb.control.planned_words import backend_words, is_same_way, needs_set_up, service_words
from dsrlb.flows import BackendCount
from dsrlb.model import Backend, Service, backend_key, person_backend
from dsrlb.standing import Names, key_of
from dsrlb.table import CompiledService

Row = dict[str, Any]
Counts = Mapping[Names, BackendCount]

ADDED, REMOVED, CHANGED, SAME = "added", "removed", "changed", "same"
ON_RECORD, AT_MOST, UNKNOWN = "on record", "at most", "not known"  # how well flows are counted
NOTHING_COUNTED: Counts = {}
_NOTHING = BackendCount()


class Change(NamedTuple):
    """A service as it is and as it is to be; None: there it is not."""

    before: Service | None
    after: Service | None
    old: CompiledService | None
    new: CompiledService | None

    @property
    def service(self) -> Service:
        """The service, as it is to be if it stays."""
        return self.after or self.before  # type: ignore[return-value]  # it is in one of the two


def service_rows(before: Config, after: Config, old: Compiled, new: Compiled, counts: Counts) -> list[Row]:
    """Return a row for each service that is not as it was, in the order of the new configuration."""
    was, is_to_be = ({key_of(one): one for one in config.services} for config in (before, after))
    changes = (
        Change(was.get(key), is_to_be.get(key), old.get(key), new.get(key))
        for key in dict.fromkeys((*is_to_be, *was))
    )
    rows = (_row(one, counts) for one in changes)
    return [row for row in rows if row["change"] != SAME or row["slots_moved"]]


def _row(change: Change, counts: Counts) -> Row:
    before, after, old, new = change
    backends = list(_backends(change, counts))
    what = list(service_words(before, after)) if before and after else []
    is_same = not what and all(row["change"] == SAME for row in backends)
    is_forwarded = change.service.proxy is None  # HAProxy has no slots
    return {
        "service": change.service.name,
        "service_name": change.service.label,
        "mode": change.service.mode,
        "scheduler": change.service.scheduler,
        "change": ADDED if before is None else REMOVED if after is None else SAME if is_same else CHANGED,
        "what": what,
        "server_set_up": bool(before and after and needs_set_up(before, after)),
        "slots": len(new.slots) if new and is_forwarded else 0,
        "slots_moved": slots_moved(old, new) if old and new and is_forwarded else None,
        "moved_percent": round(100 * moved_share(old, new), 2) if old and new else None,
        **_flows(change, backends),
        "imbalance_percent": imbalance_percent(new),
        "busiest": _busiest(new, backends),
        "fits_bytes_before": fits_bytes(old),
        "fits_bytes": fits_bytes(new),
        "mss_before": mss(old),
        "mss": mss(new),
        "backends": backends,
    }


def _backends(change: Change, counts: Counts) -> Iterator[Row]:
    before, after, old, new = change
    was, is_to_be, service = _by_key(before), _by_key(after), key_of(change.service)
    slots_before, slots = slots_of(old), slots_of(new)
    parts_before, parts_then = parts(old), parts(new)
    in_the_end = settled(new, is_weighted=schedulers.BY_NAME[change.service.scheduler].weighted)
    for key in dict.fromkeys((*is_to_be, *was)):
        one, other = was.get(key), is_to_be.get(key)
        what = list(backend_words(one, other)) if one and other else []
        flows, known = _live(change, counts.get((service, key), _NOTHING)) if one else (0, ON_RECORD)
        yield {
            "backend": person_backend(key),
            "name": (other or one).label,  # type: ignore[union-attr]  # one of the two is there
            "change": ADDED if one is None else REMOVED if other is None else CHANGED if what else SAME,
            "what": what,
            "weight": other.weight if other else None,
            "slots_before": slots_before.get(key, 0),
            "slots": slots.get(key, 0),
            "share_before_percent": round(100 * parts_before.get(key, 0), 1),
            "share_percent": round(100 * parts_then.get(key, 0), 1),
            "settled_percent": round(100 * in_the_end.get(key, 0), 1),
            "flows": flows,
            "flows_are": known,
        }


def _by_key(service: Service | None) -> dict[bytes, Backend]:
    return {} if service is None else {backend_key(one): one for one in service.backends}


# ------------------------------------------------------------------------- flows


def _live(change: Change, count: BackendCount) -> tuple[int | None, str]:
    """Return how many flows a backend has, and how well that is known.

    Where slots tell the backend of a flow none is on record: then there are no more than have begun.
    """
    before, _, old, _ = change
    on_record = count.active + count.inactive
    if before is None or old is None or old.records_all or before.proxy is not None:
        return on_record, ON_RECORD
    return (max(count.flows, on_record), AT_MOST) if before.protocol == "tcp" else (None, UNKNOWN)


def _flows(change: Change, backends: list[Row]) -> Row:
    """Return the live flows of a service, and those of them that move to another server, or end.

    Where they are not on record, the part of them that moves is as their servers' part of the slots.
    """
    before, after = change.before, change.after
    there = [row for row in backends if row["change"] != ADDED]
    is_all = after is None or (before is not None and not is_same_way(before, after))
    known = [row["flows_are"] for row in there]
    how = next((word for word in (UNKNOWN, AT_MOST) if word in known), ON_RECORD)
    gone = [row for row in there if is_all or row["change"] == REMOVED]
    flows, moved = _total(there), _total(gone)
    part = 100.0 * (moved or 0) / (flows or 1) if how == ON_RECORD else sum(map(_share_before, gone))
    return {"flows": flows, "flows_moved": moved, "flows_moved_percent": round(part, 1), "flows_are": how}


def _share_before(row: Row) -> float:
    return float(row["share_before_percent"])


def _total(rows: list[Row]) -> int | None:
    numbers = [row["flows"] for row in rows]
    return None if None in numbers else sum(numbers)


def _busiest(service: CompiledService | None, backends: list[Row]) -> Row | None:
    """Return which backend begins with the most flows for its share, where they are on record."""
    known = [row for row in backends if row["share_percent"]]
    flows = sum(row["flows"] or 0 for row in known)
    if service is None or not flows or any(row["flows_are"] != ON_RECORD for row in known):
        return None
    over = {row["backend"]: 1e4 * row["flows"] / (flows * row["share_percent"]) for row in known}
    backend = max(over, key=over.__getitem__)
    return {"backend": backend, "of_its_share_percent": round(over[backend], 1)}
