"""Answers of a running dsrlb, once or again and again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from dsrlb.cli import logs, tables
from dsrlb.errors import DsrlbError, UsageError

Look = Callable[[], Any]  # asks and returns the answer
WATCH_EVERY_S = 2.0

watch_option = click.option(
    "--watch",
    "watch_s",
    type=click.FloatRange(0.2, 3600),
    is_flag=False,
    flag_value=WATCH_EVERY_S,
    metavar="[SECONDS]",
    help=f"Look again and again, every {WATCH_EVERY_S:g} s or as said, until Ctrl-C.",
)


def _no_notes(_: Any) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class View:
    """How an answer is shown to a person: as a table, and what there is to say beside it."""

    table: Callable[[Any], RenderableType]
    notes: Callable[[Any], Sequence[str]] = _no_notes


def present(look: Look, view: View, *, is_json: bool, watch_s: float | None) -> None:
    """Print what is seen: once, or every ``watch_s`` until Ctrl-C, over restarts of dsrlb."""
    if watch_s is None:
        return _print(look(), view, is_json, indent=2)
    with suppress(KeyboardInterrupt):
        if sys.stdout.isatty() and not is_json:
            return _live(looks(look, watch_s), view)
        for number, answer in enumerate(answers(look, watch_s)):
            if number and not is_json:
                click.echo()
            _print(answer, view, is_json, indent=None)


def _print(answer: Any, view: View, is_json: bool, indent: int | None) -> None:
    if is_json:
        return click.echo(json.dumps(answer, indent=indent))
    tables.show(view.table(answer))
    for note in view.notes(answer):
        click.echo(note, err=True)


def _live(seen: Iterator[tuple[Any, str]], view: View) -> None:
    with Live(console=Console(highlight=False), auto_refresh=False, screen=True) as live:
        for answer, trouble in seen:
            said = [Text(note, style="bold red" if trouble else "") for note in _said(answer, trouble, view)]
            live.update(Group(*said, view.table(answer)), refresh=True)


def _said(answer: Any, trouble: str, view: View) -> list[str]:
    """Return what stands above a table, which may be longer than the terminal."""
    return [f"{trouble} As it was last:"] if trouble else list(view.notes(answer))


def answers(look: Look, every_s: float) -> Iterator[Any]:
    """Yield answers again and again; while there are none, that is told, once."""
    before = ""
    for answer, trouble in looks(look, every_s):
        if trouble and not before:
            logs.tell(trouble)
        if before and not trouble:
            logs.tell("it answers again")
        if not trouble:
            yield answer
        before = trouble


def looks(look: Look, every_s: float) -> Iterator[tuple[Any, str]]:
    """Yield answers again and again; the last one, and why there is no other, while dsrlb does not answer.

    Raises what goes wrong the first time, and UsageError: what was asked for is there no more.
    """
    answer = look()
    yield answer, ""
    while True:
        time.sleep(every_s)
        try:
            answer, trouble = look(), ""
        except UsageError:
            raise
        except DsrlbError as error:
            trouble = str(error)
        yield answer, trouble
