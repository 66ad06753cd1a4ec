"""Addresses, ports and masks as LVS's tools write them."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any

from dsrlb.model import Address

MAX_PERSIST_S = 31 * 86_400


def address_in(text: str) -> Address | None:
    """Return an address; None: it is none."""
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        return None


def port_in(text: str, protocol: str = "tcp") -> int | None:
    """Return a port by its number or its name; None: it is none."""
    if text.isascii() and text.isdigit():
        return int(text) if len(text) < 6 and int(text) < 65_536 else None
    try:
        return socket.getservbyname(text, protocol)
    except OSError:
        return None


def place_in(text: str, protocol: str) -> tuple[Address, int] | None:
    """Return address and port of ``ADDR:PORT``, ``[V6]:PORT``, or an address alone; None: it is neither."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") > 1:
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    address, number = address_in(host), port_in(port, protocol) if port else 0
    return None if address is None or number is None else (address, number)


def persist_in(timeout: str, mask: str, vip: Address | None) -> str | None:
    """Return what ``persist`` takes for a timeout and a mask (or none); None: they are malformed."""
    if not timeout.isdecimal() or not 0 < int(timeout[:9]) <= MAX_PERSIST_S:
        return None
    prefix = prefix_in(mask) if mask else None
    if mask and (prefix is None or (vip is not None and prefix > vip.max_prefixlen)):
        return None
    whole = vip is not None and prefix == vip.max_prefixlen
    return timeout if prefix is None or whole else f"{int(timeout)}/{prefix}"


def prefix_in(mask: str) -> int | None:
    """Return the length of a prefix, which may be written as a netmask; None: it is neither."""
    if mask.isdecimal() and len(mask) < 4:
        return int(mask) if 0 < int(mask) <= 128 else None
    try:
        return IPv4Network(f"0.0.0.0/{IPv4Address(mask)}").prefixlen or None
    except ValueError:
        return None


def tunnel_of(kind: str, port: int | None) -> tuple[dict[str, Any], str]:
    """Return the keys of a service for a type of tunnel, and what is not the same."""
    if kind == "gue":
        return {"encap": "gue", **({"encap_port": port} if port else {})}, ""
    if kind == "ipip":
        return {}, ""
    return (
        {},
        f"tunnels of type {kind} have no equivalent; ipip is written, for which servers are to be set up",
    )


def no_mark(mark: str) -> str:
    """Return what to say of a service by firewall mark."""
    return f"a firewall mark ({mark}) has no equivalent: name the VIPs and ports that it stands for"
