"""What of the operator's word is to hold over restarts, as a file has it.  Pure.

::

    {"version": 1,
     "backends": [{"service": "198.18.1.100:80/tcp", "backend": "198.18.1.11",
                   "drained": true, "until": 1764440000.0, "enabled": false, "weight": 5}]}

What is as configured is left out.  ``until`` is the end of a drain, in seconds since 1970.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from dsrlb.config import MAX_WEIGHT
from dsrlb.standing import CONFIGURED, Names, Wish

VERSION = 1
MOST_BYTES = 16 << 20
MOST_TOLD = 8  # entries that are wrong


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
People = Mapping[tuple[str, str], Names]  # service and backend as a person writes them
Entry = tuple[Names, Kept]


class Unfit(Exception):
    """A file says nothing that can be used; the message says why."""


def after(kept: Kept, wish: Wish, until: float | None) -> Kept:
    """Return what is kept after another word of the operator; ``until``: the end of a drain that it sets."""
    weight = kept.weight if wish.weight is None else wish.weight
    drained = kept.drained if wish.drained is None else wish.drained
    return replace(
        kept,
        enabled=kept.enabled if wish.enabled is None else wish.enabled,
        drained=drained,
        weight=None if weight == CONFIGURED else weight,
        until=(kept.until if until is None else until) if drained else None,
    )


def written(of: Mapping[Names, Kept], people: People) -> bytes:
    """Return the file's content; backends that nobody knows any more are left out."""
    said = {names: person for person, names in people.items()}
    entries = [
        {"service": said[names][0], "backend": said[names][1], **_differing(kept)}
        for names, kept in of.items()
        if names in said and kept != NOTHING
    ]
    return json.dumps({"version": VERSION, "backends": entries}, indent=1).encode() + b"\n"


def _differing(kept: Kept) -> dict[str, Any]:
    usual = asdict(NOTHING)
    return {name: value for name, value in asdict(kept).items() if value != usual[name]}


def read(content: bytes, people: People) -> tuple[dict[Names, Kept], list[str]]:
    """Return what a file keeps, and what is wrong with entries that are left out.  Unfit: all of it is."""
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        raise Unfit("it is no JSON") from None
    if not isinstance(whole, dict) or not isinstance(whole.get("backends"), list) or "version" not in whole:
        raise Unfit("dsrlb did not write it")
    if whole["version"] != VERSION:
        raise Unfit(f"it is of version {str(whole['version'])[:20]}, and this dsrlb knows {VERSION}")
    entries, wrong = [], []
    for entry in whole["backends"]:
        try:
            entries.append(_entry(entry, people))
        except Unfit as unfit:
            wrong.append(str(unfit))
    return dict(entries), list(_shortened(wrong))


def _shortened(wrong: list[str]) -> Iterator[str]:
    yield from wrong[:MOST_TOLD]
    if len(wrong) > MOST_TOLD:
        yield f"{len(wrong) - MOST_TOLD} more entries cannot be used"


def _entry(entry: object, people: People) -> Entry:
    if not isinstance(entry, dict):
        raise Unfit("an entry is no object")
    service, backend = (str(entry.get(name))[:80] for name in ("service", "backend"))
    names = people.get((service, backend))
    if names is None:
        raise Unfit(f"backend {backend!r} of {service!r} is not configured")
    said = {name: value for name, value in entry.items() if name not in ("service", "backend")}
    if not said.keys() <= asdict(NOTHING).keys() or not _is_right(kept := replace(NOTHING, **said)):
        raise Unfit(f"what it says of backend {backend} of {service} is malformed")
    return names, kept


def _is_right(kept: Kept) -> bool:
    weight, until = kept.weight, kept.until
    return (
        isinstance(kept.enabled, bool)
        and isinstance(kept.drained, bool)
        and (weight is None or (type(weight) is int and 0 <= weight <= MAX_WEIGHT))
        and (until is None or (type(until) in (int, float) and math.isfinite(until)))
    )
