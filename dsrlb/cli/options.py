"""Options that several commands share, and the configuration that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from types import MappingProxyType
from typing import Any

import click
from click.core import ParameterSource

from dsrlb import config as configuration
from dsrlb import modes, schedulers
from dsrlb.config import CheckWords, Config, Draft, PersistWord, Vip
from dsrlb.errors import ConfigError, UsageError
from dsrlb.model import Backend, ModeOptions

BESIDE_FILE = "--config and {} together: write all of it in the file, or give all of it by options"
NEEDED = ("mode", "vips", "backends")


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic only in newer click
    """A value that a function of dsrlb.config parses; its UsageError becomes click's."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the parsed value, or fail with the parser's sentence (exit code 2)."""
        try:
            return self._parse(value) if isinstance(value, str) else value
        except UsageError as error:
            self.fail(str(error), param, ctx)


interface_option = click.option(
    "--interface",
    "interfaces",
    multiple=True,
    metavar="IF",
    type=Parsed("interface", configuration.parse_interface),
    help="Where the VIP's frames come in; repeat for more.  [default: the interface of the default route]",
)
OPTIONS = (
    click.option(
        "--config",
        "file",
        metavar="FILE",
        help="Take everything from a file (see docs/configuration.md), in place of the options below.",
    ),
    click.option("--mode", type=click.Choice([mode.name for mode in modes.MODES])),
    click.option(
        "--vip",
        "vips",
        multiple=True,
        metavar="ADDR:PORT[/tcp|/udp]",
        type=Parsed("vip", configuration.parse_vip),
        help="A service's address; [v6]:PORT for IPv6, * for any port; repeat for more.",
    ),
    click.option(
        "--backend",
        "backends",
        multiple=True,
        metavar="ADDR[:PORT][,weight=N][,mac=MAC][,name=NAME]",
        type=Parsed("backend", configuration.parse_backend),
        help="A real server; [v6]:PORT for IPv6 with a port; weight 0 gets no new flows; repeat for more.",
    ),
    click.option(
        "--scheduler",
        default=configuration.DEFAULT_SCHEDULER,
        show_default=True,
        type=click.Choice([scheduler.name for scheduler in schedulers.SCHEDULERS]),
    ),
    click.option(
        "--persist",
        metavar="SECONDS[/PREFIX]",
        type=Parsed("persist", configuration.parse_persist),
        help="Same client, same server, until it was away for so long; with PREFIX, same network of clients.",
    ),
    click.option(
        "--check",
        metavar="KIND[,KEY=VALUE]...",
        type=Parsed("check", configuration.parse_check),
        help="How servers are asked whether they are up: tcp, http, https, udp, dns, icmp or command, with "
        "the keys of a file: http,interval=1,path=/health.  [default: all are taken for up]",
    ),
    click.option(
        "--encap",
        type=click.Choice(["ipip", "gue", "gue1"]),
        help="l3dsr: how packets are wrapped; gue is variant 0 of GUE, gue1 variant 1.  [default: ipip]",
    ),
    click.option(
        "--encap-port",
        metavar="PORT",
        type=click.IntRange(1, 65_535),
        help=f"l3dsr with GUE: the servers' UDP port.  [default: {ModeOptions().encap_port}]",
    ),
    click.option(
        "--source",
        metavar="ADDR",
        type=Parsed("source", lambda text: configuration.parse_address(text, "source")),
        help="l3dsr: source of the outer header; inline with --snat: the source that servers see.  "
        "[default: this host's own address on the way to the server]",
    ),
    click.option("--clamp-mss", is_flag=True, help="l3dsr: lower a client's TCP MSS to what fits."),
    click.option("--snat", is_flag=True, help="inline: replace the client's address too."),
)


def configured(function: Callable[..., None], *, if_given: bool = False) -> Callable[..., None]:
    """Give a command's function the options of a configuration.

    It is called with the ``config`` that they make, and with whatever other parameters it has.
    ``if_given``: where none of the options is given, the configuration is None.
    """
    names: list[str] = []

    @wraps(function)
    def command(**given: Any) -> None:
        words = {name: given.pop(name) for name in names}
        function(config=None if if_given and not _given(words) else _config(words), **given)

    others = len(_parameters(command))
    for option in reversed(OPTIONS):
        option(command)
    names += [str(one.name) for one in _parameters(command)[others:]]
    return command


def _parameters(command: Callable[..., None]) -> list[click.Parameter]:
    """Return what click's decorators have noted about a function so far."""
    noted: list[click.Parameter] = getattr(command, "__click_params__", [])
    return noted


def _config(words: Mapping[str, Any]) -> Config:
    """Return the configuration of a command line, or fail with all that is wrong with it."""
    ctx, given = click.get_current_context(), _given(words)
    if words["file"] is not None:
        _refuse_beside_file(ctx, [name for name in given if name != "file"])
        return configuration.read_config(words["file"])
    for parameter in ctx.command.params:
        if parameter.name in NEEDED and not words[parameter.name]:
            raise click.MissingParameter(ctx=ctx, param=parameter)
    flags = {name: words[name] for name in words if name not in ("file", *configuration.OPTION_NAMES)}
    options = {name: words[name] for name in configuration.OPTION_NAMES if name in given}
    return config_of(**flags, options=options)


def _given(words: Iterable[str]) -> list[str]:
    """Return those of the options that are on the command line."""
    source = click.get_current_context().get_parameter_source
    return [name for name in words if source(name) is not ParameterSource.DEFAULT]


def _refuse_beside_file(ctx: click.Context, names: Sequence[str]) -> None:
    """Fail if an option was given that a configuration file says itself."""
    spelt = {parameter.name: parameter.opts[0] for parameter in ctx.command.params}
    if names:
        raise click.UsageError(BESIDE_FILE.format(", ".join(spelt[name] for name in names)))


def config_of(
    mode: str,
    vips: tuple[Vip, ...],
    backends: tuple[Backend, ...],
    scheduler: str = configuration.DEFAULT_SCHEDULER,
    *,
    persist: PersistWord | None = None,
    check: CheckWords | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Config:
    """Return the configuration that the flags spell; ConfigError with every problem at once."""
    drafts = [Draft(vip, mode, backends, scheduler, options, persist, check=check) for vip in vips]
    found = list(configuration.told(configuration.problems(drafts), None))
    prefix = persist[1] if persist is not None else None
    if prefix is not None and len({address.version for address, _, _ in vips}) > 1:
        found.append(
            f"persist prefix /{prefix} cannot mean IPv4 and IPv6 clients alike; leave the prefix out"
        )
    if found:
        raise ConfigError(*found)
    return Config(tuple(configuration.service_of(draft) for draft in drafts))
