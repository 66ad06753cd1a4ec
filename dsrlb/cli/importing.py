"""``dsrlb import``: a configuration of IPVS's tools as a ``dsrlb.toml``, and what has no equivalent."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import click

from dsrlb.cli.tables import printable
from dsrlb.config.toml import MOST_BYTES
from dsrlb.errors import ConfigError, UsageError
from dsrlb.importing import ipvsadm, keepalived
from dsrlb.importing.found import Found
from dsrlb.importing.written import written

_file = click.argument("file", metavar="FILE|-")
_json = click.option("--json", "is_json", is_flag=True, help="Print file and report as JSON.")


@click.group()
def importing() -> None:
    """Turn a configuration of IPVS's into a dsrlb.toml, on stdout; what has no equivalent is told on stderr.

    Exit code 0 when the file can be used as it is, 3 when there is a problem in it yet, or nothing to import.
    """


@importing.command("ipvsadm")
@_json
@_file
def from_ipvsadm(file: str, is_json: bool) -> None:
    """What ``ipvsadm -S -n`` prints, or a script of ipvsadm's commands."""
    name = _name(file)
    _told(ipvsadm.read(_read(file), name), f"ipvsadm {file}", is_json)


@importing.command("keepalived")
@click.option(
    "--config-id",
    metavar="NAME",
    help="What lines that begin with @NAME are for.  [default: the name of this host]",
)
@_json
@_file
def from_keepalived(file: str, config_id: str | None, is_json: bool) -> None:
    """The virtual servers of a keepalived.conf, with all that it includes."""
    folder = Path() if file == "-" else Path(file).parent
    named = config_id or platform.node().partition(".")[0]
    _told(keepalived.read(_read(file), _name(file), folder, named), f"keepalived {file}", is_json)


def _name(file: str) -> str:
    return "stdin" if file == "-" else file


def _read(file: str) -> str:
    """Return what is in a file, or comes in on stdin."""
    try:
        if file == "-":
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{file} cannot be read ({why}); give a file, or - for stdin") from None
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{file}:1: it is larger than {MOST_BYTES >> 20} MiB; is it the right one?")
    if b"\0" in content:
        raise ConfigError(f"{file}:1: this is no text; is it the right file?")
    return content.decode(errors="replace").removeprefix("\ufeff")


def _told(found: Found, said: str, is_json: bool) -> None:
    """Print what was found, and what of it has no equivalent."""
    text, problems = written(found, [f"Made by: dsrlb import {said}"])
    notes = sorted(found.notes, key=lambda one: _order(one.where))
    if is_json:
        report = [{"where": one.where, "says": one.sentence} for one in notes]
        click.echo(json.dumps({"toml": text, "report": report, "problems": list(problems)}, indent=2))
    else:
        click.echo(text, nl=False)
        for one in notes:
            click.echo(printable(f"{one.where}: {one.sentence}"), err=True)
    if "\n[[service]]\n" not in text:
        raise ConfigError(
            f"{said.partition(' ')[2]}: there is no virtual service in it that dsrlb could have"
        )
    if problems:
        raise ConfigError(*problems)


def _order(where: str) -> tuple[str, int]:
    file, _, line = where.rpartition(":")
    return file, int(line) if line.isdecimal() else 0
