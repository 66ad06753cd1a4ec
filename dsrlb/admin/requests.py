"""What can be asked of a running balancer; all of it runs on the control loop's thread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from dsrlb import __version__
from dsrlb.admin import shown, shown_health, shown_table
from dsrlb.admin.asking import DEFAULT_LIMIT, MAX_LIMIT
from dsrlb.admin.explaining import explain
from dsrlb.admin.flows import GO_ON_FOR_S, Look, unrecorded, wanted_by
from dsrlb.admin.planning import begin_plan, tell_history
from dsrlb.admin.server import Reply, Request, failed
from dsrlb.admin.shown import seen_of
from dsrlb.admin.steering import VERBS, steer
from dsrlb.admin.tracing import handle_trace, interface_names
from dsrlb.admin.words import Words, take, told
from dsrlb.control import Loop
from dsrlb.control.planning import digest
from dsrlb.control.proxy_seen import haproxy_seen
from dsrlb.errors import ConfigError, UsageError
from dsrlb.host.bpf_attach import on_xdp


def handle(loop: Loop, request: Request, reply: Reply) -> None:
    """Do what is asked, and reply: now, or when a reload or a look for flows is over."""
    with told(reply):
        words = dict(request)
        verb = words.pop("do", None)
        if verb == "reload":
            take(words, {})
            loop.begin_reload(lambda problems: reply(_of_reload(problems)))
        elif verb == "apply":
            loop.history.going_back_to(take(words, {"number": int})["number"])
            loop.begin_reload(lambda problems: reply(_of_apply(problems, loop)))
        elif verb == "plan":
            begin_plan(loop, words, reply)
        elif verb == "history":
            tell_history(loop, words, reply)
        elif (verb, words.get("what")) == ("show", "flows"):
            _go_on(loop, _look_for_flows(loop, words), reply)
        elif (verb, words.get("what")) == ("show", "table"):
            _gather(loop, _table_rows(loop, words), [], reply)
        elif verb == "explain":
            reply({"ok": True, "answer": explain(loop, words)})
        elif verb == "trace":
            handle_trace(loop, words, reply)
        elif isinstance(verb, str) and verb in VERBS:
            steer(loop, verb, words, reply)
        else:
            answer = _answer(loop, verb, words)
            loop.totals.when_kept(lambda: reply({"ok": True, "answer": answer}))


def _of_reload(problems: Sequence[str]) -> dict[str, Any]:
    if problems:
        return failed("\n".join(problems), ConfigError.exit_code)
    return {"ok": True, "answer": None}


def _of_apply(problems: Sequence[str], loop: Loop) -> dict[str, Any]:
    """Return the answer to a reload of what was planned: what has moved."""
    loop.history.going_back_to(None)
    if problems:
        return _of_reload(problems)
    return {"ok": True, "answer": {"digest": digest(loop.config), "services": loop.moved}}


def _answer(loop: Loop, verb: object, words: Words) -> Any:
    if verb == "show":
        what = words.pop("what", None)
        if not isinstance(what, str) or what not in SHOWN:
            raise UsageError(
                f"nothing is shown as {what!r}; there are {', '.join((*SHOWN, 'flows', 'table'))}"
            )
        return SHOWN[what](loop, words)
    verbs = ", ".join(("show", *VERBS, "reload", "plan", "apply", "history", "explain", "trace"))
    raise UsageError(f"a request cannot be to do {verb!r}; there are {verbs}")


# ------------------------------------------------------------------------- seeing


def _services(loop: Loop, words: Words) -> Any:
    return shown.service_rows(seen_of(loop), **take(words, {"service": str}))


def _backends(loop: Loop, words: Words) -> Any:
    return shown.backend_rows(seen_of(loop), **take(words, {"backend": str, "service": str}))


def _table_rows(loop: Loop, words: Words) -> Iterator[Any]:
    words.pop("what")
    said = take(words, {"service": str})
    return shown_table.rows(seen_of(loop), interface_names(loop), **said)


def _gather(loop: Loop, rows: Iterator[Any], so_far: list[Any], reply: Reply) -> None:
    """Gather rows of one moment a while longer, and again after whatever else has happened meanwhile."""
    with told(reply):
        until_s = time.monotonic() + GO_ON_FOR_S
        for row in rows:
            so_far.append(row)
            if time.monotonic() > until_s:
                return loop.events.put(("call", partial(_gather, loop, rows, so_far, reply)))
        reply({"ok": True, "answer": so_far})


def _health(loop: Loop, words: Words) -> Any:
    said = take(words, {"backend": str, "service": str})
    return shown_health.rows(seen_of(loop), loop.checks.records(), loop.checks.remarks, **said)


def _counters(loop: Loop, words: Words) -> Any:
    take(words, {})
    return shown.counter_rows(seen_of(loop))


def _look_for_flows(loop: Loop, words: Words) -> Look:
    words.pop("what")
    said = take(words, {"client": str, "backend": str, "service": str, "limit": int})
    limit = said.pop("limit")
    limit = DEFAULT_LIMIT if limit is None else limit
    if not 1 <= limit <= MAX_LIMIT:
        raise UsageError(f"limit {limit} is not 1 to {MAX_LIMIT}")
    return Look(loop.engine.flows(), wanted_by(loop.config, **said), loop.config.services, limit)


def _go_on(loop: Loop, look: Look, reply: Reply) -> None:
    """Look for flows a moment longer, and again after whatever else has happened meanwhile."""
    with told(reply):
        if look.go_on():
            loop.events.put(("call", partial(_go_on, loop, look, reply)))
            return
        counted = shown.on_record(loop.engine.counters())
        more = {
            "on_record": counted,
            "unrecorded": unrecorded(loop.engine.table),
            "proxied": [one.name for one in loop.config.proxied],
        }
        reply({"ok": True, "answer": {**look.answer(), **more}})


def _engines(loop: Loop, words: Words) -> Any:
    take(words, {})
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
            "haproxy": _haproxy_of(loop),
            "file": config.origin.file if config.origin is not None else None,
        }
    ]


def _haproxy_of(loop: Loop) -> Any:
    """Return what HAProxy serves the services of mode proxy; None where there are none."""
    seen = haproxy_seen(loop.proxied)
    if seen is None:
        return None
    return {
        "version": seen.version,
        "pid": seen.pid,
        "since": None if seen.since_s is None else int(seen.since_s),
        "is_serving": seen.is_serving,
        "reloads": seen.reloads,
        "restarts": seen.restarts,
        "services": len(seen.services),
    }


def _haproxy(loop: Loop, words: Words) -> Any:
    take(words, {})
    if not loop.config.proxied:
        raise UsageError("no service is of mode proxy, so there is no HAProxy")
    return {"configuration": loop.proxied.text(), "file": str(loop.proxied.places.configuration)}


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
    "haproxy": _haproxy,
    "health": _health,
}
