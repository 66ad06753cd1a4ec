"""``dsrlb serve``: balance."""

from __future__ import annotations

import logging

import click

from dsrlb import control
from dsrlb.cli.options import Vip, config_of, service_options
from dsrlb.model import Backend


@click.command()
@click.option(
    "--interface",
    "interfaces",
    multiple=True,
    metavar="IF",
    help="Where the VIP's frames come in; repeat for more.  [default: the interface of the default route]",
)
@service_options
@click.option("--engine", type=click.Choice(["packet"]), default="packet", show_default=True)
@click.option(
    "--force",
    is_flag=True,
    help="Start although another machine answers for a VIP, this host has it, or no backend answers.",
)
def serve(
    interfaces: tuple[str, ...],
    mode: str,
    vips: tuple[Vip, ...],
    backends: tuple[Backend, ...],
    scheduler: str,
    engine: str,
    force: bool,
) -> None:
    """Forward the frames of the VIPs to the backends until stopped.

    Logs a line with the word "ready" once the first packet can be forwarded.  SIGUSR1 prints the
    counters; SIGTERM or SIGINT prints them and stops.
    """
    config = config_of(mode, vips, backends, scheduler, tuple(dict.fromkeys(interfaces)))
    logging.basicConfig(format="dsrlb: %(message)s", level=logging.INFO)
    control.serve(config, force=force)
