"""``dsrlb drain``, ``undrain``, ``disable``, ``enable``, ``weight``, ``reload``: steer a running dsrlb.

What is changed holds until it is changed back or the process ends, over reloads too; with ``--durable`` over
restarts as well.  The configuration file stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from dsrlb.cli import tables
from dsrlb.cli.asking import Ask, asking
from dsrlb.cli.options import Parsed
from dsrlb.cli.watching import Look, answers
from dsrlb.config import MAX_TIMEOUT_S, MAX_WEIGHT
from dsrlb.errors import DsrlbError, UsageError

WAIT_EVERY_S = 0.5

Row = dict[str, Any]

_service = click.option(
    "--service", metavar="SERVICE", help="In this service only: its name, or VIP:PORT[/tcp|/udp]."
)
_durable = click.option(
    "--durable",
    is_flag=True,
    callback=lambda _, __, is_so: is_so or None,  # what is not said is not in the request
    help="Let it hold over restarts of dsrlb.  [default: until it ends]",
)
_backend = click.argument("backend", metavar="BACKEND")


def _steers(function: Callable[..., None]) -> click.Command:
    """Make a function a command that changes backends."""
    for option in (_backend, _durable, _service):
        option(function)
    return click.command()(asking(function))


@_steers
@click.option(
    "--within",
    type=click.IntRange(0, MAX_TIMEOUT_S),
    metavar="SECONDS",
    help="Let flows go that are left after so long: BACKEND is as if it were not configured then, until "
    "undrain or enable.  [default: they stay]",
)
@click.option(
    "--wait",
    is_flag=True,
    help="Wait until no connection is left (exit code 0), or the drain is over in another way (1).",
)
def drain(ask: Ask, is_json: bool, wait: bool, **words: Any) -> None:
    """Give BACKEND no new flows; those that it has stay."""
    answer = ask(do="drain", **words)
    if not wait:
        return _told(answer, is_json)
    _tell_notes(answer)
    meant = {name: words[name] for name in ("backend", "service")}
    rows = _waited(lambda: ask(do="show", what="backends", **meant))
    _told({"backends": rows, "notes": []}, is_json)
    if unfinished := list(dict.fromkeys(filter(None, map(_why_not_empty, rows)))):
        raise DsrlbError(f"{words['backend']} did not become empty: {', '.join(unfinished)}")


def _waited(look: Look) -> list[Row]:
    """Return the rows of backends when the drain of none of them goes on."""
    for rows in answers(look, WAIT_EVERY_S):
        if not any(map(_goes_on, rows)):
            return list(rows)
    raise AssertionError("there are answers for ever")


def _goes_on(row: Row) -> bool:
    return row["drain"] is not None and row["drain"]["state"] == "draining"


def _why_not_empty(row: Row) -> str:
    """Return why a drain did not end with the last connection, empty if it did."""
    if row["drain"] is None:
        return "its drain was taken back"
    left = row["drain"]["let_go"]
    return "" if left is None else f"{tables.remaining(left)} when its time was over"


@_steers
def undrain(ask: Ask, is_json: bool, **words: Any) -> None:
    """Take a drain back, also one that is over."""
    _told(ask(do="undrain", **words), is_json)


@_steers
def disable(ask: Ask, is_json: bool, **words: Any) -> None:
    """Give BACKEND no new flows and no UDP, as if it were down; TCP under way stays."""
    _told(ask(do="disable", **words), is_json)


@_steers
def enable(ask: Ask, is_json: bool, **words: Any) -> None:
    """Take a disable back, and a drain that is over."""
    _told(ask(do="enable", **words), is_json)


def _weight(text: str) -> int | str:
    if text == "configured":
        return text
    if text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= MAX_WEIGHT:
        return int(text)
    raise UsageError(f"{text!r} is neither a whole number from 0 to {MAX_WEIGHT} nor configured")


@_steers
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
    _tell_notes(answer)


def _tell_notes(answer: Any) -> None:
    for note in answer["notes"]:
        click.echo(f"dsrlb: {note}", err=True)
