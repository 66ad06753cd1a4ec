"""``dsrlb trace``: decisions of the engine, for one who asks again and again what there is.

::

    begin ──► the engine is made ready, on a thread beside ──► answered; from now on decisions wait
    more  ──► those that wait
    end   ──► the last ones, and the engine is as before; so it is when nobody asks for a while
"""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from datetime import datetime, timezone
from functools import partial
from itertools import count
from typing import Any

from dsrlb.admin.choosing import backends_of, services_of
from dsrlb.admin.flows import network
from dsrlb.admin.server import Reply
from dsrlb.admin.words import Words, take, told
from dsrlb.config import Config
from dsrlb.control import Loop
from dsrlb.control.ticks import Tick
from dsrlb.engines.tracing import FRAME_BYTES, HEADERS_BYTES, HOSTS_OWN, Decision, SentFrame, Tracer, Wanted
from dsrlb.errors import DsrlbError, UsageError
from dsrlb.model import Action, Reason, person_address, person_backend, person_end
from dsrlb.modes.proxy import PROXY
from dsrlb.standing import key_of, named
from dsrlb.wire.glance import Glance, glance

LEFT_AFTER_S = 5.0  # whoever has not asked for so long is gone
GIVES_WAY_AFTER_S = 1.0  # ... and makes room for another one
MOST_AT_ONCE = 500  # decisions in an answer
MOST_EVERY = 1 << 31
_WORDS = {Action.PASS: "pass", Action.DROP: "drop", Action.TX: "sent", Action.REDIRECT: "sent"}
_OURS = [one.word for one in Reason if one not in HOSTS_OWN]
_NUMBERS = count(1)

Row = dict[str, Any]


class Trace:
    """A trace that somebody has begun."""

    def __init__(self, loop: Loop, wanted: Wanted, *, with_frames: bool) -> None:
        self.number = next(_NUMBERS)
        self._loop, self._wanted, self._with_frames = loop, wanted, with_frames
        self._tracer: Tracer | None = None
        self._asked_s = time.monotonic()
        self._tick = Tick(LEFT_AFTER_S / 5, self._look_for_reader)
        loop.trace = self
        loop.ticks.append(self._tick)

    def begin(self, tracer: Tracer) -> None:
        """Begin to hear decisions."""
        self._tracer, self._asked_s = tracer, time.monotonic()
        tracer.begin(self._wanted)

    def more(self) -> Row:
        """Return what has been heard since this was asked last, and how much was lost in all."""
        self._asked_s = time.monotonic()
        if self._tracer is None:
            return {"decisions": [], "lost": 0}
        heard = self._tracer.take(MOST_AT_ONCE)
        rows = _Rows(self._loop, with_frames=self._with_frames)
        return {"decisions": list(map(rows.row, heard)), "lost": self._tracer.lost}

    def end(self) -> None:
        """Hear no more; harmless when repeated."""
        self._loop.ticks = [one for one in self._loop.ticks if one is not self._tick]
        if self._loop.trace is self:
            self._loop.trace = None
        if self._tracer is not None:
            self._tracer.close()

    def is_left(self, after_s: float) -> bool:
        """Return whether nobody has asked for so long; while the engine is made ready nobody can."""
        return self._tracer is not None and time.monotonic() - self._asked_s > after_s

    def _look_for_reader(self) -> None:
        if self.is_left(LEFT_AFTER_S):
            self.end()


def handle_trace(loop: Loop, words: Words, reply: Reply) -> None:
    """Do what is asked, and reply: now, or when the engine is ready."""
    step = words.pop("step", None)
    if step == "begin":
        return _begin(loop, words, reply)
    if step not in ("more", "end"):
        raise UsageError(f"a trace cannot be to do {step!r}; there are begin, more, end")
    number = take(words, {"trace": int})["trace"]
    trace = loop.trace
    if trace is None or trace.number != number:
        raise DsrlbError("this trace is over: nobody has asked for seconds what it heard; begin another one")
    answer = trace.more()
    if step == "end":
        trace.end()
    reply({"ok": True, "answer": answer})


def _begin(loop: Loop, words: Words, reply: Reply) -> None:
    before = loop.trace
    if before is not None and before.is_left(GIVES_WAY_AFTER_S):
        before.end()
    elif before is not None:
        raise DsrlbError("somebody traces this dsrlb already, which only one can at a time; try again later")
    kinds = {"client": str, "service": str, "backend": str, "reason": str, "every": int, "frames": bool}
    said = take(words, kinds)
    with_frames = bool(said.pop("frames"))
    wanted = wanted_by(loop.config, most_bytes=FRAME_BYTES if with_frames else HEADERS_BYTES, **said)
    trace = Trace(loop, wanted, with_frames=with_frames)
    engine = loop.engine

    def make_ready() -> None:
        found: Tracer | Exception
        try:
            found = engine.tracer()
        except Exception as error:
            found = error
        loop.events.put(("call", partial(_go_on, trace, found, reply)))

    threading.Thread(target=make_ready, name="trace", daemon=True).start()


