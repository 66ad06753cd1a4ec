"""Does who traces see each decision as it was, and does nobody wait for who does not read?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab_running import RS1, RS2, RS3, Serve
from lab_wire import SERVERS, TO_BALANCER, eventually, socket_in
from scapy.layers.inet import IP, TCP

from dsrlb.admin.asking import ask
from dsrlb.frameio.pcap import read_pcap
from dsrlb.host import bpf, bpf_attach
from dsrlb.lab.balancer import Balancer, dsrlb
from dsrlb.lab.commands import inside
from dsrlb.lab.topology import CLIENT, VIP, Lab

both_engines = pytest.mark.both_engines(xdp_mode=["native"])
MACS = {name: mac for mac, name in SERVERS.items()}
NAMES = {RS1: "rs1", RS2: "rs2", RS3: "rs3"}
WITHIN_S = 30.0


@dataclass
class Tracing:
    """A running ``dsrlb trace``."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def lines(self) -> list[str]:
        return self.out.read_text().splitlines()

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]

    def end(self) -> str:
        """Stop it as Ctrl-C does; return what it said at last."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(WITHIN_S) == 0, self.err.read_text()
        return self.err.read_text().splitlines()[-1]


Trace = Callable[..., Tracing]


@pytest.fixture
def trace(lab: Lab, tmp_path: Path) -> Iterator[Trace]:
    """``trace(running, "--reason", …)`` traces a balancer, and has begun to."""
    begun: list[Tracing] = []

    def begin(running: Balancer, *words: str) -> Tracing:
        out, err = (tmp_path / f"trace-{len(begun)}.{kind}" for kind in ("out", "err"))
        line = inside(lab.namespace("lb"), *dsrlb("trace", "--admin", str(running.admin), *words))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(line, stdout=stdout, stderr=stderr)
        begun.append(Tracing(process, out, err))
        assert eventually(lambda: err.stat().st_size, WITHIN_S), "it says that it has begun, or why not"
        return begun[-1]

    yield begin
    for one in begun:
        one.process.kill()
        one.process.wait()


def program(lab: Lab, engine: Any) -> int | None:
    """Return the number of the program that the link on the interface holds, where there is one."""
    for pinned in (lab.bpf_fs / "dsrlb" / "default" / "links").glob("*"):
        fd = bpf.pinned(pinned)
        assert fd is not None and engine.name == "xdp"
        try:
            return bpf_attach.xdp_link(fd).program_id
        finally:
            os.close(fd)
    return None


def syns(count: int) -> Iterator[bytes]:
    """Yield SYNs of so many clients."""
    for number in range(count):
        client = f"198.19.{number >> 8 & 255}.{number & 255}"
        yield bytes(
            TO_BALANCER / IP(src=client, dst=str(VIP)) / TCP(dport=80, sport=1024 + number, flags="S")
        )


@both_engines
def test_connections_and_drops_are_told_line_by_line_and_both_frames_of_each_are_in_the_file(
    lab: Lab, serve: Serve, client: Any, trace: Trace, engine: Any, inject: Any, tmp_path: Path
) -> None:
    running = serve("--scheduler", "rr")
    before, file = program(lab, engine), tmp_path / "t.pcapng"
    words = ("--client", str(CLIENT), "--service", f"{VIP}:80", "--reason", "forwarded", "--pcap", str(file))
    tracing = trace(running, *words, "--json")
    if engine.name == "xdp":
        assert program(lab, engine) != before
    asked = client.requests(6)
    assert asked["errors"] == []
    assert eventually(lambda: sum("SYN" in row["says"].split() for row in tracing.rows()) >= 6, WITHIN_S)
    assert tracing.end().endswith("decisions told, 0 not")
    rows = tracing.rows()
    assert {(row["verdict"], row["reason"], row["service"]) for row in rows} == {
        ("sent", "forwarded", f"{VIP}:80/tcp")
    }
    assert {row["from"].partition(":")[0] for row in rows} == {str(CLIENT)}
    of_flow: dict[str, set[str]] = {}
    for row in rows:
        of_flow.setdefault(row["from"], set()).add(NAMES[row["backend"]])
    assert all(len(backends) == 1 for backends in of_flow.values())
    assert {name for backends in of_flow.values() for name in backends} == set(NAMES.values())
    frames = [frame for _, frame in read_pcap(file)]
    assert len(frames) == 2 * len(rows)
    for row, came, sent in zip(rows, frames[::2], frames[1::2], strict=True):
        assert sent[:6] == MACS[NAMES[row["backend"]]] and sent[12:] == came[12:]
    assert program(lab, engine) == before, "the program is as it was"
    assert client.requests(3)["errors"] == []
    frame = TO_BALANCER / IP(src=str(CLIENT), dst=str(VIP)) / TCP(dport=81, sport=1111, flags="S")
    tracing = trace(running, "--reason", "no_service", "--count", "3")
    inject(*[frame] * 3)
    assert client.requests(3)["errors"] == []
    assert tracing.process.wait(WITHIN_S) == 0
    told = tracing.lines()
    assert len(told) == 3
    assert all("drop  no_service " in line and f"{CLIENT}:1111 > {VIP}:81 tcp SYN" in line for line in told)


@both_engines
def test_one_who_reads_too_slowly_keeps_nobody_waiting_and_hears_what_was_lost(
    lab: Lab, serve: Serve, client: Any, engine: Any
) -> None:
    running = serve()
    before, frames = program(lab, engine), list(syns(4000))
    number = ask(running.admin, {"do": "trace", "step": "begin", "service": f"{VIP}:80"})["trace"]
    with socket_in(lab, "router") as wire:
        wire.bind(("e0", 0))

        def loses() -> int:
            for frame in frames:
                wire.send(frame)
            told = ask(running.admin, {"do": "trace", "step": "more", "trace": number})
            return int(told["lost"])

        assert eventually(loses, WITHIN_S)
    assert client.requests(10)["errors"] == []
    assert eventually(lambda: program(lab, engine) == before, WITHIN_S), "nobody asks, so all is as it was"


@pytest.mark.only_engine("xdp", reason="a program that outlives the process")
@both_engines
def test_killed_while_somebody_traces_the_program_serves_on_and_the_next_start_has_its_own(
    lab: Lab, serve: Serve, client: Any, trace: Trace, engine: Any
) -> None:
    running = serve()
    trace(running)
    running.stop(signal.SIGKILL)
    tells = program(lab, engine)
    assert client.requests(6)["errors"] == []
    running = serve()
    assert program(lab, engine) not in (None, tells)
    assert client.requests(6)["errors"] == []
    assert len(list((lab.bpf_fs / "dsrlb" / "default" / "steps").iterdir())) == 1
