"""The command line: one file a command."""

from __future__ import annotations

import sys

import click

from dsrlb import __version__
from dsrlb.cli.backend import backend
from dsrlb.cli.lab import lab
from dsrlb.cli.replay import replay
from dsrlb.cli.serve import serve
from dsrlb.errors import DsrlbError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dsrlb")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
def cli(debug: bool) -> None:
    """A Layer-4 load balancer with Direct Server Return."""


for command in (serve, replay, backend, lab):
    cli.add_command(command)


def main() -> None:
    """Run the command line: an error is one sentence on stderr and an exit code (see dsrlb.errors)."""
    try:
        cli.main(prog_name="dsrlb")
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        sys.exit(_tell(error))


def _tell(error: Exception) -> int:
    """Print an error, each problem on a line; return the exit code.  Anything but a DsrlbError is a bug."""
    known = error if isinstance(error, DsrlbError) else None
    said = str(error) if known else f"{type(error).__name__}: {error} (dsrlb --debug shows where)"
    for line in said.splitlines():
        click.echo(f"dsrlb: {line}", err=True)
    return known.exit_code if known else DsrlbError.exit_code
