"""One configuration takes over from another: what is new is there before, what is old goes after.

::

    stage     sockets of new interfaces, filters for the VIPs of both, rules for both     may fail: all undone
    (loop)    HAProxy goes over to the services of mode proxy                             may fail: all undone
    (loop)    the new table is installed                                                  one assignment
    finish    filters, sockets, rules and claims of what is over are given back
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, suppress

from dsrlb.control.backends import Backends, wrapped_for
from dsrlb.control.front import Front
from dsrlb.control.left import needed, refuse_left
from dsrlb.control.reload import Prepared
from dsrlb.engines.base import Engine
from dsrlb.errors import DsrlbError
from dsrlb.host import guard
from dsrlb.model import wire_address
from dsrlb.table import compile_table


def stage(new: Prepared, front: Front, backends: Backends, engine: Engine, bpf_fs: str) -> None:
    """Make room for what is new beside what runs.  DsrlbError: all is as it was, the claim is released."""
    with ExitStack() as undo:
        undo.callback(unstage, new, front, backends, engine, bpf_fs)
        if engine.name == "packet":
            refuse_left(bpf_fs, new.ground.vips)
        engine.check(compile_table(new.config.forwarded, {}, {}))
        engine.widen(new.ground.links, [wire_address(vip) for vip in new.ground.vips])
        wrapped = wrapped_for(new.config)
        for address, way in new.ground.ways.items():
            engine.add_way_out(way.link, hears=address in wrapped)
        front.guard_also(new.ground)
        undo.pop_all()


def finish(gone: Iterable[guard.Guarded], front: Front, backends: Backends, engine: Engine) -> None:
    """Give back what served only the configuration before; ``gone`` is what is guarded no more."""
    engine.narrow(list(front.links.values()), front.wire_vips, backends.ways_out)
    front.let_go(gone)


def unstage(new: Prepared, front: Front, backends: Backends, engine: Engine, bpf_fs: str) -> None:
    """Take back what was staged, and the claim; harmless when repeated."""
    new.claim.release()
    engine.narrow(list(front.links.values()), front.wire_vips, backends.ways_out)
    fresh = set(new.ground.guarded) - set(front.guarded)
    with suppress(DsrlbError):
        guard.remove(fresh - needed(bpf_fs, fresh))
    front.keep_guard()
