"""``dsrlb serve``: balance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dsrlb import control
from dsrlb.admin.beside import OFF, Admin
from dsrlb.admin.listening import haproxy_folder, socket_path
from dsrlb.cli.logs import log_format
from dsrlb.cli.options import BESIDE_FILE, Parsed, configured, interface_option
from dsrlb.config import Config, Listen, parse_folder, parse_instance, parse_metrics
from dsrlb.control.serve import Beside
from dsrlb.engines.choice import (
    BPF_FS,
    ENGINES,
    MAX_FLOWS,
    MAX_NEW_FLOWS,
    MIN_FLOWS,
    ON_EXIT,
    STATE_DIR,
    XDP_MODES,
    EngineChoice,
)

ENGINE_OPTIONS = (
    click.option(
        "--engine",
        type=click.Choice(ENGINES),
        help="Who forwards: a process (packet), a program in the kernel (xdp), what this host can (auto).  "
        "[default: packet]",
    ),
    click.option(
        "--max-flows",
        type=click.IntRange(MIN_FLOWS, MAX_FLOWS),
        metavar="N",
        help="How many flows can be on record.  [default: 262144; xdp: 1000000]",
    ),
    click.option(
        "--max-new-flows",
        type=click.IntRange(1, MAX_NEW_FLOWS),
        metavar="N",
        help="xdp: how many records each CPU may begin in a second; more flows go by hash, without one.  "
        "[default: no limit]",
    ),
    click.option(
        "--xdp-mode",
        type=click.Choice(XDP_MODES),
        help="xdp: in the driver (native), behind it (generic), native where the driver has it (auto).  "
        "[default: auto]",
    ),
    click.option(
        "--on-exit",
        type=click.Choice(ON_EXIT),
        help="xdp, mode proxy: take the program (HAProxy) away at the end, or leave it at work.  "
        "[default: detach; with --config under systemd: keep]",
    ),
    click.option(
        "--instance",
        metavar="NAME",
        type=Parsed("instance", parse_instance),
        help="Its name: of the admin socket; xdp: under which programs and maps are kept.  "
        "[default: default]",
    ),
    click.option(
        "--bpffs",
        "bpf_fs",
        metavar="DIR",
        help=f"xdp: where the BPF file system is mounted.  [default: {BPF_FS}]",
    ),
    click.option(
        "--state-dir",
        metavar="DIR",
        type=Parsed("folder", parse_folder),
        help=f"Where is kept what is to hold over restarts.  [default: {STATE_DIR}]",
    ),
)


@click.command()
@interface_option
@configured
@click.option(
    "--force",
    is_flag=True,
    help="Start although another machine answers for a VIP, this host has it, or no backend answers.",
)
@click.option(
    "--admin",
    "admin_at",
    metavar="PATH",
    help="Where dsrlb show and the commands that steer find this one; off: nowhere.  "
    f"[default: {socket_path('INSTANCE')}]",
)
@click.option(
    "--metrics",
    "metrics_at",
    metavar="[ADDR:]PORT",
    type=Parsed("metrics", parse_metrics),
    help="Tell metrics, for Prometheus, over HTTP (docs/metrics.md); a port alone: to this host only.  "
    "[default: nowhere]",
)
@log_format
def serve(
    config: Config,
    interfaces: tuple[str, ...],
    force: bool,
    admin_at: str | None,
    metrics_at: Listen | None,
    **engine: Any,
) -> None:
    """Forward the frames of the VIPs to the backends until stopped.

    Logs a line with the word "ready" once the first packet can be forwarded.  SIGUSR1 prints the
    counters; SIGTERM or SIGINT prints them and stops.
    """
    if interfaces:
        if config.origin is not None:
            raise click.UsageError(BESIDE_FILE.format("--interface"))
        config = replace(config, interfaces=tuple(dict.fromkeys(interfaces)))
    said = {name: value for name, value in engine.items() if value is not None}
    choice = replace(config.engine, **said)
    named = None if admin_at in (None, OFF) else Path(admin_at)
    haproxy_at = haproxy_folder(named, choice.instance)
    choice = replace(choice, left_at=_left_at(admin_at, choice.instance), haproxy_at=haproxy_at)
    beside = [*_admin(admin_at, choice), *_metrics(metrics_at or config.metrics)]
    control.serve(config, choice, force=force, beside=beside)


def _admin(at: str | None, choice: EngineChoice) -> Iterator[Beside]:
    """Yield the admin socket, if there is to be one."""
    if at != OFF:
        path = socket_path(choice.instance) if at is None else Path(at)
        yield Admin(path, is_asked_for=at is not None)


def _left_at(admin_at: str | None, instance: str) -> Path | None:
    """Return where records of flows are left for the next start: beside the admin socket."""
    if admin_at == OFF:
        return None
    socket = socket_path(instance) if admin_at is None else Path(admin_at)
    return socket.with_name(f"{socket.name.removesuffix('.sock')}.flows")


def _metrics(at: Listen | None) -> Iterator[Beside]:
    """Yield the metrics, if they are asked for: only then is loaded what they need."""
    if at is not None:
        from dsrlb.metrics.beside import Metrics

        yield Metrics(at)


for option in ENGINE_OPTIONS:
    option(serve)
