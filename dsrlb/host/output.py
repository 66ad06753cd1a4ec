"""Standard output whose reader may be gone: what is printed for people must not decide how a run ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import click


def print_lines(lines: Iterable[str]) -> str | None:
    """Print lines on standard output; return why that was not possible, or None."""
    try:
        click.echo("\n".join(lines))
    except OSError as error:
        give_up()
        return error.strerror or str(error)
    return None


def give_up() -> None:
    """Send all that is still to be printed nowhere.

    What is left in the buffer would fail once more when the interpreter ends, and give exit code 120.
    """
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
