"""``dsrlb drain``, ``undrain``, ``disable``, ``enable``, ``weight``, ``reload``: steer a running dsrlb.

What is changed holds until it is changed back or the process ends, over reloads too; the file stays as it is.
"""

from __future__ import annotations

import json
from typing import Any

import click

from dsrlb.cli import tables
from dsrlb.cli.asking import Ask, asking
from dsrlb.cli.options import Parsed
from dsrlb.config import MAX_WEIGHT
from dsrlb.errors import UsageError

_service = click.option(
    "--service", metavar="SERVICE", help="In this service only: its name, or VIP:PORT[/tcp|/udp]."
)
_backend = click.argument("backend", metavar="BACKEND")


@click.command()
@asking
@_service
@_backend
def drain(ask: Ask, is_json: bool, **words: str) -> None:
    """Give BACKEND no new flows; those that it has stay."""
    _told(ask(do="drain", **words), is_json)


@click.command()
@asking
@_service
@_backend
def undrain(ask: Ask, is_json: bool, **words: str) -> None:
    """Take a drain back."""
    _told(ask(do="undrain", **words), is_json)


@click.command()
@asking
@_service
@_backend
def disable(ask: Ask, is_json: bool, **words: str) -> None:
    """Give BACKEND no new flows and no UDP, as if it were down; TCP under way stays."""
    _told(ask(do="disable", **words), is_json)


@click.command()
@asking
@_service
@_backend
def enable(ask: Ask, is_json: bool, **words: str) -> None:
    """Take a disable back."""
    _told(ask(do="enable", **words), is_json)


def _weight(text: str) -> int | str:
    if text == "configured":
        return text
    if text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= MAX_WEIGHT:
        return int(text)
    raise UsageError(f"{text!r} is neither a whole number from 0 to {MAX_WEIGHT} nor configured")


@click.command()
@asking
@_service
@_backend
@click.argument("weight", metavar="N|configured", type=Parsed("weight", _weight))
def weight(ask: Ask, is_json: bool, **words: Any) -> None:
    """Give BACKEND a weight in place of the configured one, or that one again."""
    _told(ask(do="weight", **words), is_json)


@click.command()
@asking
def reload(ask: Ask, is_json: bool) -> None:
    """Read the configuration file again; every problem in it is told, and nothing changes then."""
    ask(do="reload")
    click.echo("null" if is_json else "reloaded")


def _told(answer: Any, is_json: bool) -> None:
    """Print how the backends stand now."""
    if is_json:
        return click.echo(json.dumps(answer, indent=2))
    for row in answer["backends"]:
        name = f" ({row['name']})" if row["name"] else ""
        said = f"{tables.standing(row)}, weight {row['weight']}"
        more = f"; {note}" if (note := tables.backend_note(row)) else ""
        click.echo(f"{row['backend']}{name} of {row['service']}: {said}{more}")
    for note in answer["notes"]:
        click.echo(f"dsrlb: {note}", err=True)
