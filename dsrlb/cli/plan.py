"""``dsrlb plan``, ``apply``, ``rollback``: what a configuration would change, have it changed, and go back.

::

    FILE ──plan──► shown ──yes──► in the place of the file that dsrlb runs by ──reload──► in force, and kept
                                                   └── refused: what was there is put back
"""

from __future__ import annotations

import json
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import click

from dsrlb.admin.server import MOST_REQUEST_BYTES
from dsrlb.cli import logs
from dsrlb.cli.asking import Ask, asking
from dsrlb.cli.plan_words import applied_lines, kept_lines, plan_lines
from dsrlb.config import read_config
from dsrlb.control.planning import plan_without
from dsrlb.control.proxy_foreseen import foreseen
from dsrlb.control.proxy_table import compiled
from dsrlb.engines.haproxy.places import Places
from dsrlb.errors import ConfigError, DsrlbError, UsageError
from dsrlb.host.files import replace_alike, replace_whole
from dsrlb.standing import ALL_UP

Row = dict[str, Any]

_yes = click.option("--yes", "is_sure", is_flag=True, help="Do not ask before anything is changed.")


@click.command()
@asking
@click.option(
    "--against",
    metavar="OTHER",
    help="Compare with this file, without a running dsrlb: as if all servers were up.",
)
@click.argument("file", metavar="FILE")
def plan(ask: Ask, is_json: bool, file: str, against: str | None) -> None:
    """What FILE would change of what a running dsrlb does: slots and flows that move; changes nothing.

    Exit code 0 when it could be applied, 3 when it would be refused, which is told with every reason.
    """
    planned = _compared(file, against) if against is not None else _planned(ask, _read(file))
    _show(planned, is_json)
    if planned["refused"]:
        raise ConfigError(*planned["refused"])


@click.command()
@asking
@_yes
@click.argument("file", metavar="FILE")
def apply(ask: Ask, is_json: bool, is_sure: bool, file: str) -> None:
    """Show the plan of FILE, put it in the place of the file that dsrlb runs by, and reload.

    What dsrlb refuses is put back.  dsrlb rollback takes an apply back.
    """
    _put_in_force(ask, _read(file), is_json=is_json, is_sure=is_sure)


@click.command()
@asking
@_yes
@click.option(
    "--to", "number", metavar="N", type=click.IntRange(1), help="To this one.  [default: the one before]"
)
@click.option("--list", "is_list", is_flag=True, help="Print which ones are kept, and change nothing.")
def rollback(ask: Ask, is_json: bool, is_sure: bool, number: int | None, is_list: bool) -> None:
    """Go back to the configuration that was in force before, or to another that is kept."""
    if is_list:
        kept = ask(do="history")
        click.echo(json.dumps(kept, indent=2) if is_json else "\n".join(kept_lines(kept)))
        return
    found = ask(do="history", number=number, before=number is None)
    name = f"{found['file']} (number {found['number']})"
    new = New(found["content"].encode(), name, found["number"])
    _put_in_force(ask, new, is_json=is_json, is_sure=is_sure)


class New(NamedTuple):
    """A configuration that is to be in force."""

    content: bytes
    name: str
    number: int | None = None  # of those that are kept: this one again


def _read(file: str) -> New:
    """Return what is in a file.  ConfigError with every problem in it, UsageError."""
    origin = read_config(file).origin
    return New(origin.content if origin is not None else b"", file)


def _planned(ask: Ask, new: New) -> Row:
    request = {"content": new.content.decode(), "name": new.name}
    if len(json.dumps(request)) > MOST_REQUEST_BYTES - 1024:
        raise UsageError(
            f"{new.name} has more than {MOST_REQUEST_BYTES >> 20} MiB, too much for a plan; put it in its "
            "place, and say dsrlb reload"
        )
    planned: Row = ask(do="plan", **request)
    return planned


def _compared(file: str, against: str) -> Row:
    """Return what a file changes of another one."""
    before, after = read_config(against), read_config(file)
    nowhere = Places(Path(tempfile.gettempdir()))
    return plan_without(before, after, foreseen(nowhere, before.proxied, compiled(before.proxied, ALL_UP)))


def _show(planned: Row, is_json: bool) -> None:
    click.echo(json.dumps(planned, indent=2) if is_json else "\n".join(plan_lines(planned)))


# ------------------------------------------------------------------------- in force


def _put_in_force(ask: Ask, new: New, *, is_json: bool, is_sure: bool) -> None:
    """Have a running dsrlb go by other content of its file."""
    if not is_sure and not (sys.stdin.isatty() and not is_json):
        raise UsageError("there is no terminal to ask at whether this is meant; say --yes")
    planned = _planned(ask, new)
    if not is_json:
        _show(planned, is_json)
    if planned["refused"]:
        raise ConfigError(*planned["refused"])
    if planned["running_file"] is None:
        raise ConfigError("dsrlb was started by options, and has no file to change: see dsrlb serve --config")
    if not is_sure and not click.confirm("Apply this?", default=False):
        raise DsrlbError("nothing is changed")
    answer = _reloaded(ask, planned, new)
    if answer["digest"] != planned["digest"]:
        raise DsrlbError(
            f"dsrlb has reloaded {planned['running_file']}, but found something else in it than was put "
            "there; does it see the same file?"
        )
    said = {"plan": planned, "moved": answer["services"]}
    click.echo(json.dumps(said, indent=2) if is_json else "\n".join(applied_lines(answer["services"])))


def _reloaded(ask: Ask, planned: Row, new: New) -> Row:
    """Put content into the file that dsrlb runs by, and have it reloaded; refused: what was there is back."""
    file = Path(planned["running_file"])
    before = _replaced(file, new.content, planned["running_digest"])
    try:
        answer: Row = ask(do="apply", number=new.number)
    except ConfigError:
        _put(file, before)
        raise
    except DsrlbError as error:
        raise DsrlbError(f"{error} {file} is changed; whether it is in force is not known.") from None
    return answer


def _replaced(file: Path, content: bytes, running_digest: str) -> bytes | None:
    """Put content into a file; return what was there, which is kept beside if it was not in force either."""
    try:
        before = file.read_bytes() if file.exists() else None
        if before not in (None, content) and sha256(before or b"").hexdigest() != running_digest:
            aside = file.with_name(f"{file.name}.not-loaded")
            replace_whole(aside, before or b"", file.stat())
            logs.tell(f"{file} had been changed and not been loaded; what was in it is in {aside}")
        _put(file, content)
    except OSError as error:
        why = error.strerror or error
        raise DsrlbError(f"{file}, by which dsrlb runs, cannot be written ({why})") from None
    return before


def _put(file: Path, content: bytes | None) -> None:
    """Let a file have this content; None: let it be gone."""
    if content is None:
        file.unlink()
    elif not file.exists():
        replace_whole(file, content)
    elif file.read_bytes() != content:
        replace_alike(file, content)
