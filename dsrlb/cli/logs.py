"""The log of ``dsrlb serve``: lines for a person, or objects for a program."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import click

FORMATS = ("text", "json")
TEXT = logging.Formatter("dsrlb: %(message)s")


class JsonLines(logging.Formatter):
    """One object a line: ``time`` (RFC 3339, UTC), ``level``, ``event``; ``traceback`` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        said = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def begin(_: click.Context, __: click.Parameter, name: str) -> None:
    """Set the log up, before anything else of the command can fail."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if name == "json" else TEXT)
    logging.basicConfig(handlers=[handler], level=logging.INFO)


def log_format(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option for it."""
    return click.option(
        "--log-format",
        type=click.Choice(FORMATS),
        default=FORMATS[0],
        show_default=True,
        is_eager=True,
        expose_value=False,
        callback=begin,
        help="The log on standard error: a line for each event, text or a JSON object (time, level, event).",
    )(function)


def tell(sentence: str) -> None:
    """Print why the command fails, as the log has it."""
    root = logging.getLogger()
    if any(isinstance(handler.formatter, JsonLines) for handler in root.handlers):
        root.error("%s", sentence)
    else:
        click.echo(f"dsrlb: {sentence}", err=True)
