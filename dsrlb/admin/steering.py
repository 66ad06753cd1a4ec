"""Drain, undrain, enable, disable, weight: what an operator changes of backends, and how they stand then."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from dsrlb.admin import shown
from dsrlb.admin.choosing import Chosen, backends_of, service_words
from dsrlb.admin.server import Reply
from dsrlb.admin.shown import seen_of
from dsrlb.admin.words import Words, take, told
from dsrlb.config import MAX_TIMEOUT_S, MAX_WEIGHT
from dsrlb.control import Loop
from dsrlb.errors import DsrlbError, UsageError
from dsrlb.model import Service
from dsrlb.standing import CONFIGURED, Names, Wish, key_of, takes_new

VERBS = ("drain", "undrain", "enable", "disable", "weight")


def steer(loop: Loop, verb: str, words: Words, reply: Reply) -> None:
    """Take over a wish for backends; reply how they stand then, when it is durable if it is to be that.

    Raises UsageError.
    """
    wish, within_s = _wish(verb, words)
    said = take(words, {"backend": str, "service": str, "durable": bool})
    if said["backend"] is None:
        raise UsageError("the request does not say which backend")
    found = backends_of(loop.config.services, said["backend"], said["service"])
    wishes = {names: _brought_back(loop, names, wish) for names, _, _ in found}
    now_s = time.monotonic()
    loop.wishes.hear(wishes, now_s, within_s)
    trouble = _follow(loop)
    end = partial(_end, loop, wish, found, reply, trouble)
    if not said["durable"]:
        return end(None)
    loop.wishes.keep(wishes, lambda error: loop.events.put(("call", partial(end, error))), now_s)


def _wish(verb: str, words: Words) -> tuple[Wish, int | None]:
    """Return what is wished, and within how many seconds a drain is to be over."""
    match verb:
        case "drain":
            within_s = _within(words.pop("within", None))
            return Wish(drained=True, gone=None if within_s is None else False), within_s
        case "undrain":
            return Wish(drained=False, gone=False), None
        case "weight":
            return Wish(weight=_weight(words.pop("weight", None))), None
        case _:
            return Wish(enabled=verb == "enable"), None


def _brought_back(loop: Loop, names: Names, wish: Wish) -> Wish:
    """Return a wish that brings back what it enables, where a drain was over."""
    standing = loop.standings.of.get(names)
    if wish.enabled and standing is not None and standing.gone:
        return Wish(enabled=True, drained=False, gone=False)
    return wish


def _within(value: object) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= MAX_TIMEOUT_S:
        raise UsageError(f"within {value!r} is not a whole number of seconds from 0 to {MAX_TIMEOUT_S}")
    return value


def _weight(value: object) -> int:
    if value == "configured":
        return CONFIGURED
    if type(value) is not int or not 0 <= value <= MAX_WEIGHT:
        raise UsageError(
            f"weight {value!r} is neither a whole number from 0 to {MAX_WEIGHT} nor 'configured'"
        )
    return value


def _follow(loop: Loop) -> str:
    """Have the engine go by what holds now; return why it does not."""
    try:
        loop.look_again()
    except (DsrlbError, OSError) as error:
        return f"noted, but the engine could not follow yet ({error}); it goes on trying"
    return ""


def _end(
    loop: Loop, wish: Wish, found: Sequence[Chosen], reply: Reply, trouble: str, error: DsrlbError | None
) -> None:
    """Reply how the backends stand, or what is not as it was wished."""
    with told(reply):
        if error is not None:
            raise DsrlbError(f"{trouble or 'this holds'}, but only until dsrlb ends: {error}")
        if trouble:
            raise DsrlbError(trouble)
        reply({"ok": True, "answer": _answer(loop, wish, found)})


def _answer(loop: Loop, wish: Wish, found: Sequence[Chosen]) -> dict[str, Any]:
    seen, there = seen_of(loop), set(loop.standings.of)
    still = [one for one in found if one[0] in there]  # a reload may have come between
    return {"backends": [shown.backend_row(seen, one) for one in still], "notes": _notes(loop, wish, still)}


def _notes(loop: Loop, wish: Wish, found: Sequence[Chosen]) -> list[str]:
    """Return what may surprise who asked for it."""
    services = dict.fromkeys(service for _, service, _ in found)
    notes = [
        f"{service_words(one)} has no backend for new flows now"
        for one in services
        if not takes_new(one, loop.standings.of)
    ]
    if wish.drained:
        notes += _unknown_yet(loop, services)
    if wish.weight is not None and wish.weight > 0:
        notes += [
            f"{service_words(one)}: scheduler {one.scheduler} gives all weights above 0 the same"
            for one in services
            if not shown.weight_is_heeded(one)
        ]
    return notes


def _unknown_yet(loop: Loop, services: Iterable[Service]) -> Iterator[str]:
    """Yield of which services it is not known yet which flows a drained backend has."""
    for service in services:
        compiled = loop.engine.table.services.get(key_of(service))
        if compiled is not None and compiled.former is not None and not compiled.records_all:
            in_s = max(0, int(compiled.former.until_s - time.monotonic()))
            yield (
                f"{service_words(service)}: with {service.scheduler} flows are put on record as they are "
                f"seen; that none is left is known in {in_s} s"
            )
