"""What would happen if another configuration took over now: all that a reload looks at, and nothing done.

On a thread of its own, as a reload is prepared; what the control loop knows is taken along as a ``Moment``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from dsrlb.config import Config
from dsrlb.control.backends import hop_by
from dsrlb.control.planned import NOTHING_COUNTED, SAME, Counts, service_rows
from dsrlb.control.proxy_table import compiled
from dsrlb.control.reload import Prepared, Running, prepare_for
from dsrlb.control.standings import Standings
from dsrlb.errors import DsrlbError
from dsrlb.model import Address, Hop, Service, wire_address
from dsrlb.standing import ALL_UP, Effective
from dsrlb.table import CompiledService, ForwardingTable, Known, compile_table

LAN = Hop(0, b"", b"", mtu_bytes=1500)  # the way to servers that nobody has looked for

Row = dict[str, Any]


@dataclass(frozen=True)
class Moment:
    """What is there before a change; whatever of it could change meanwhile is a copy."""

    running: Running
    table: ForwardingTable  # services of mode proxy beside those that are forwarded
    macs: Mapping[Address, bytes | None]
    standings: Standings  # set aside
    counts: Counts
    known: Known
    refuse: Callable[[Sequence[Address]], None]  # VIPs that the engine could not serve; raises DsrlbError
    haproxy: Callable[[Sequence[Service], Effective], str]
    now_s: float


def plan(config: Config, moment: Moment) -> tuple[Row, ForwardingTable]:
    """Return what a configuration would change, and the table that it would come to; holds nothing."""
    warnings: list[str] = []
    prepared, refused = _prepared(config, moment, warnings.append)
    moment.standings.change_to(config.services, moment.now_s)
    said = moment.standings.effective(moment.now_s)
    hops = _hops(config, prepared, moment)
    table = compile_table(config.forwarded, hops, {}, effective=said, known=dict(moment.known))
    new = {**table.services, **compiled(config.proxied, said)}
    before = moment.running.config
    rows = service_rows(before, config, moment.table.services, new, moment.counts)
    answer = {
        **_about(before, config, rows, before_runs=True),
        "haproxy": moment.haproxy(config.proxied, said),
        "refused": refused,
        "warnings": warnings,
        "unresolved": sorted(str(address) for address, hop in hops.items() if hop is None),
    }
    return answer, table


def plan_without(
    before: Config, config: Config, haproxy: Callable[[Sequence[Service], Effective], str]
) -> Row:
    """Return what one configuration changes of another, with all servers up and a local network away."""
    old, new = (_by_itself(one) for one in (before, config))
    rows = service_rows(before, config, old, new, NOTHING_COUNTED)
    said = {"haproxy": haproxy(config.proxied, ALL_UP), "refused": [], "warnings": [], "unresolved": []}
    return {**_about(before, config, rows, before_runs=False), **said}


def digest(config: Config) -> str:
    """Return what tells the content of a configuration's file from any other."""
    return sha256(config.origin.content).hexdigest() if config.origin is not None else ""


def _about(before: Config, config: Config, rows: Sequence[Row], *, before_runs: bool) -> Row:
    origin = before.origin
    is_other = before.interfaces != config.interfaces
    changed = sum(row["change"] != SAME for row in rows if row["change"] != "removed")
    return {
        "file": config.origin.file if config.origin is not None else None,
        "digest": digest(config),
        "running_digest": digest(before),
        "running_file": str(Path(origin.file).absolute()) if origin is not None else None,
        "interfaces": list(config.interfaces) if is_other else None,
        "is_running": before_runs,
        "services": list(rows),
        "unchanged": len(config.services) - changed,
    }


def _prepared(
    config: Config, moment: Moment, warn: Callable[[str], None]
) -> tuple[Prepared | None, list[str]]:
    """Return what a reload would prepare, and every reason for which it would be refused."""
    try:
        prepared = prepare_for(config, moment.running, warn)
        prepared.claim.release()
        moment.refuse(prepared.ground.vips)
    except DsrlbError as error:
        return None, str(error).splitlines()
    return prepared, []


def _hops(config: Config, prepared: Prepared | None, moment: Moment) -> dict[Address, Hop | None]:
    """Return the way to each backend as it would be; where nobody could look, all that is new is there."""
    wanted = {one.address for service in config.forwarded for one in service.backends}
    if prepared is None:
        known = {
            one.address: one.hop for service in moment.table.services.values() for one in service.targets
        }
        return {address: known.get(wire_address(address), LAN) for address in wanted}
    macs = {**prepared.found, **moment.macs, **prepared.ground.fixed_macs}
    return {
        address: None if address in prepared.lost else hop_by(way, macs.get(address))
        for address, way in prepared.ground.ways.items()
    }


def _by_itself(config: Config) -> Mapping[bytes, CompiledService]:
    behind = [one.address for service in config.forwarded for one in service.backends]
    table = compile_table(config.forwarded, dict.fromkeys(behind, LAN), {})
    return {**table.services, **compiled(config.proxied, ALL_UP)}
