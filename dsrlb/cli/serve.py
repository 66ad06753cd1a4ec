"""``dsrlb serve``: balance."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dsrlb import control
from dsrlb.admin.beside import OFF, Admin
from dsrlb.admin.listening import socket_path
from dsrlb.cli.options import BESIDE_FILE, Parsed, configured
from dsrlb.config import Config, parse_instance, parse_interface
from dsrlb.engines.choice import (
    BPF_FS,
    ENGINES,
    MAX_FLOWS,
    MAX_NEW_FLOWS,
    MIN_FLOWS,
    ON_EXIT,
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
        help="xdp: take the program away at the end, or leave it at work.  "
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
)


@click.command()
@click.option(
    "--interface",
    "interfaces",
    multiple=True,
    metavar="IF",
    type=Parsed("interface", parse_interface),
    help="Where the VIP's frames come in; repeat for more.  [default: the interface of the default route]",
)
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
def serve(
    config: Config, interfaces: tuple[str, ...], force: bool, admin_at: str | None, **engine: Any
) -> None:
    """Forward the frames of the VIPs to the backends until stopped.

    Logs a line with the word "ready" once the first packet can be forwarded.  SIGUSR1 prints the
    counters; SIGTERM or SIGINT prints them and stops.
    """
    logging.basicConfig(format="dsrlb: %(message)s", level=logging.INFO)
    if interfaces:
        if config.origin is not None:
            raise click.UsageError(BESIDE_FILE.format("--interface"))
        config = replace(config, interfaces=tuple(dict.fromkeys(interfaces)))
    said = {name: value for name, value in engine.items() if value is not None}
    choice = replace(config.engine, **said)
    control.serve(config, choice, force=force, beside=_admin(admin_at, choice))


def _admin(at: str | None, choice: EngineChoice) -> Admin | None:
    """Return the admin socket, if there is to be one."""
    if at == OFF:
        return None
    path = socket_path(choice.instance) if at is None else Path(at)
    return Admin(path, is_asked_for=at is not None)


for option in ENGINE_OPTIONS:
    option(serve)
