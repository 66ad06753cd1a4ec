"""Plans and configurations that were in force: asked of a control loop, worked out beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from dsrlb.admin.server import Reply
from dsrlb.admin.words import Words, take, told
from dsrlb.config import Config, config_in
from dsrlb.control import Loop
from dsrlb.control.left import refuse_left
from dsrlb.control.planning import Moment, Row, plan
from dsrlb.control.proxy_foreseen import foreseen
from dsrlb.errors import DsrlbError, UsageError
from dsrlb.model import Address
from dsrlb.table import ForwardingTable

MOST_NAME = 4096  # characters


def begin_plan(loop: Loop, words: Words, reply: Reply) -> None:
    """Reply what a configuration would change that took over now; after reloads that are under way."""
    said = take(words, {"content": str, "name": str})
    if said["content"] is None:
        raise UsageError("the request has no content of a configuration to plan")
    content, name = said["content"].encode(errors="replace"), (said["name"] or "dsrlb.toml")[:MOST_NAME]
    loop.reloads.beside(partial(_begin, loop, content, name, reply))


def _begin(loop: Loop, content: bytes, name: str, reply: Reply) -> None:
    """Work on a plan on a thread of its own; the control loop ends it."""
    with told(_after(loop.reloads.free, reply)):
        work = partial(_work, loop, _moment(loop), content, name, reply)
        threading.Thread(target=work, name="plan", daemon=True).start()


def _work(loop: Loop, moment: Moment, content: bytes, name: str, reply: Reply) -> None:
    def free() -> None:
        loop.events.put(("call", loop.reloads.free))

    with told(_after(free, reply)):
        answer, table = plan(config_in(content, name), moment)
        loop.events.put(("call", partial(_end, loop, answer, table, reply)))


def _after(first: Callable[[], None], reply: Reply) -> Reply:
    """Return a reply that does something else first."""

    def both(answer: dict[str, object]) -> None:
        first()
        reply(answer)

    return both


def _end(loop: Loop, answer: Row, table: ForwardingTable, reply: Reply) -> None:
    """Reply, once the engine has had a look at the table as well."""
    loop.reloads.free()
    with told(reply):
        try:
            loop.engine.check(table)
        except DsrlbError as error:
            answer["refused"] += str(error).splitlines()
        reply({"ok": True, "answer": answer})


def _moment(loop: Loop) -> Moment:
    now_s = time.monotonic()
    backends, proxied = loop.backends, loop.proxied
    return Moment(
        running=loop.running(),
        table=loop.table(),
        macs=backends.macs(backends.resolver.known(now_s)),
        standings=loop.standings.aside(),
        counts=loop.totals.look().backends,
        known=dict(loop.known),
        refuse=partial(_refuse_left, loop),
        haproxy=foreseen(proxied.places, proxied.services, proxied.table),
        now_s=now_s,
    )


def _refuse_left(loop: Loop, vips: Sequence[Address]) -> None:
    if loop.engine.name == "packet":
        refuse_left(loop.choice.bpf_fs, vips)


def tell_history(loop: Loop, words: Words, reply: Reply) -> None:
    """Reply which configurations are kept, or the content of one."""
    said = take(words, {"number": int, "before": bool})
    config: Config = loop.config
    file = config.origin.file if config.origin is not None else None

    def answer() -> None:
        with told(reply):
            try:
                reply({"ok": True, "answer": _kept(loop, said["number"], bool(said["before"]), file)})
            except OSError as error:
                raise DsrlbError(f"what is kept cannot be read ({error.strerror or error})") from None

    loop.history.do(answer)


def _kept(loop: Loop, number: int | None, before: bool, file: str | None) -> Row:
    if number is None and not before:
        return {"file": file, "kept": loop.history.rows()}
    found, content = loop.history.content(number)
    return {"file": file, "number": found, "content": content}
