"""``dsrlb backend``: make a machine a real server, check that it is one, take it all back."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

import click

from dsrlb.errors import HostError
from dsrlb.host import steps
from dsrlb.model import Address
from dsrlb.modes import BY_NAME

_WITH_PORT = re.compile(r"(?:\[(?P<v6>[^]]*)\]|(?P<v4>[0-9.]+):)[^:]*|\[(?P<v6port>[^]]*)\]:.*")
_WITH_LENGTH = re.compile(r"[0-9A-Fa-f.:]+/[0-9]+")


def parse_vip(text: str) -> Address:
    """Return the VIP, or raise ``ValueError`` with a sentence that says what to give instead."""
    with_port = _WITH_PORT.fullmatch(text)
    if with_port:
        alone = with_port["v6"] or with_port["v4"] or with_port["v6port"]
        raise ValueError(f"{text}: give the address alone, {alone}; a real server is set up for every port")
    if _WITH_LENGTH.fullmatch(text):
        raise ValueError(f"{text}: give the address alone, {text.split('/')[0]}, without a prefix length")
    try:
        vip = ip_address("" if "%" in text or (":" in text and "." in text) else text)
    except ValueError:
        raise ValueError(f"{text}: not an IPv4 or IPv6 address") from None
    fault = _fault(vip)
    if fault:
        raise ValueError(f"{text}: {fault} cannot be a VIP")
    return vip


def _fault(vip: Address) -> str | None:
    if isinstance(vip, IPv6Address):
        if vip.is_link_local:
            return "a link-local address"
        if int(vip) > 1 and (int(vip) >> 32 == 0 or vip.ipv4_mapped):
            return "an IPv6 address that carries an IPv4 one"
    elif vip == ip_address("255.255.255.255"):
        return "the broadcast address"
    names = {"is_unspecified": "an unspecified", "is_loopback": "a loopback", "is_multicast": "a multicast"}
    return next((f"{name} address" for test, name in names.items() if getattr(vip, test)), None)


def _to_vips(_: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[Address, ...]:
    try:
        return tuple(dict.fromkeys(parse_vip(text) for text in texts))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_mode = click.option(
    "--mode", required=True, type=click.Choice(sorted(BY_NAME)), help="The service's forwarding mode."
)
_vips = click.option(
    "--vip",
    "vips",
    metavar="ADDR",
    required=True,
    multiple=True,
    callback=_to_vips,
    help="The service's address, without a port; may be repeated.",
)
_plan = click.option("--plan", is_flag=True, help="Print the steps as ip and sysctl lines; change nothing.")


@click.group()
def backend() -> None:
    """Prepare this machine as a real server, check it, take it back."""


@backend.command()
@_mode
@_vips
@_plan
def setup(mode: str, vips: tuple[Address, ...], plan: bool) -> None:
    """Do what the mode asks of a real server; what is there already is left alone."""
    machine = steps.this_machine()
    wanted = steps.for_machine(machine, steps.for_vips(vips, BY_NAME[mode].host_steps))
    if plan:
        _print(map(steps.command, wanted))
        return
    _need_root()
    _print(steps.apply(machine, wanted))


@backend.command()
@_mode
@_vips
def verify(mode: str, vips: tuple[Address, ...]) -> None:
    """Say for each step present or missing, with the line that mends it; exit 1 if any is missing."""
    machine = steps.this_machine()
    wanted = steps.for_machine(machine, steps.for_vips(vips, BY_NAME[mode].host_steps))
    verdicts = steps.verify(machine, wanted)
    _print(line for _, line in verdicts)
    if not all(present for present, _ in verdicts):
        raise SystemExit(1)


@backend.command()
@_mode
@_vips
@_plan
def undo(mode: str, vips: tuple[Address, ...], plan: bool) -> None:
    """Restore what was there before setup, and nothing else."""
    machine = steps.this_machine()
    steps_of = BY_NAME[mode].host_steps
    if not plan:
        _need_root()
    _print(steps.unrecorded(machine, vips))
    taken_back = steps.reversals(machine, vips, steps_of)
    if plan:
        _print(line for line in map(steps.undo_command, taken_back) if line is not None)
        return
    _print(steps.undo(machine, taken_back))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _need_root() -> None:
    if os.geteuid() != 0:
        raise HostError(
            "changing addresses and sysctls needs root: run it with sudo, or see the steps with --plan."
        )
