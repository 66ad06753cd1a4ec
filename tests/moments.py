"""A moment of a running balancer, as the metrics are made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import balancer
from packets import VIP, tcp

from dsrlb.config import Config
from dsrlb.control.proxied import Proxied
from dsrlb.engines.base import counters_of
from dsrlb.flows import BackendCount
from dsrlb.metrics.moment import Moment, moment_of
from dsrlb.model import Check
from dsrlb.response import Memory
from dsrlb.standing import Standing, effective, named
from dsrlb.state import State
from dsrlb.table import compile_table


def moment(scheduler: str = "wrr", clients: int = 0, **standing: Any) -> Moment:
    """Return a moment of three backends, of which the first has this standing."""
    backends = [f"{text},name=rs{n}" for n, text in enumerate(balancer.ALL_BACKENDS[:3], 1)]
    (made,) = balancer.services([f"{VIP}:80"], backends, scheduler)
    service = replace(made, label="web", check=Check("tcp"))
    names = next(names for names, _ in named(service))
    standings, state = {names: Standing(**standing)}, State()
    hops, here = balancer.hops(service.backends), {balancer.IFINDEX: balancer.BALANCER}
    table = compile_table((service,), hops, here, effective=effective((service,), standings))
    frames = [tcp(sport=40_000 + number, flags="S") for number in range(clients)]
    balancer.feed(frames, table, state, 100)
    loop = SimpleNamespace(
        totals=SimpleNamespace(look=lambda: counters_of(state), when_kept=lambda do: do()),
        config=Config((service,)),
        standings=SimpleNamespace(of=standings),
        observed=SimpleNamespace(responses=SimpleNamespace(of={names: Memory(response_us=2500.0)})),
        checks=SimpleNamespace(records=dict),
        table=lambda: table,
        proxied=Proxied(Path("/dev/null/nowhere"), keeps=False),
        engine=SimpleNamespace(
            name="packet",
            table=table,
            max_flows=1000,
            counters=lambda: counters_of(state),
        ),
        front=SimpleNamespace(links={2: SimpleNamespace(name="e0", up=True)}),
        choice=SimpleNamespace(instance="default"),
    )
    return moment_of(loop)  # type: ignore[arg-type]  # a stand-in


def large() -> Moment:
    """Return a moment of 1000 services with 4 backends each."""
    vips = [f"198.18.{number >> 8}.{number & 255}:80" for number in range(256, 1256)]
    services = tuple(balancer.services(vips, [*balancer.ALL_BACKENDS[:3], "198.18.1.14"], "wlc"))
    here = {balancer.IFINDEX: balancer.BALANCER}
    table = compile_table(services, balancer.hops(services[0].backends[:3]), here)
    counted = {names: BackendCount(1, 2, 3, 4, 5) for one in services for names, _ in named(one)}
    many = replace(moment(), config=Config(services), table=table)
    return replace(many, counters=many.counters._replace(backends=counted))
