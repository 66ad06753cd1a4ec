"""``dsrlb check``: is this configuration file right?"""

from __future__ import annotations

import os

import click

from dsrlb.config import Config, read_config
from dsrlb.control.proxy_trial import try_proxy
from dsrlb.errors import ConfigError
from dsrlb.preflight import survey
from dsrlb.preflight_proxy import proxy_warnings

ON_THE_NETWORK = "whether another machine has a VIP, and whether the servers answer (dsrlb serve asks them)"
ON_THE_HOST = "this host's interfaces, addresses and routes"


@click.command()
@click.option(
    "--host/--no-host",
    default=None,
    help="Look at this host's interfaces, addresses and routes as well.  [default: as root]",
)
@click.argument("file", metavar="FILE")
@click.pass_context
def check(ctx: click.Context, host: bool | None, file: str) -> None:
    """Read a configuration file and print every problem in it as FILE:LINE: SENTENCE; changes nothing.

    Exit code 0 when there is none, 3 when there is one, 2 when the file cannot be read.
    """
    looks_at_host = os.geteuid() == 0 if host is None else host
    try:
        config = read_config(file)
        if looks_at_host:
            survey(config)
            try_proxy(config.proxied)
            for sentence in proxy_warnings(config):
                click.echo(f"warning: {sentence}")
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem)
        ctx.exit(error.exit_code)
    click.echo(f"{file}: {_summary(config)}: no problem found")
    without_host = "" if looks_at_host else f"{ON_THE_HOST} (run it as root on the balancer); "
    click.echo(f"not checked: {without_host}{ON_THE_NETWORK}")


def _summary(config: Config) -> str:
    backends = sum(len(service.backends) for service in config.services)
    return f"{_counted(len(config.services), 'service')}, {_counted(backends, 'backend')}"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
