"""The options of ``dsrlb backend``: for this machine (--mode, --vip), or for servers of a file (--config)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any

import click

from dsrlb.cli.backend_words import address_of, advmss_of, network_of, port_of, vip_of
from dsrlb.errors import UsageError
from dsrlb.modes import BY_NAME

DEFAULT_WAY = "ssh:root@{address}"
BOOTS = ("systemd", "networkd", "ifupdown")
_BY_FILE = {
    "mode": "--mode",
    "vips": "--vip",
    "outer": "--outer",
    "encap": "--encap",
    "encap_port": "--encap-port",
}

PLAN = click.option("--plan", is_flag=True, help="Print the steps as lines to paste; change nothing.")
OF_SERVICE = (
    click.option("--mode", type=click.Choice(sorted(BY_NAME)), help="The service's forwarding mode."),
    click.option(
        "--vip",
        "vips",
        metavar="ADDR",
        multiple=True,
        callback=vip_of,
        help="The service's address, without a port; may be repeated.",
    ),
)
OF_MODE = (
    click.option(
        "--decap",
        type=click.Choice(("auto", "kernel", "bpf")),
        help="l3dsr: who unwraps; auto: the kernel if it has tunnel devices, else a BPF program.",
    ),
    click.option(
        "--device", metavar="IF", help="Where the balancer's packets come in; default: the default route's."
    ),
    click.option(
        "--outer",
        type=click.Choice(("4", "6")),
        help="l3dsr: IP version of this server's address at the balancer; default: both.",
    ),
    click.option(
        "--encap",
        type=click.Choice(("ipip", "gue", "gue1")),
        help="l3dsr: what the balancer sends; default: ipip.",
    ),
    click.option(
        "--encap-port", metavar="PORT", callback=port_of, help="l3dsr: UDP port of GUE; default: 6080."
    ),
    click.option(
        "--advmss",
        metavar="auto|N|off",
        callback=advmss_of,
        help="l3dsr: MSS to announce to clients; default: what fits into the tunnel.",
    ),
    click.option(
        "--gateway", metavar="ADDR", callback=address_of, help="inline: the balancer's address here."
    ),
    click.option(
        "--client-net",
        "networks",
        metavar="NET",
        multiple=True,
        callback=network_of,
        help="l3dsr, inline: where clients are; may be repeated; default: everywhere, by the default route.",
    ),
)


OF_FILE = (
    click.option(
        "--config", "file", metavar="FILE", help="The servers of a file, in place of --mode and --vip."
    ),
    click.option(
        "--backend",
        "names",
        metavar="NAME",
        multiple=True,
        help="Of the servers of the file, this one: its name or address; may be repeated.",
    ),
    click.option(
        "--via",
        "ways",
        metavar="[NAME=]WAY",
        multiple=True,
        help="How a server of the file is reached: ssh:USER@HOST[:PORT], netns:NAME or local, in which "
        f"{{name}} and {{address}} are its own; may be repeated, with NAMEs.  [default: {DEFAULT_WAY}]",
    ),
    click.option(
        "--dsrlb",
        metavar="PATH",
        help="Where dsrlb is on the servers of the file, for BPF.  [default: in root's PATH]",
    ),
    click.option("--json", "is_json", is_flag=True, help="With --config: print JSON, for programs."),
)
BOOT = click.option(
    "--boot", type=click.Choice(BOOTS), help="Make it last over a reboot; undo takes that back as well."
)


@dataclass(frozen=True)
class Far:
    """What was said of the servers of a file."""

    file: str
    names: tuple[str, ...]
    ways: tuple[str, ...]
    dsrlb: str | None
    is_json: bool


def _with(*options: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed([one for group in options for one in group]):
            function = option(function)
        return function

    return decorate


def here_or_far(*options: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    """Give a command's function its options, and ``far``: what was said of the servers of a file, or None."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(**given: Any) -> None:
            function(far=_far(given), **given)

        decorated: Callable[..., None] = _with(OF_FILE, *options)(command)
        return decorated

    return decorate


def _far(given: dict[str, Any]) -> Far | None:
    """Take what is said of the servers of a file out of the words of a command line."""
    far = Far(**{one.name: given.pop(one.name) for one in fields(Far)})
    if far.file is None:
        _refuse_without_file(far, given)
        return None
    for name, flag in _BY_FILE.items():
        if given.get(name):
            raise UsageError(f"--config and {flag} together: leave {flag} out, the file says it.")
    return far


def _refuse_without_file(far: Far, given: dict[str, Any]) -> None:
    words = {"--backend": far.names, "--via": far.ways, "--dsrlb": far.dsrlb, "--json": far.is_json}
    for flag, word in words.items():
        if word:
            raise UsageError(f"{flag} is about the servers of a file: give it with --config FILE.")
    for name, flag in (("mode", "--mode"), ("vips", "--vip")):
        if not given[name]:
            raise UsageError(f"Missing option '{flag}', of this machine; or --config FILE, of others.")
