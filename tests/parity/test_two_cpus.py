"""Two CPUs begin, change and end records of the same flows at once, in a table with hardly any room."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from random import Random

import balancer
import numpy as np
import packets as p
import pytest
from numpy.typing import NDArray
from parity import names
from parity.ground import SIZES

from dsrlb.bench.xdp import loop
from dsrlb.bench.xdp.frames import FRAME4_BYTES
from dsrlb.config import parse_vip
from dsrlb.engines.xdp import layout, reading
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.memory import mapped
from dsrlb.engines.xdp.program import Loaded, loaded, set_clock
from dsrlb.host import bpf
from dsrlb.model import Backend, Hop, ModeOptions, Reason, Service, Timeouts
from dsrlb.table import compile_table
from dsrlb.wire.flowhash import flow_hash

HERE = 1  # the interface that frames of a test run come in by: lo
RUN_S = 2.0
FRAMES, RUNS = 4096, 1 << 16
FEW_BUCKETS, CLIENTS = 2, 30
FEW_PORTS = 4  # flows whose ports were marked as in use at the moment when another's mark was taken away
SERVERS = [ip_address(0xC612010B + number) for number in range(4)]
MODES = {
    "l2dsr": ("l2dsr", ModeOptions()),
    "inline": ("inline", ModeOptions()),
    "snat": ("inline", ModeOptions(snat=True)),
}
BRIEF = Timeouts(udp_s=5, syn_s=3, established_s=9, fin_s=4, closed_s=2)
Step = Callable[[Random], None]


def frames(random: Random) -> NDArray[np.uint8]:
    """Return packets of a few clients, and servers' to them, in any order, of all kinds: one a row."""
    clients = [f"198.18.0.{host}" for host in range(2, 2 + CLIENTS)]
    ends = [(client, p.VIP, 20, 80) for client in clients] * 4
    ends += [(str(server), client, 80, 20) for client in clients for server in SERVERS]
    kinds = [
        bytes(
            p.Ether(dst=p.BALANCER_MAC)
            / p.IP(src=src, dst=dst)
            / p.TCP(sport=sport, dport=dport, flags=flags)
        )
        for src, dst, sport, dport in ends
        for flags in ("S", "A", "FA", "R")
    ]
    rows = b"".join(random.choice(kinds).ljust(FRAME4_BYTES, b"\0") for _ in range(FRAMES))
    return np.frombuffer(rows, np.uint8).reshape(FRAMES, FRAME4_BYTES)


def install(program: Loaded, mode: str, options: ModeOptions) -> Tables:
    """Install a service with the most records: least connections."""
    hops = {one: Hop(HERE, balancer.BALANCER, bytes((2, 0, 0, 0, 0, n))) for n, one in enumerate(SERVERS)}
    backends = tuple(Backend(one) for one in SERVERS)
    service = Service(*parse_vip(f"{p.VIP}:80"), mode, "lc", backends, options, timeouts=BRIEF, passive=True)
    tables = Tables(program)
    tables.install(compile_table([service], hops, {HERE: None}))  # takes a frame again as it left it
    return tables


def until_over(cpu: int | None, step: Step, stop: threading.Event) -> threading.Thread:
    """Start a thread, on a CPU of its own or any, that takes steps until it is stopped."""

    def work() -> None:
        random = Random(cpu)
        if cpu is not None:
            os.sched_setaffinity(threading.get_native_id(), {cpu})
        while not stop.is_set():
            step(random)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize(("mode", "options"), MODES.values(), ids=MODES)
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_records_loads_and_names_agree_when_two_cpus_made_them(mode: str, options: ModeOptions) -> None:
    """Every line has its mark and stands in a bucket of its flow, no flow has two, every load is theirs.

    And no two flows have one second name.
    """
    few = replace(SIZES, flows=FEW_BUCKETS)
    stop, now_s = threading.Event(), [1000]
    with (
        loaded(few, test_clock=True) as program,
        loop.loaded(program.entry, {4: FRAMES, 6: 1}) as one,
        loop.loaded(program.entry, {4: FRAMES, 6: 1}) as other,
    ):
        tables = install(program, mode, options)
        set_clock(program, now_s[0])

        def pass_time(random: Random) -> None:
            stop.wait(0.01)
            now_s[0] += random.choice((0, 1, 3))
            set_clock(program, now_s[0])
            bpf.run(program.programs["sweep"], bytes(64), repeat=FEW_BUCKETS)

        threads = [until_over(None, pass_time, stop)]
        for cpu, its in zip(sorted(os.sched_getaffinity(0))[:2], (one, other), strict=True):
            its.fill(4, frames(Random(cpu)))
            threads.append(until_over(cpu, lambda _, its=its: its.run("total", 4, RUNS), stop))
        time.sleep(RUN_S)
        stop.set()
        for thread in threads:
            thread.join()
        met = reading.reasons(program)
        assert met[Reason.FORWARDED] > RUNS // 2
        assert sum(met[: layout.RECORDS_REFUSED]) >= 2 * RUNS
        check(program, tables)
        check_handshakes(tables)
        names.check(program, tables, may_lack=FEW_PORTS)


def check(program: Loaded, tables: Tables) -> None:
    marks = mapped(program.maps["flow_marks"], FEW_BUCKETS, layout.FLOW_MARKS)["of"].ravel()
    there = np.flatnonzero(tables.flows["target"])
    assert set(np.flatnonzero(marks)) == set(there)
    keys = [tables.flows["key"][place].tobytes() for place in there]
    assert len(set(keys)) == len(keys)
    for place, key in zip(there, keys, strict=True):
        assert place // layout.FLOWS_A_BUCKET in reading.flow_buckets(flow_hash(key), FEW_BUCKETS - 1)
    is_active = np.isin(tables.flows["state"][there], (0, 2))
    found = Counter(zip(tables.flows["target"][there].tolist(), is_active.tolist(), strict=True))
    for index in range(1, 5):
        assert (tables.loads["active"][index], tables.loads["inactive"][index]) == (
            found[index, True],
            found[index, False],
        )


def check_handshakes(tables: Tables) -> None:
    """Whatever was opened was counted once for what became of it, or waits."""
    counted, cells = tables.handshakes[1:5], tables.cells[tables.cells["tag"] != 0]
    assert min(counted["answered"]) > 0 and min(counted["again"]) > 0 and min(counted["reset"]) > 0
    waiting = Counter(cells["target"][cells["again"] == 0].tolist())
    ended = counted["times"].sum(axis=1) + counted["again"] + counted["reset"] + counted["silent"]
    assert (ended + [waiting[index] for index in range(1, 5)]).tolist() == counted["opened"].tolist()
