"""Options that several commands share, and their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click

from dsrlb import config as configuration
from dsrlb import modes, schedulers
from dsrlb.config import Config
from dsrlb.errors import ConfigError, UsageError
from dsrlb.model import Address, Backend, Service

Function = TypeVar("Function", bound=Callable[..., Any])
Vip = tuple[Address, int, Literal["tcp", "udp"]]


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


def service_options(function: Function) -> Function:
    """Add --mode, --vip, --backend and --scheduler to a command."""
    for option in reversed(
        (
            click.option("--mode", required=True, type=click.Choice([mode.name for mode in modes.MODES])),
            click.option(
                "--vip",
                "vips",
                required=True,
                multiple=True,
                metavar="ADDR:PORT[/tcp|/udp]",
                type=Parsed("vip", configuration.parse_vip),
                help="A service's address; [v6]:PORT for IPv6, * for any port; repeat for more.",
            ),
            click.option(
                "--backend",
                "backends",
                required=True,
                multiple=True,
                metavar="ADDR[,weight=N][,mac=MAC]",
                type=Parsed("backend", configuration.parse_backend),
                help="A real server; repeat for more.",
            ),
            click.option(
                "--scheduler",
                default=configuration.DEFAULT_SCHEDULER,
                show_default=True,
                type=click.Choice([scheduler.name for scheduler in schedulers.SCHEDULERS]),
            ),
        )
    ):
        function = option(function)
    return function


def config_of(
    mode: str,
    vips: tuple[Vip, ...],
    backends: tuple[Backend, ...],
    scheduler: str,
    interfaces: tuple[str, ...] = (),
) -> Config:
    """Return the configuration that the flags spell; ConfigError with every problem at once."""
    services = tuple(
        Service(address, port, protocol, mode, scheduler, backends) for address, port, protocol in vips
    )
    config = Config(services, interfaces)
    found = list(dict.fromkeys(configuration.problems(config)))
    if found:
        raise ConfigError(*found)
    return config
