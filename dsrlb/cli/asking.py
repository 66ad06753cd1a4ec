"""What commands share that ask a running dsrlb."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from dsrlb.admin.asking import ask as ask_at
from dsrlb.admin.listening import socket_path
from dsrlb.cli.options import Parsed
from dsrlb.config import parse_instance
from dsrlb.engines.choice import EngineChoice

Option = Callable[..., Any]  # a decorator of click's


def instance_option(says: str) -> Option:
    """Return the option that names a dsrlb of this host."""
    return click.option(
        "--instance",
        metavar="NAME",
        default=EngineChoice.instance,
        show_default=True,
        type=Parsed("instance", parse_instance),
        help=says,
    )


admin_option = click.option(
    "--admin", "at", metavar="PATH", help="Its admin socket, where it has a place of its own."
)
OPTIONS = (
    instance_option("Which dsrlb."),
    admin_option,
    click.option("--json", "is_json", is_flag=True, help="Print the answer as it is, for programs."),
)

Ask = Callable[..., Any]  # words of a request -> the answer


def asking(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command's function the options that say whom to ask, as ``ask``, and ``is_json``."""

    @wraps(function)
    def command(instance: str, at: str | None, **given: Any) -> None:
        path = socket_path(instance) if at is None else Path(at)

        def ask(**words: Any) -> Any:
            return ask_at(path, {name: value for name, value in words.items() if value is not None})

        function(ask=ask, **given)

    for option in reversed(OPTIONS):
        option(command)
    return command
