"""What cannot work of the limits of mode proxy, a sentence each, at its key."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.config.draft import Draft
from dsrlb.config.places import Path, Problem
from dsrlb.proxying import Network

BY_REQUEST = ("requests", "header_timeout", "body_timeout", "max_body", "max_headers")
COUNTED = ("requests", "new_connections", "connections")
REFUSING = (*COUNTED, "max_body", "max_headers", "deny", "queue")
BESIDE = {
    "prefix4": COUNTED,
    "prefix6": COUNTED,
    "answer": (*COUNTED, "max_body", "max_headers", "deny"),
    "allow": REFUSING,
    "shadow": REFUSING,
}


def limits_problems(draft: Draft, at: Path) -> Iterator[Problem]:
    """Yield what is wrong with the limits of a service of mode proxy."""
    given, here = draft.limits or {}, (*at, "limits")
    if (draft.proxy or {}).get("layer", 4) == 4:
        yield from _by_request(draft, here)
    for name, others in BESIDE.items():
        if given.get(name) and not any(one in given for one in others):
            yield Problem(
                (*here, name), f"{draft.name}: {name} is of use with {_either(others)} only; leave it out"
            )
    is_limited = any(one is not None and one.max_connections for one in draft.backends)
    for name in ("queue", "queue_timeout"):
        if name in given and not is_limited and None not in draft.backends:
            yield Problem(
                (*here, name),
                f"{draft.name}: {name} is of use with max_connections of a backend only; give them that",
            )
    yield from _denied_in_vain(draft, here)


def _by_request(draft: Draft, here: Path) -> Iterator[Problem]:
    given = draft.limits or {}
    for name in BY_REQUEST:
        if name in given:
            yield Problem(
                (*here, name),
                f"{draft.name}: {name} is about HTTP requests; add layer = 7 in its proxy, or leave it out",
            )
    if (answer := given.get("answer")) in ("429", "tarpit"):
        yield Problem(
            (*here, "answer"),
            f"{draft.name}: answer {answer} is for HTTP requests; take deny or drop, or add layer = 7 in its "
            "proxy",
        )


def _denied_in_vain(draft: Draft, here: Path) -> Iterator[Problem]:
    given = draft.limits or {}
    for denied in given.get("deny") or ():
        over = next((one for one in given.get("allow") or () if _holds(one, denied)), None)
        if over is not None:
            yield Problem(
                (*here, "deny"),
                f"{draft.name}: deny {denied} can never match, since allow {over} comes first and takes all "
                "of it; leave either out",
            )


def _holds(wide: Network, narrow: Network) -> bool:
    return (
        wide.version == narrow.version
        and wide.prefixlen <= narrow.prefixlen
        and (narrow.network_address in wide)
    )


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
