"""Which engine forwards, opened: the chosen one, or what this host can."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from dsrlb.config import Config
from dsrlb.control.front import Front
from dsrlb.control.left import refuse_left
from dsrlb.engines.base import Engine, Hears
from dsrlb.engines.choice import EngineChoice
from dsrlb.engines.packet import PacketEngine
from dsrlb.engines.xdp import pins
from dsrlb.errors import DsrlbError
from dsrlb.flows import DEFAULT_MAX_FLOWS
from dsrlb.host.privileges import require_bpf
from dsrlb.table import compile_table

log = logging.getLogger("dsrlb")


def open_engine(choice: EngineChoice, config: Config, front: Front, hears: Hears) -> Engine:
    """Return the engine, which takes frames of the front's VIPs on its interfaces from now on.

    Raises ConfigError or HostError, with nothing left open.
    """
    if choice.engine == "packet":
        refuse_left(choice.bpf_fs, front.vips)
        return _opened(_packet(choice, hears), front)
    try:
        return _opened(_xdp(choice, config, hears), front)
    except DsrlbError as error:
        is_left = choice.instance in pins.instances(Path(choice.bpf_fs))  # a program would go on beside it
        if choice.engine == "xdp" or is_left:
            raise
        refuse_left(choice.bpf_fs, front.vips)
        log.warning("engine packet, since engine xdp is not possible here: %s", error)
        return _opened(_packet(choice, hears), front)


def keeps(choice: EngineChoice, config: Config) -> bool:
    """Return whether the program is to stay at work when the process stops.

    A service manager starts it again: so it stays, and what is in its maps.
    """
    if choice.on_exit is not None:
        return choice.on_exit == "keep"
    return config.origin is not None and bool(os.environ.get("NOTIFY_SOCKET"))


def _opened(engine: Engine, front: Front) -> Engine:
    try:
        engine.widen(list(front.links.values()), front.wire_vips)
    except BaseException:
        engine.close()
        raise
    return engine


def _packet(choice: EngineChoice, hears: Hears) -> Engine:
    return PacketEngine([], [], hears, choice.max_flows or DEFAULT_MAX_FLOWS, choice.left_at)


def _xdp(choice: EngineChoice, config: Config, hears: Hears) -> Engine:
    from dsrlb.engines.xdp.engine import XdpEngine  # takes time that the packet engine need not

    require_bpf("engine xdp")
    return XdpEngine(choice, keeps(choice, config), compile_table(config.forwarded, {}, {}), hears)