def _go_on(trace: Trace, found: Tracer | Exception, reply: Reply) -> None:
    """Begin, now that the engine is ready, or not."""
    with told(reply):
        try:
            if isinstance(found, Exception):
                raise found
            trace.begin(found)
        except BaseException:
            trace.end()
            raise
        reply({"ok": True, "answer": {"trace": trace.number}})


def wanted_by(
    config: Config,
    most_bytes: int,
    client: str | None = None,
    service: str | None = None,
    backend: str | None = None,
    reason: str | None = None,
    every: int | None = None,
) -> Wanted:
    """Return what is asked for.  Raises UsageError."""
    among = services_of(config.services, service) if service is not None else []
    if among and all(one.mode == PROXY.name for one in among):
        raise UsageError(
            f"service {service} is of mode proxy: its connections end here, and no frame is decided on"
        )
    every = 1 if every is None else every
    if not 1 <= every <= MOST_EVERY:
        raise UsageError(f"every {every} is not 1 to {MOST_EVERY}")
    chosen = backends_of(config.services, backend, service) if backend is not None else []
    return Wanted(
        reasons=frozenset(map(_reason, reason.split(",") if reason is not None else _OURS)),
        client=network(client) if client is not None else None,
        services=frozenset(map(key_of, among)) if service is not None else None,
        backends=frozenset(names for names, _, _ in chosen) if backend is not None else None,
        every=every,
        most_bytes=most_bytes,
    )


def _reason(word: str) -> Reason:
    for one in Reason:
        if one.word == word.strip():
            return one
    raise UsageError(
        f"no reason is {word!r}; dsrlb show counters has those that there were, docs/REASONS.md all"
    )


def interface_names(loop: Loop) -> dict[int, str]:
    """Return the names of the interfaces that frames come in or leave by."""
    links = [*loop.front.links.values(), *(way.link for way in loop.backends.ways.values())]
    return {one.ifindex: one.name for one in links}


class _Rows:
    """Decisions as plain values."""

    def __init__(self, loop: Loop, *, with_frames: bool) -> None:
        self._with_frames = with_frames
        self._interfaces = interface_names(loop)
        services = loop.config.services
        self._services = {key_of(one): (one.name, one.label) for one in services}
        self._backends = {names: its.label for one in services for names, its in named(one)}
        self._since_1970_ns = time.time_ns() - time.monotonic_ns()

    def row(self, decision: Decision) -> Row:
        """Return a decision."""
        service, backend = decision.service, decision.backend
        seen = glance(decision.frame or (decision.sent[0].frame if decision.sent else b""))
        name, label = self._services.get(service or b"", ("", ""))
        at_ns = decision.at_ns + self._since_1970_ns
        at = datetime.fromtimestamp(at_ns // 1_000_000_000, timezone.utc)
        return {
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{at_ns // 1000 % 1_000_000:06}Z",
            "at_ns": at_ns,
            "by": decision.by,
            "verdict": _WORDS[Action(decision.action)],
            "reason": decision.reason.word,
            "interface": self._name(decision.ifindex),
            **_flow(seen),
            "service": name,
            "service_name": label,
            "backend": person_backend(backend) if backend is not None else "",
            "name": self._backends.get((service or b"", backend or b""), ""),
            "bytes": decision.frame_bytes,
            "sent": [self._sent(one) for one in decision.sent],
            **({"frame": _text(decision.frame)} if self._with_frames else {}),
        }

    def _sent(self, one: SentFrame) -> Row:
        row = {"interface": self._name(one.ifindex), "bytes": one.frame_bytes}
        return {**row, "frame": _text(one.frame)} if self._with_frames else row

    def _name(self, ifindex: int) -> str:
        return self._interfaces.get(ifindex, f"if{ifindex}" if ifindex else "")


def _flow(seen: Glance) -> Row:
    """Return from whom a frame is, to whom, and what it is."""
    src, dst = (person_address(one) if one else "" for one in (seen.src, seen.dst))
    if seen.ports:
        sport, dport = (int.from_bytes(seen.ports[at : at + 2], "big") for at in (0, 2))
        src, dst = person_end(src, sport), person_end(dst, dport)
    return {"from": src, "to": dst, "kind": seen.kind, "says": seen.says}


def _text(frame: bytes) -> str:
    return b64encode(frame).decode()
