"""What can be asked of a running balancer; all of it runs on the control loop's thread."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from dsrlb import __version__
from dsrlb.admin import shown
from dsrlb.admin.asking import DEFAULT_LIMIT, MAX_LIMIT
from dsrlb.admin.choosing import Chosen, backends_of, service_words
from dsrlb.admin.flows import Look, unrecorded, wanted_by
from dsrlb.admin.server import Reply, Request, failed
from dsrlb.admin.shown import Seen
from dsrlb.config import MAX_WEIGHT
from dsrlb.control import Loop
from dsrlb.errors import ConfigError, DsrlbError, UsageError
from dsrlb.host.bpf_attach import on_xdp
from dsrlb.standing import CONFIGURED, Wish, takes_new

log = logging.getLogger("dsrlb")

Words = dict[str, Any]  # what was said beside "do" and "show"


def handle(loop: Loop, request: Request, reply: Reply) -> None:
    """Do what is asked, and reply: now, or when a reload or a look for flows is over."""
    with _told(reply):
        words = dict(request)
        verb = words.pop("do", None)
        if verb == "reload":
            _take(words, {})
            loop.begin_reload(lambda problems: reply(_of_reload(problems)))
        elif (verb, words.get("what")) == ("show", "flows"):
            _go_on(loop, _look_for_flows(loop, words), reply)
        else:
            reply({"ok": True, "answer": _answer(loop, verb, words)})


@contextmanager
def _told(reply: Reply) -> Iterator[None]:
    """Answer with what goes wrong."""
    try:
        yield
    except DsrlbError as error:
        reply(failed(str(error), error.exit_code))
    except Exception as error:
        log.debug("traceback", exc_info=True)
        reply(failed(f"{type(error).__name__}: {error}; please report this", DsrlbError.exit_code))


def _of_reload(problems: Sequence[str]) -> dict[str, Any]:
    if problems:
        return failed("\n".join(problems), ConfigError.exit_code)
    return {"ok": True, "answer": None}


def _answer(loop: Loop, verb: object, words: Words) -> Any:
    if verb == "show":
        what = words.pop("what", None)
        if not isinstance(what, str) or what not in SHOWN:
            raise UsageError(f"nothing is shown as {what!r}; there are {', '.join((*SHOWN, 'flows'))}")
        return SHOWN[what](loop, words)
    if isinstance(verb, str) and verb in WISHES:
        return _steer(loop, WISHES[verb], words)
    if verb == "weight":
        weight = _weight(words.pop("weight", None))
        return _steer(loop, Wish(weight=weight), words)
    verbs = ", ".join(("show", *WISHES, "weight", "reload"))
    raise UsageError(f"a request cannot be to do {verb!r}; there are {verbs}")


WISHES = {
    "drain": Wish(drained=True),
    "undrain": Wish(drained=False),
    "enable": Wish(enabled=True),
    "disable": Wish(enabled=False),
}


def _take(words: Words, kinds: dict[str, type]) -> dict[str, Any]:
    """Return what was said under these names, None for what was not.  UsageError for anything else."""
    for name, value in words.items():
        if name not in kinds:
            raise UsageError(f"this request has no {name!r}")
        if value is not None and (not isinstance(value, kinds[name]) or isinstance(value, bool)):
            raise UsageError(f"{name} {value!r} is not {'a text' if kinds[name] is str else 'a number'}")
    return {name: words.get(name) for name in kinds}


# ------------------------------------------------------------------------- seeing


def _seen(loop: Loop) -> Seen:
    return Seen(loop.config, loop.standings.of, loop.engine.table, loop.engine.counters())


def _services(loop: Loop, words: Words) -> Any:
    return shown.service_rows(_seen(loop), **_take(words, {"service": str}))


def _backends(loop: Loop, words: Words) -> Any:
    return shown.backend_rows(_seen(loop), **_take(words, {"backend": str, "service": str}))


def _counters(loop: Loop, words: Words) -> Any:
    _take(words, {})
    return shown.counter_rows(_seen(loop))


def _look_for_flows(loop: Loop, words: Words) -> Look:
    words.pop("what")
    said = _take(words, {"client": str, "backend": str, "service": str, "limit": int})
    limit = said.pop("limit")
    limit = DEFAULT_LIMIT if limit is None else limit
    if not 1 <= limit <= MAX_LIMIT:
        raise UsageError(f"limit {limit} is not 1 to {MAX_LIMIT}")
    return Look(loop.engine.flows(), wanted_by(loop.config, **said), loop.config.services, limit)


def _go_on(loop: Loop, look: Look, reply: Reply) -> None:
    """Look for flows a moment longer, and again after whatever else has happened meanwhile."""
    with _told(reply):
        if look.go_on():
            loop.events.put(("call", partial(_go_on, loop, look, reply)))
            return
        counted = shown.on_record(loop.engine.counters())
        more = {"on_record": counted, "unrecorded": unrecorded(loop.engine.table)}
        reply({"ok": True, "answer": {**look.answer(), **more}})


def _engines(loop: Loop, words: Words) -> Any:
    _take(words, {})
    engine, config = loop.engine, loop.config
    return [
        {
            "engine": engine.name,
            "instance": loop.choice.instance,
            "version": __version__,
            "pid": os.getpid(),
            "interfaces": {one.name: _place(engine.name, one.ifindex) for one in loop.front.links.values()},
            "outlives_process": engine.outlives,
            "services": len(config.services),
            "backends": sum(len(one.backends) for one in config.services),
            "flows_on_record": shown.on_record(engine.counters()),
            "max_flows": engine.max_flows,
            "file": config.origin.file if config.origin is not None else None,
        }
    ]


def _place(engine: str, ifindex: int) -> str:
    """Return where on an interface frames are taken."""
    if engine != "xdp":
        return "socket"
    there = on_xdp(ifindex)
    return there.mode if there is not None else "none"


SHOWN: dict[str, Callable[[Loop, Words], Any]] = {
    "services": _services,
    "backends": _backends,
    "counters": _counters,
    "engines": _engines,
}


# ------------------------------------------------------------------------- steering


def _weight(value: object) -> int:
    if value == "configured":
        return CONFIGURED
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_WEIGHT:
        raise UsageError(
            f"weight {value!r} is neither a whole number from 0 to {MAX_WEIGHT} nor 'configured'"
        )
    return value


def _steer(loop: Loop, wish: Wish, words: Words) -> Any:
    """Take over a wish for backends, and return how they stand then."""
    said = _take(words, {"backend": str, "service": str})
    if said["backend"] is None:
        raise UsageError("the request does not say which backend")
    found = backends_of(loop.config.services, **said)
    now_s = time.monotonic()
    for names, _, _ in found:
        loop.standings.hear(names, wish, now_s)
    try:
        loop.reconcile(loop.backends.resolver.known(now_s))
    except (DsrlbError, OSError) as error:
        raise DsrlbError(
            f"noted, but the engine could not follow yet ({error}); it goes on trying"
        ) from error
    seen = _seen(loop)
    return {"backends": [shown.backend_row(seen, one) for one in found], "notes": _notes(loop, wish, found)}


def _notes(loop: Loop, wish: Wish, found: Sequence[Chosen]) -> list[str]:
    """Return what may surprise who asked for it."""
    services = dict.fromkeys(service for _, service, _ in found)
    notes = [
        f"{service_words(one)} has no backend for new flows now"
        for one in services
        if not takes_new(one, loop.standings.of)
    ]
    if wish.weight is not None and wish.weight > 0:
        notes += [
            f"{service_words(one)}: scheduler {one.scheduler} gives all weights above 0 the same"
            for one in services
            if not shown.weight_is_heeded(one)
        ]
    return notes
