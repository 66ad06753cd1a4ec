"""Which machine is reached by which way: the words of ``--via``, where it may be given several times."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from dsrlb.errors import UsageError
from dsrlb.host.via import Via, via_in

_WORD = re.compile(r"(?:(?P<name>[^=]*)=)?(?P<way>(?:ssh|netns|local)\b.*)", re.DOTALL)
_PLACE = re.compile(r"\{[^}]*\}")
_SAY = "say NAME= before it, or {name} or {address} in it"


def vias_for(
    texts: Sequence[str], addresses: Mapping[str, str], by_name_only: Collection[str] = ()
) -> dict[str, Via]:
    """Return the way to each machine for which ``[NAME=]WAY`` gives one; ``{name}``, ``{address}`` are its.

    ``addresses``: the machines by name.  A way without NAME serves all but those ``by_name_only``.
    Raises UsageError for a malformed way, an unknown name, and two ways to one machine.
    """
    of_all: dict[str, Via] = {}
    of_one: dict[str, Via] = {}
    for text in texts:
        match = _WORD.fullmatch(text)
        name, way = match.group("name", "way") if match is not None else (None, text)
        if name is not None and name not in addresses:
            known = ", ".join(addresses) or "none"
            raise UsageError(f"--via {text[:80]!r}: {name!r} is none of the machines asked for ({known})")
        chosen = of_all if name is None else of_one
        served = [one for one in addresses if one not in by_name_only]
        if match is not None and name is None and len(served) > 1 and not _PLACE.search(way):
            raise UsageError(f"--via {text[:80]!r} leads {' and '.join(served[:2])} to one machine; {_SAY}")
        for one in addresses if name is None else (name,):
            if one in chosen:
                raise UsageError(f"--via {text[:80]!r}: there is another one for {one}; give one of them")
            if name is not None or one not in by_name_only:
                chosen[one] = _via(way, one, addresses[one])
    return {one: (of_one.get(one) or of_all[one]) for one in addresses if one in of_one or one in of_all}


def _via(way: str, name: str, address: str) -> Via:
    bracketed = f"[{address}]" if ":" in address and way.startswith("ssh:") else address
    said = way.replace("{name}", name).replace("{address}", bracketed)
    left = _PLACE.search(said)
    if left is not None:
        raise UsageError(f"--via {way[:80]!r}: {left[0]!r} is not one of {{name}} and {{address}}")
    return via_in(said)
