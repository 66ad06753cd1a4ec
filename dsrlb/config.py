"""What dsrlb is asked to do, from flags: parsed, and checked as far as no host is needed.

Parsing raises UsageError for a malformed value; ``problems`` lists all that is wrong with
values that are well formed, one sentence each.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Literal

from dsrlb.errors import UsageError
from dsrlb.model import ANY_PORT, Address, Backend, Service

MAX_BACKENDS = 4096
MAX_WEIGHT = 65_535
DEFAULT_SCHEDULER = "maglev"


@dataclass(frozen=True)
class Config:
    """Everything `dsrlb serve` is told."""

    services: tuple[Service, ...]
    interfaces: tuple[str, ...] = ()  # empty: the one of the default route


def parse_address(text: str, what: str) -> Address:
    """Return the unicast address in a text; ``what`` names it in the error ("VIP", "backend")."""
    try:
        address = ip_address(text)
    except ValueError:
        raise UsageError(f"{what} {text!r} is not an IP address; write 198.18.0.10 or 2001:db8::10") from None
    kind = _unusable_kind(address)
    if kind is not None:
        raise UsageError(f"{what} {text} is {kind}; a unicast address is needed")
    return address


def _unusable_kind(address: Address) -> str | None:
    if address.is_multicast:
        return "a multicast address"
    if address.is_loopback:
        return "a loopback address"
    if address.is_unspecified or (isinstance(address, IPv4Address) and address.packed[0] == 0):
        return "an unspecified address"
    if isinstance(address, IPv4Address):
        return "a reserved or broadcast address" if address.packed[0] >= 240 else None
    if address.ipv4_mapped is not None:
        return "an IPv4-mapped address"
    return "a scoped address" if address.scope_id else None


_VIP = re.compile(r"(?:\[(?P<v6>[^]]*)\]|(?P<v4>[^:\[\]]*)):(?P<port>[^/:]*)(?:/(?P<protocol>.*))?")


def parse_vip(text: str) -> tuple[Address, int, Literal["tcp", "udp"]]:
    """Return VIP, port and protocol of ``ADDR:PORT[/tcp|/udp]``; ``[v6]:PORT``; port ``*`` for any."""
    match = _VIP.fullmatch(text)
    if match is None:
        raise UsageError(
            f"VIP {text!r} is not ADDR:PORT[/tcp|/udp]; write 198.18.0.10:80 or [2001:db8::10]:53/udp"
        )
    v6, v4, port, protocol = match.group("v6", "v4", "port", "protocol")
    address = parse_address(v4 if v6 is None else v6, "VIP")
    if address.is_link_local:
        raise UsageError(f"VIP {address} is link-local, so no router leads to it; take a routable address")
    if (address.version == 6) != (v6 is not None):
        raise UsageError(f"VIP {text!r}: brackets are for IPv6 addresses, and IPv6 addresses need them")
    if protocol == "udp":
        return address, parse_port(port, text), "udp"
    if protocol in (None, "tcp"):
        return address, parse_port(port, text), "tcp"
    raise UsageError(f"VIP {text!r}: protocol {protocol!r} is unknown; write /tcp or /udp")


def parse_port(text: str, where: str) -> int:
    """Return the port in a text; ``*`` is every port."""
    if text == "*":
        return ANY_PORT
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or not 1 <= int(text) <= 65_535:
        raise UsageError(f"VIP {where!r}: port {text!r} is not 1 to 65535 or *")
    return int(text)


def parse_backend(text: str) -> Backend:
    """Return the backend of ``ADDR[,weight=N][,mac=MAC]``."""
    address, *options = text.split(",")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    weight, mac, seen = 1, None, set()
    where = parse_address(address, "backend")
    for option in options:
        name, _, value = option.partition("=")
        if name in seen:
            raise UsageError(f"backend {text!r}: {name} is given twice")
        seen.add(name)
        if name == "weight":
            weight = _parse_weight(value, text)
        elif name == "mac":
            mac = parse_mac(value, f"backend {text!r}")
        else:
            raise UsageError(
                f"backend {text!r}: option {option!r} is unknown; there are weight=N and mac=MAC"
            )
    return Backend(where, weight, mac)


def _parse_weight(value: str, where: str) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > 5 or int(value) > MAX_WEIGHT:
        raise UsageError(f"backend {where!r}: weight {value!r} is not a whole number from 0 to {MAX_WEIGHT}")
    return int(value)


def parse_mac(value: str, where: str) -> bytes:
    """Return the six bytes of a unicast MAC address."""
    if not re.fullmatch(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}", value):
        raise UsageError(f"{where}: MAC {value!r} is not six hexadecimal pairs like 02:00:c6:12:01:01")
    mac = bytes.fromhex(re.sub("[:-]", "", value))
    if mac[0] & 1 or not any(mac):
        raise UsageError(f"{where}: MAC {value} is not a unicast address")
    return mac


def problems(config: Config) -> Iterator[str]:
    """Yield a sentence for each thing that cannot work on any host."""
    names = Counter(service.name for service in config.services)
    yield from (
        f"VIP {name} is given {count} times; give it once" for name, count in names.items() if count > 1
    )
    vips = {service.vip for service in config.services}
    for service in config.services:
        yield from _service_problems(service, vips)


def _service_problems(service: Service, vips: set[Address]) -> Iterator[str]:
    listed = Counter(backend.address for backend in service.backends)
    where = f"service {service.name}"
    for address, count in listed.items():
        if count > 1:
            yield f"{where}: backend {address} is listed {count} times; list it once, with a weight"
        if address in vips:
            yield f"{where}: backend {address} is a VIP itself; give the server's own address"
    if len(listed) > MAX_BACKENDS:
        yield f"{where}: {len(listed)} backends are more than the {MAX_BACKENDS} that a service can have"
    if service.backends and not any(backend.weight for backend in service.backends):
        yield f"{where}: all weights are 0, so no backend would get traffic; give one a weight of 1 or more"
    if not service.backends:
        yield f"{where}: it has no backend; add --backend ADDR"
