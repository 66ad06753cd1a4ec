"""``dsrlb show``: what a running dsrlb does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import click

from dsrlb.admin.asking import DEFAULT_LIMIT, MAX_LIMIT
from dsrlb.cli import tables, tables_inside
from dsrlb.cli.asking import Ask, asking
from dsrlb.cli.watching import View, present, watch_option

_service = click.option(
    "--service", metavar="SERVICE", help="Only of this one: its name, or VIP:PORT[/tcp|/udp]."
)
_backend = click.option(
    "--backend", metavar="BACKEND", help="Only of this one: its name, or ADDR[:PORT]."
)  # fmt: skip


@click.group()
def show() -> None:
    """See what a running dsrlb does: services, backends, health, flows, counters, table, engines, haproxy."""


def shows(what: str, view: View) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function's name and options a command that shows this."""

    def command_of(function: Callable[..., None]) -> click.Command:
        @wraps(function)
        def command(ask: Ask, is_json: bool, watch_s: float | None, **words: Any) -> None:
            def look() -> Any:
                return ask(do="show", what=what, **words)

            present(look, view, is_json=is_json, watch_s=watch_s)

        return show.command()(asking(watch_option(command)))

    return command_of


def _flow_notes(answer: Any) -> list[str]:
    return list(_notes_of_flows(answer))


def _notes_of_flows(answer: Any) -> Iterator[str]:
    if not answer["complete"]:
        yield f"there may be more: {answer['on_record']} are on record (--limit, --client)"
    if not answer["flows"] and answer["unrecorded"]:
        yield f"not on record while nothing changes: flows of {', '.join(answer['unrecorded'])}"
    if answer["proxied"]:
        named = ", ".join(answer["proxied"])
        yield f"not on record, as mode proxy ends connections here (dsrlb show backends): those of {named}"


@shows("services", View(tables.services))
@_service
def services() -> None:
    """Services: how many backends take new flows, what they were sent."""


@shows("backends", View(tables.backends))
@_service
@_backend
def backends() -> None:
    """Backends: how each stands, its share of flows beside the one expected, what is not as configured."""


@shows("health", View(tables_inside.health))
@_service
@_backend
def health() -> None:
    """Health: what the last checks of each server found, and what to do about it."""


@shows("flows", View(tables.flows, _flow_notes))
@_service
@_backend
@click.option("--client", metavar="ADDR|NETWORK", help="Only of these clients.")
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_LIMIT),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="How many at most.",
)
def flows() -> None:
    """Flows on record: which server each client has.

    With maglev and hash none is on record while nothing changes, but those that the slots do not tell of.
    """


@shows("counters", View(tables.counters))
def counters() -> None:
    """Frames by reason; docs/REASONS.md explains each word."""


@shows("table", View(tables_inside.forwarding))
@_service
def table() -> None:
    """The forwarding table: slots of each backend, the way to it, and slots that change hands."""


@shows("engines", View(tables.engines))
def engines() -> None:
    """The engine: which one, on which interfaces, how many flows it has room for."""


@shows("haproxy", View(tables.text))
def haproxy() -> None:
    """The configuration that HAProxy runs by, for the services of mode proxy."""
