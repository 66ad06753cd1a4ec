"""``dsrlb replay``: the data path over a capture file."""

from __future__ import annotations

import click

from dsrlb import modes
from dsrlb.cli.options import Parsed, configured
from dsrlb.config import Config, parse_mac
from dsrlb.engines.base import counters_of
from dsrlb.engines.replay import replay_file
from dsrlb.engines.report import lines
from dsrlb.errors import ConfigError
from dsrlb.frameio.pcap import STANDARD
from dsrlb.modes.base import wraps


@click.command()
@configured
@click.option(
    "--mac",
    type=Parsed("mac", lambda text: parse_mac(text, "--mac")),
    metavar="MAC",
    help="The balancer's own MAC: only frames to it are taken, and ARP and neighbour solicitations are "
    "answered.  [default: every unicast frame is taken]",
)
@click.argument("captured", metavar="IN.pcap", type=click.Path())
@click.argument("sent", metavar="OUT.pcap", type=click.Path())
def replay(config: Config, mac: bytes | None, captured: str, sent: str) -> None:
    """Run the data path over IN.pcap and write what it sends to OUT.pcap; needs no root.

    Every backend needs its mac=.  Prints the counters.  IN.pcap may be - for standard input, OUT.pcap - for
    standard output: the counters go to standard error then.
    """
    behind = [backend for service in config.services for backend in service.backends]
    nameless = dict.fromkeys(str(backend.address) for backend in behind if backend.mac is None)
    if nameless:
        raise ConfigError(
            f"backend {', '.join(nameless)}: no MAC, and a replay has no network to ask; add mac=MAC"
        )
    sourceless = [
        one.name
        for one in config.services
        if wraps(modes.BY_NAME[one.mode], one.options) and one.options.source is None
    ]
    if sourceless:
        raise ConfigError(
            f"service {', '.join(sourceless)}: wrapped packets need an address of the balancer's as source, "
            "and a replay has no host to ask; add --source ADDR"
        )
    state, table = replay_file(config.services, mac, captured, sent)
    for line in lines(counters_of(state), table, config.services):
        click.echo(line, err=sent == STANDARD)
