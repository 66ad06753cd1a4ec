"""The command line: one file a command."""

from __future__ import annotations

import signal
import sys

import click

from dsrlb import __version__
from dsrlb.cli.backend import backend
from dsrlb.cli.check import check
from dsrlb.cli.lab import lab
from dsrlb.cli.replay import replay
from dsrlb.cli.serve import serve
from dsrlb.errors import DsrlbError, UsageError
from dsrlb.host import output

# A group without a command, as of click 8.2: its message is the whole help.
NO_ARGUMENTS = getattr(click.exceptions, "NoArgsIsHelpError", ())


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dsrlb")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
def cli(debug: bool) -> None:
    """A Layer-4 load balancer with Direct Server Return."""


for command in (serve, check, replay, backend, lab):
    cli.add_command(command)


def main() -> None:
    """Run the command line: an error is one sentence on stderr and an exit code (see dsrlb.errors)."""
    try:
        sys.exit(cli.main(prog_name="dsrlb", standalone_mode=False))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # whoever read has seen enough
        output.give_up()
        sys.exit(DsrlbError.exit_code)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        sys.exit(_tell(error))


def _tell(error: Exception) -> int:
    """Print an error, each problem on a line; return the exit code.  Anything unknown is a bug."""
    if isinstance(error, NO_ARGUMENTS):
        error.show()
        return UsageError.exit_code
    if isinstance(error, DsrlbError):
        said, code = str(error), error.exit_code
    elif isinstance(error, click.ClickException):
        said, code = _usage(error), error.exit_code
    else:
        said, code = f"{type(error).__name__}: {error} (dsrlb --debug shows where)", DsrlbError.exit_code
    for line in said.splitlines():
        click.echo(f"dsrlb: {line}", err=True)
    return code


def _usage(error: click.ClickException) -> str:
    """Return what is wrong with the command line as one sentence; click spreads choices over lines."""
    said = " ".join(error.format_message().split())
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None or type(error) is click.BadParameter:  # that one says itself what to write
        return said
    return f"{said} (see {context.command_path} --help)"
