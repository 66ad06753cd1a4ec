"""The words of ``dsrlb backend``: each is parsed here, and a malformed one is a usage error."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import TypeVar

import click

from dsrlb.config.words import parse_address, parse_vip_address
from dsrlb.errors import UsageError
from dsrlb.model import Address

Word = TypeVar("Word")
_WITH_PORT = re.compile(r"(?:\[(?P<v6>[^]]*)\]|(?P<v4>[0-9.]+):)[^:]*|\[(?P<v6port>[^]]*)\]:.*")
_WITH_LENGTH = re.compile(r"[0-9A-Fa-f.:]+/[0-9]+")


def parse_vip(text: str) -> Address:
    """Return the VIP; raise ``UsageError`` with a sentence that says what to give instead."""
    with_port = _WITH_PORT.fullmatch(text)
    if with_port:
        alone = with_port["v6"] or with_port["v4"] or with_port["v6port"]
        raise UsageError(f"{text}: give the address alone, {alone}; a real server is set up for every port")
    if _WITH_LENGTH.fullmatch(text):
        raise UsageError(f"{text}: give the address alone, {text.split('/')[0]}, without a prefix length")
    return parse_vip_address(text)


def vip_of(_: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[Address, ...]:
    """Return the VIPs, each once."""
    return tuple(dict.fromkeys(_told(parse_vip, text) for text in texts))


def address_of(_: click.Context, option: click.Parameter, text: str | None) -> Address | None:
    """Return an address of a machine."""
    return None if text is None else _told(lambda one: parse_address(one, str(option.name)), text)


def network_of(_: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return networks as the kernel writes them."""
    return tuple(dict.fromkeys(_told(_network, text) for text in texts))


def _network(text: str) -> str:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise UsageError(f"{text}: not a network such as 198.18.0.0/24 ({error})") from None
    return str(network) if network.prefixlen < network.max_prefixlen else str(network.network_address)


def advmss_of(_: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Return ``auto``, ``off`` or a number of bytes."""
    if text in (None, "auto", "off"):
        return text
    return str(_told(lambda one: _number(one, 536, 65_495, "auto, off or a number of bytes"), text))


def port_of(_: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """Return a UDP port."""
    return None if text is None else _told(lambda one: _number(one, 1, 65_535, "a port"), text)


def _number(text: str, least: int, most: int, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or not least <= int(text) <= most:
        raise UsageError(f"{text}: not {what} from {least} to {most}")
    return int(text)


def _told(parse: Callable[[str], Word], text: str) -> Word:
    try:
        return parse(text)
    except UsageError as error:
        raise click.BadParameter(str(error)) from error
