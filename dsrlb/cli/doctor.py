"""``dsrlb doctor``: what is wrong on the way from the clients to the servers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
from pyroute2.netlink.exceptions import NetlinkError

from dsrlb.admin.listening import haproxy_folder, socket_path
from dsrlb.cli import tables
from dsrlb.cli.asking import admin_option, instance_option
from dsrlb.cli.options import BESIDE_FILE, configured, interface_option
from dsrlb.config import Config, read_config
from dsrlb.doctor import look_balancer, look_servers
from dsrlb.doctor.finding import BALANCER, Finding, Verdict, is_fault, joined, told_once
from dsrlb.doctor.scene import Look, Running, Scene, running_at, scene_of
from dsrlb.errors import DsrlbError, UsageError
from dsrlb.host.privileges import require_network

# What is looked at, in this order; each yields its findings.
LOOKS: tuple[Look, ...] = (*look_balancer.LOOKS, look_servers.servers)


@click.command()
@interface_option
@lambda function: configured(function, if_given=True)
@click.option(
    "--via",
    "vias",
    multiple=True,
    metavar="[NAME=]ssh:USER@HOST[:PORT]|netns:NAME|local",
    help="By which way to ask a server (a backend's name) or a client's side (client) about itself; repeat "
    "for more.  Without NAME: all servers, {name} and {address} stand for each one's.",
)
@instance_option("Which dsrlb, if one runs.")
@admin_option
@click.option("--json", "is_json", is_flag=True, help="Print the findings as they are, for programs.")
@click.pass_context
def doctor(
    ctx: click.Context,
    config: Config | None,
    interfaces: tuple[str, ...],
    vias: tuple[str, ...],
    instance: str,
    at: str | None,
    is_json: bool,
) -> None:
    """Look for what is wrong on the way from the clients to the servers, and say what mends it.

    Works beside a running dsrlb and without one; what is set meanwhile is taken back.  Without --config and
    options the file of the running one is taken.  Exit code 0 when nothing is wrong, 1 when something is.
    """
    require_network("dsrlb doctor")
    admin = socket_path(instance) if at is None else Path(at)
    running = running_at(admin)
    config = _with(config or _config_of(running), interfaces)
    scene = scene_of(config, running, haproxy_folder(admin, instance), vias)
    found: list[Finding] = []
    for look in LOOKS:
        found = joined(found, list(_looked(look, scene)))
    found = told_once(found)
    _print(found, is_json)
    ctx.exit(DsrlbError.exit_code if any(map(is_fault, found)) else 0)


def _config_of(running: Running | None) -> Config:
    """Return the configuration that a running dsrlb goes by."""
    if running is None:
        raise UsageError(
            "no dsrlb runs here; say what is to be looked at: --config FILE, or dsrlb serve's options"
        )
    if running.trouble:
        raise UsageError(f"{running.trouble.rstrip('.')}; say what is to be looked at: --config FILE")
    if running.engine["file"] is None:
        raise UsageError("the running dsrlb has its configuration from options; give the same ones here")
    return read_config(running.engine["file"])


def _with(config: Config, interfaces: tuple[str, ...]) -> Config:
    if interfaces and config.origin is not None:
        raise click.UsageError(BESIDE_FILE.format("--interface"))
    return replace(config, interfaces=tuple(dict.fromkeys(interfaces))) if interfaces else config


def _looked(look: Look, scene: Scene) -> Iterator[Finding]:
    """Yield what a look finds; one that cannot be made is a finding as well."""
    try:
        yield from look(scene)
    except (DsrlbError, OSError, NetlinkError) as error:
        yield Finding(look.__name__, Verdict.UNKNOWN, BALANCER, f"this could not be looked at: {error}")


def _print(found: list[Finding], is_json: bool) -> None:
    if is_json:
        return click.echo(json.dumps([one.row() for one in found], indent=2))
    columns = tables.left("verdict", "where", "what", "")
    tables.show(tables.table(columns, (line for one in found for line in _lines(one))))
    counted = Counter(one.verdict for one in found)
    click.echo(", ".join(f"{counted[verdict]} {verdict.value}" for verdict in Verdict))


def _lines(finding: Finding) -> Iterator[list[tables.Cell]]:
    yield [finding.verdict.value, finding.where, finding.name, finding.says]
    if finding.verdict is Verdict.WRONG or finding.mend:
        if finding.evidence:
            yield ["", "", "", f"  seen: {finding.evidence}"]
        if finding.mend:
            yield ["", "", "", f"  do: {finding.mend}"]
