"""A control loop without a host, which the admin requests can be asked of."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import balancer
from packets import BACKENDS, VIP, tcp

from dsrlb.admin.requests import handle
from dsrlb.config import Config, Origin
from dsrlb.control.durable import Durable
from dsrlb.control.proxied import Proxied
from dsrlb.control.responses import Responses
from dsrlb.control.standings import Standings
from dsrlb.control.wishes import Wishes
from dsrlb.engines.base import counters_of
from dsrlb.engines.packet import PacketEngine
from dsrlb.foresight.foretold import Scene
from dsrlb.foresight.overlay import overlay
from dsrlb.health.remarks import Remarks
from dsrlb.model import Check, Service
from dsrlb.state import State
from dsrlb.table import ForwardingTable, compile_table
from dsrlb.transition import carry

SERVICE = f"{VIP}:80/tcp"
A, B, C = BACKENDS[:3]


NOWHERE = Path("/dev/null/nowhere")


class Loop:
    """A control loop without a host: it compiles, and counts what a data path counts."""

    def __init__(self, *services: Service, folder: Path = NOWHERE) -> None:
        self.config = Config(services, origin=Origin("dsrlb.toml", {}))
        self.standings, self.state = Standings(services), State()
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.told: list[Callable[[Sequence[str]], None]] = []
        self.wishes = Wishes(self.standings, Durable(folder / "default.json"))
        self.checks = SimpleNamespace(records=dict, remarks=Remarks())
        self.observed = SimpleNamespace(responses=Responses())
        self.backends = SimpleNamespace(ways={})
        self.front = SimpleNamespace(
            links={
                balancer.IFINDEX: SimpleNamespace(name="e0", ifindex=balancer.IFINDEX, mac=balancer.BALANCER)
            }
        )
        self.proxied = Proxied(NOWHERE, keeps=False)
        self.choice = SimpleNamespace(instance="default")
        self.totals = SimpleNamespace(look=lambda: self.engine.counters(), when_kept=lambda do: do())
        self.engine = SimpleNamespace(
            name="packet",
            state=self.state,
            outlives=False,
            max_flows=1000,
            ask=self.answer_about,
            counters=lambda: counters_of(self.state),
            flows=lambda: PacketEngine.flows(self.engine),  # type: ignore[arg-type]  # a stand-in
        )
        self.look_again()

    def look_again(self) -> None:
        services = self.config.services
        behind = [backend for service in services for backend in service.backends]
        said = self.standings.effective(time.monotonic())
        here = {balancer.IFINDEX: balancer.BALANCER}
        table = compile_table(services, balancer.hops(behind), here, effective=said)
        before = getattr(self.engine, "table", table)
        self.engine.table = carry(before, table, int(time.monotonic()))

    def answer_about(self, question: Callable[[Scene], Any]) -> Any:
        return question(Scene(self.engine.table, int(time.monotonic()), lambda: overlay(self.state)))

    def table(self) -> ForwardingTable:
        table: ForwardingTable = self.engine.table
        return table

    def begin_reload(self, *tell: Callable[[Sequence[str]], None]) -> None:
        self.told += tell

    def ask(self, **request: Any) -> Any:
        (answer,) = self.answers(**request)
        assert answer["ok"], answer
        return answer["answer"]

    def error(self, **request: Any) -> str:
        (answer,) = self.answers(**request)
        assert not answer["ok"] and "\n" not in answer["error"]
        return str(answer["error"])

    def answers(self, **request: Any) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        handle(self, request, answers.append)  # type: ignore[arg-type]  # a stand-in
        return answers

    def clients(self, count: int) -> None:
        """Let so many connections begin."""
        frames = [tcp(sport=40_000 + number, flags="S") for number in range(count)]
        balancer.feed(frames, self.engine.table, self.state, int(time.monotonic()))


def web(scheduler: str = "wrr", **fields: Any) -> Service:
    backends = [f"{text},name=rs{n}" for n, text in enumerate(balancer.ALL_BACKENDS[:3], 1)]
    (made,) = balancer.services([f"{VIP}:80"], backends, scheduler)
    return replace(made, **{"label": "web", "check": Check("tcp"), **fields})


def rows(loop: Loop, **more: Any) -> dict[str, Any]:
    return {row["backend"]: row for row in loop.ask(do="show", what="backends", **more)}
