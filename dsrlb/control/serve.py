"""From the first look at the host to the last rule taken back."""

from __future__ import annotations

import logging
import queue
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

from dsrlb.config import Config
from dsrlb.control.left import take_back_stale
from dsrlb.control.loop import Loop
from dsrlb.control.proxy_left import lent_before
from dsrlb.engines.choice import EngineChoice
from dsrlb.host import guard, probe_rules
from dsrlb.host.descriptors import allow_most
from dsrlb.host.notify import STOPPING, notify
from dsrlb.host.privileges import require_network
from dsrlb.host.watch import Event
from dsrlb.preflight import guarded_by, survey
from dsrlb.preflight_proxy import proxy_warnings

log = logging.getLogger("dsrlb")


class Beside(Protocol):
    """What sees and steers a running loop, by events ("call", do) on its queue."""

    def open(self) -> None:
        """Take what is needed.  DsrlbError: nothing is to run."""

    def start(self, loop: Loop) -> None:
        """Begin; the loop runs from now on."""

    def close(self) -> None:
        """End, and give all back; harmless when repeated."""


def serve(
    config: Config, choice: EngineChoice, *, force: bool = False, beside: Sequence[Beside] = ()
) -> None:
    """Balance until SIGTERM or SIGINT, then take back everything that was set on the host.

    Raises ConfigError or HostError, with nothing left behind, when it cannot begin.
    """
    require_network("dsrlb serve")
    allow_most()
    # Our own are taken over: without them the host would answer.
    for one in take_back_stale(choice.bpf_fs, keep=guarded_by(config)):
        log.info("took back the rules that a crashed run left for %s", guard.named(one))
    probe_rules.remove_stale()
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: events.put(("stop",)))
    for number in (signal.SIGHUP, signal.SIGUSR1):  # until it is ready: an event ends the start early
        signal.signal(number, signal.SIG_IGN)
    with ExitStack() as undo:
        stays: set[guard.Guarded] = set()  # where a program goes on without this process
        # Last of all: a start that fails leaves none, whoever set them.
        undo.callback(lambda: take_back_stale(choice.bpf_fs, keep=stays))
        ground = survey(config, force=force, ours=lent_before(choice.haproxy_at))
        for sentence in proxy_warnings(config):
            log.warning("%s", sentence)
        claim = guard.claim(ground.claimed)
        undo.callback(claim.release)
        for helper in beside:
            undo.callback(helper.close)
            helper.open()
        loop = Loop(config, ground, claim, events, force, choice)
        undo.callback(lambda: stays.update(loop.give_back()))  # before any rule is set
        undo.callback(loop.close)
        loop.begin(undo)
        for helper in beside:
            undo.callback(helper.close)  # first of all: who asks now would wait for the end
            helper.start(loop)
        signal.signal(signal.SIGHUP, lambda *_: events.put(("reload",)))
        signal.signal(signal.SIGUSR1, lambda *_: events.put(("counters",)))
        loop.run()
        notify(STOPPING)
