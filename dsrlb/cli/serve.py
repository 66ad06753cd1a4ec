"""``dsrlb serve``: balance."""

from __future__ import annotations

import logging
from dataclasses import replace

import click

from dsrlb import control
from dsrlb.cli.options import BESIDE_FILE, Parsed, configured
from dsrlb.config import Config, parse_interface


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
@click.option("--engine", type=click.Choice(["packet"]), default="packet", show_default=True)
@click.option(
    "--force",
    is_flag=True,
    help="Start although another machine answers for a VIP, this host has it, or no backend answers.",
)
def serve(config: Config, interfaces: tuple[str, ...], engine: str, force: bool) -> None:
    """Forward the frames of the VIPs to the backends until stopped.

    Logs a line with the word "ready" once the first packet can be forwarded.  SIGUSR1 prints the
    counters; SIGTERM or SIGINT prints them and stops.
    """
    logging.basicConfig(format="dsrlb: %(message)s", level=logging.INFO)
    if interfaces:
        if config.origin is not None:
            raise click.UsageError(BESIDE_FILE.format("--interface"))
        config = replace(config, interfaces=tuple(dict.fromkeys(interfaces)))
    control.serve(config, force=force)
