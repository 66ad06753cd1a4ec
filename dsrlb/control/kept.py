"""What of the operator's word is to hold over restarts, as a file has it.  Pure.

::

    {"version": 1,
     "backends": [{"service": "198.18.1.100:80/tcp", "backend": "198.18.1.11",
                   "drained": true, "until": 1764440000.0, "enabled": false, "weight": 5}]}

What is as configured is left out.  ``until`` is the end of a drain, in seconds since 1970.  Backends that
were not configured at the start stay in the file, for when they are again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from dsrlb.config import MAX_WEIGHT
from dsrlb.standing import CONFIGURED, Names, Wish

VERSION = 1
MOST_BYTES = 16 << 20
MOST_TOLD = 8  # entries that are wrong
LATEST = 1e12  # an end that is later is none


@dataclass(frozen=True)
class Kept:
    """What is kept of one backend."""

    enabled: bool = True
    drained: bool = False
    weight: int | None = None
    until: float | None = None  # seconds since 1970: the drain is over

    def wish(self, now: float) -> Wish:
        """Return it as the operator's word of now, seconds since 1970."""
        is_over = self.drained and self.until is not None and now >= self.until
        weight = CONFIGURED if self.weight is None else self.weight
        return Wish(enabled=self.enabled, drained=self.drained, weight=weight, gone=is_over)


NOTHING = Kept()
Person = tuple[str, str]  # service and backend as a person writes them
People = Mapping[Person, Names]
Others = Mapping[Person, Kept]  # of backends that are not configured


class Unfit(Exception):
    """A file says nothing that can be used; the message says why."""


def after(kept: Kept, wish: Wish, until: float | None) -> Kept:
    """Return what is kept after another word of the operator; ``until``: when it ends, if it is a drain."""
    weight = kept.weight if wish.weight is None else wish.weight
    drained = kept.drained if wish.drained is None else wish.drained
    return replace(
        kept,
        enabled=kept.enabled if wish.enabled is None else wish.enabled,
        drained=drained,
        weight=None if weight == CONFIGURED else weight,
        until=until if wish.drained else kept.until if drained else None,
    )


def written(of: Mapping[Names, Kept], people: People, others: Others = MappingProxyType({})) -> bytes:
    """Return the file's content; backends that a reload took away are left out."""
    said = {names: person for person, names in people.items()}
    kept_of = {said[names]: kept for names, kept in of.items() if names in said} | still_unknown(
        others, people
    )
    entries = [
        {"service": service, "backend": backend, **_differing(kept)}
        for (service, backend), kept in kept_of.items()
        if kept != NOTHING
    ]
    return json.dumps({"version": VERSION, "backends": entries}, indent=1).encode() + b"\n"


def still_unknown(others: Others, people: People) -> dict[Person, Kept]:
    """Return what is kept of others without those that a reload brought: they are as configured."""
    return {person: kept for person, kept in others.items() if person not in people}


def _differing(kept: Kept) -> dict[str, Any]:
    usual = asdict(NOTHING)
    return {name: value for name, value in asdict(kept).items() if value != usual[name]}


def read(content: bytes, people: People) -> tuple[dict[Names, Kept], dict[Person, Kept], list[str]]:
    """Return what a file keeps of backends, of others that are not configured, and what there is to tell.

    Unfit: nothing of it can be used.
    """
    of: dict[Names, Kept] = {}
    others: dict[Person, Kept] = {}
    wrong: list[str] = []
    for entry in _entries(content):
        try:
            person, kept = _entry(entry)
        except Unfit as unfit:
            wrong.append(f"{unfit}; that is left out")
            continue
        if person in people:
            of[people[person]] = kept
        else:
            others[person] = kept
            wrong.append(f"{_words(person)} is not configured; what is kept of it stays there")
    return of, others, list(_shortened(wrong))


def _entries(content: bytes) -> list[Any]:
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        raise Unfit("it is no JSON") from None
    is_ours = isinstance(whole, dict) and isinstance(whole.get("backends"), list)
    if not is_ours or type(whole.get("version")) is not int:
        raise Unfit("dsrlb did not write it")
    if whole["version"] != VERSION:
        raise Unfit(f"it is of version {str(whole['version'])[:20]}, and this dsrlb knows {VERSION}")
    entries: list[Any] = whole["backends"]
    return entries


def _shortened(wrong: list[str]) -> Iterator[str]:
    yield from wrong[:MOST_TOLD]
    if len(wrong) > MOST_TOLD:
        yield f"{len(wrong) - MOST_TOLD} more entries are like that"


def _entry(entry: object) -> tuple[Person, Kept]:
    if not isinstance(entry, dict):
        raise Unfit("an entry is no object")
    service, backend = entry.get("service"), entry.get("backend")
    if not isinstance(service, str) or not isinstance(backend, str):
        raise Unfit("an entry does not name its service and backend")
    said = {name: value for name, value in entry.items() if name not in ("service", "backend")}
    if not said.keys() <= asdict(NOTHING).keys() or not _is_right(kept := replace(NOTHING, **said)):
        raise Unfit(f"what it says of {_words((service, backend))} is malformed")
    return (service, backend), kept


def _words(person: Person) -> str:
    service, backend = person
    return f"backend {backend[:80]!r} of {service[:80]!r}"


def _is_right(kept: Kept) -> bool:
    weight, until = kept.weight, kept.until
    return (
        isinstance(kept.enabled, bool)
        and isinstance(kept.drained, bool)
        and (weight is None or (type(weight) is int and 0 <= weight <= MAX_WEIGHT))
        and (until is None or (type(until) in (int, float) and 0 <= until <= LATEST))
    )
