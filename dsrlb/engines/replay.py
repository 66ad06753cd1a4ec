"""The replay engine: frames from a capture file through the data path into another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from os.path import samestat
from pathlib import Path

from dsrlb.datapath import process
from dsrlb.errors import ConfigError
from dsrlb.frameio.pcap import read_pcap, status, write_pcap
from dsrlb.model import Action, Hop, Service
from dsrlb.state import State, expire
from dsrlb.table import ForwardingTable, compile_table

IFINDEX = 1
KEEP_SOURCE = bytes(6)
MTU_BYTES = 1500  # of the way to every backend: an Ethernet's
FORGET_AFTER_S = 3600  # later than any time-out: held pieces are given up and counted


def replay_file(
    services: Sequence[Service], mac: bytes | None, source: str | Path, target: str | Path
) -> tuple[State, ForwardingTable]:
    """Process every frame of ``source`` at its own time, write what is sent to ``target``; ``"-"`` is a pipe.

    Returns the state with its counters, and the table used.  Without a MAC of the balancer's own,
    the source MAC of a forwarded frame is the MAC that it was sent to.  ConfigError: a file that
    cannot be read or written.
    """
    hops = {
        backend.address: Hop(IFINDEX, mac or KEEP_SOURCE, backend.mac, MTU_BYTES)
        for service in services
        for backend in service.backends
        if backend.mac is not None
    }
    table = compile_table(services, hops, {IFINDEX: mac})
    state = State()
    frames = read_pcap(source)
    first = next(frames, None)  # an unreadable source is told before the target is touched
    with suppress(OSError):  # a target that is not there yet, or that writing will complain of
        if samestat(status(source, "rb"), status(target, "wb")):
            raise ConfigError(f"{target} is the capture to read as well; write to another file.")
    write_pcap(target, _sent(chain(() if first is None else (first,), frames), mac, table, state))
    return state, table


def _sent(
    frames: Iterable[tuple[float, bytes]], mac: bytes | None, table: ForwardingTable, state: State
) -> Iterator[tuple[float, bytes]]:
    """Yield what the data path sends, at the time of the frame that caused it."""
    now_s = 0
    for time_s, frame in frames:
        if int(time_s) > now_s:
            now_s = int(time_s)
            expire(state, now_s)
        verdict = process(frame, IFINDEX, table, state, now_s)
        for action, _, _, out in (*state.released, verdict):
            if action >= Action.TX:
                yield time_s, out if mac else out[:6] + frame[:6] + out[12:]
        state.released.clear()
    expire(state, now_s + FORGET_AFTER_S)
