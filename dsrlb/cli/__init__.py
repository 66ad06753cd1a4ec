"""The command line: one file a command."""

from __future__ import annotations

import signal
import sys
from collections import UserDict
from importlib import import_module
from typing import Any

import click

from dsrlb import __version__
from dsrlb.cli import logs
from dsrlb.errors import DsrlbError, UsageError
from dsrlb.host import output

# A group without a command, as of click 8.2: its message is the whole help.
NO_ARGUMENTS = getattr(click.exceptions, "NoArgsIsHelpError", ())


# Of commands that are words of Python: what the function is called.
COMMAND_NAMES = {"import": "importing"}


class OnDemand(UserDict[str, Any]):
    """Commands by name, each loaded when it is asked for: what all of them import takes a second."""

    def __getitem__(self, name: str) -> Any:
        """Return the command, which has its module's name."""
        found = self.data[name]
        if isinstance(found, str):
            self.data[name] = found = getattr(import_module(found), COMMAND_NAMES.get(name, name))
        return found


COMMANDS = OnDemand(
    serve="dsrlb.cli.serve",
    check="dsrlb.cli.check",
    detach="dsrlb.cli.detach",
    show="dsrlb.cli.show",
    drain="dsrlb.cli.steer",
    undrain="dsrlb.cli.steer",
    disable="dsrlb.cli.steer",
    enable="dsrlb.cli.steer",
    weight="dsrlb.cli.steer",
    reload="dsrlb.cli.steer",
    plan="dsrlb.cli.plan",
    apply="dsrlb.cli.plan",
    rollback="dsrlb.cli.plan",
    explain="dsrlb.cli.explain",
    top="dsrlb.cli.top",
    doctor="dsrlb.cli.doctor",
    trace="dsrlb.cli.trace",
    replay="dsrlb.cli.replay",
    backend="dsrlb.cli.backend",
    lab="dsrlb.cli.lab",
    bench="dsrlb.cli.bench",
    completion="dsrlb.cli.completion",
    **{"import": "dsrlb.cli.importing"},
)


@click.group(commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dsrlb")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
def cli(debug: bool) -> None:
    """A Layer-4 load balancer with Direct Server Return."""


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
        logs.tell(line)
    return code


def _usage(error: click.ClickException) -> str:
    """Return what is wrong with the command line as one sentence; click spreads choices over lines."""
    said = " ".join(error.format_message().split())
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None or type(error) is click.BadParameter:  # that one says itself what to write
        return said
    return f"{said} (see {context.command_path} --help)"
