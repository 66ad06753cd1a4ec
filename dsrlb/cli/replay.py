"""``dsrlb replay``: the data path over a capture file."""

from __future__ import annotations

from pathlib import Path

import click

from dsrlb.cli.options import Parsed, Vip, config_of, service_options
from dsrlb.config import parse_mac
from dsrlb.engines.replay import replay_file
from dsrlb.engines.report import lines
from dsrlb.errors import ConfigError
from dsrlb.model import Backend


@click.command()
@service_options
@click.option(
    "--mac",
    type=Parsed("mac", lambda text: parse_mac(text, "--mac")),
    metavar="MAC",
    help="The balancer's own MAC: only frames to it are taken, and ARP and neighbour solicitations are "
    "answered.  [default: every unicast frame is taken]",
)
@click.argument("source", metavar="IN.pcap", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT.pcap", type=click.Path(path_type=Path))
def replay(
    mode: str,
    vips: tuple[Vip, ...],
    backends: tuple[Backend, ...],
    scheduler: str,
    mac: bytes | None,
    source: Path,
    target: Path,
) -> None:
    """Run the data path over IN.pcap and write what it sends to OUT.pcap; needs no root.

    Every backend needs its mac=.  Prints the counters.
    """
    config = config_of(mode, vips, backends, scheduler)
    nameless = [str(backend.address) for backend in backends if backend.mac is None]
    if nameless:
        raise ConfigError(
            f"backend {', '.join(nameless)}: no MAC, and a replay has no network to ask; add mac=MAC"
        )
    state, table = replay_file(config.services, mac, source, target)
    for line in lines(state, table):
        click.echo(line)
