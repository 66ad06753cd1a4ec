"""``dsrlb show``: what a running dsrlb does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from dsrlb.admin.asking import DEFAULT_LIMIT, MAX_LIMIT
from dsrlb.cli import tables
from dsrlb.cli.asking import Ask, asking

_service = click.option(
    "--service", metavar="SERVICE", help="Only of this one: its name, or VIP:PORT[/tcp|/udp]."
)
_backend = click.option(
    "--backend", metavar="BACKEND", help="Only of this one: its name, or ADDR[:PORT]."
)  # fmt: skip


@click.group()
def show() -> None:
    """See what a running dsrlb does: services, backends, flows, counters, engines."""


def _print(answer: Any, is_json: bool, as_table: Callable[[Any], None]) -> None:
    if is_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        as_table(answer)


@show.command()
@asking
@_service
def services(ask: Ask, is_json: bool, service: str | None) -> None:
    """Services: how many backends take new flows, what they were sent."""
    _print(ask(do="show", what="services", service=service), is_json, tables.services)


@show.command()
@asking
@_service
@_backend
def backends(ask: Ask, is_json: bool, service: str | None, backend: str | None) -> None:
    """Backends: how each stands, its share of flows beside the one expected, what is not as configured."""
    said = ask(do="show", what="backends", service=service, backend=backend)
    _print(said, is_json, tables.backends)


@show.command()
@asking
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
def flows(ask: Ask, is_json: bool, **words: Any) -> None:
    """Flows on record: which server each client has.

    With maglev and hash none is on record while nothing changes, but those that the slots do not tell of.
    """
    answer = ask(do="show", what="flows", **words)
    _print(answer, is_json, tables.flows)
    if is_json:
        return
    if not answer["complete"]:
        click.echo(f"there may be more: {answer['on_record']} are on record (--limit, --client)", err=True)
    if not answer["flows"] and answer["unrecorded"]:
        click.echo(
            f"not on record while nothing changes: flows of {', '.join(answer['unrecorded'])}", err=True
        )


@show.command()
@asking
def counters(ask: Ask, is_json: bool) -> None:
    """Frames by reason; docs/REASONS.md explains each word."""
    _print(ask(do="show", what="counters"), is_json, tables.counters)


@show.command()
@asking
def engines(ask: Ask, is_json: bool) -> None:
    """The engine: which one, on which interfaces, how many flows it has room for."""
    _print(ask(do="show", what="engines"), is_json, tables.engines)
