"""The words of a configuration, on the command line and in a file alike: text to value.

Every function raises UsageError for a malformed text: one sentence that repeats it and says what to write.
"""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

from dsrlb.engines.choice import STATE_DIR
from dsrlb.errors import UsageError
from dsrlb.model import ANY_PORT, SAME_PORT, Address, Backend

DEFAULT_SCHEDULER = "maglev"
BROADCAST = ip_address("255.255.255.255")
MAX_WEIGHT = 65_535
MAX_TIMEOUT_S = 31 * 86_400  # as ipvsadm's
MAX_SLOW_START_S = 3600
Vip = tuple[Address, int, Literal["tcp", "udp"]]
Listen = tuple[Address, int]  # where a socket listens
PersistWord = tuple[int, int | None]  # seconds, prefix length; None: the whole address


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


def parse_vip_address(text: str) -> Address:
    """Return the address of a VIP, without a port."""
    address = parse_address(text, "VIP")
    if address.is_link_local:
        raise UsageError(f"VIP {address} is link-local, so no router leads to it; take a routable address")
    return address


def _unusable_kind(address: Address) -> str | None:
    if address.is_multicast:
        return "a multicast address"
    if address.is_loopback:
        return "a loopback address"
    if address.is_unspecified or (isinstance(address, IPv4Address) and address.packed[0] == 0):
        return "an unspecified address"
    if isinstance(address, IPv4Address):
        if address == BROADCAST:
            return "the broadcast address"
        return "a reserved address" if address.packed[0] >= 240 else None
    if address.ipv4_mapped is not None:
        return "an IPv4-mapped address"
    return "a scoped address" if address.scope_id else None


_VIP = re.compile(r"(?:\[(?P<v6>[^]]*)\]|(?P<v4>[^:\[\]]*)):(?P<port>[^/:]*)(?:/(?P<protocol>.*))?")


def parse_vip(text: str) -> Vip:
    """Return VIP, port and protocol of ``ADDR:PORT[/tcp|/udp]``; ``[v6]:PORT``; port ``*`` for any."""
    match = _VIP.fullmatch(text)
    if match is None:
        raise UsageError(
            f"VIP {text!r} is not ADDR:PORT[/tcp|/udp]; write 198.18.0.10:80 or [2001:db8::10]:53/udp"
        )
    v6, v4, port, protocol = match.group("v6", "v4", "port", "protocol")
    address = parse_vip_address(v4 if v6 is None else v6)
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
    port = _whole_number(text, 65_535)
    if not port:
        raise UsageError(f"VIP {where!r}: port {text!r} is not 1 to 65535 or *")
    return port


def parse_backend(text: str) -> Backend:
    """Return the backend of ``ADDR[:PORT][,weight=N][,mac=MAC][,name=NAME]``; ``[v6]:PORT``."""
    address, port = _parse_host_and_port(text)
    given: dict[str, str] = {}
    for option in text.split(",")[1:]:
        name, _, value = option.partition("=")
        if name in given:
            raise UsageError(f"backend {text!r}: {name} is given twice")
        if name not in ("weight", "mac", "name"):
            raise UsageError(
                f"backend {text!r}: option {option!r} is unknown; there are weight=N, mac=MAC and name=NAME"
            )
        given[name] = value
    where = f"backend {text!r}"
    return Backend(
        address,
        parse_weight(given["weight"], where) if "weight" in given else 1,
        parse_mac(given["mac"], where) if "mac" in given else None,
        port,
        parse_name(given["name"], f"{where}: ") if "name" in given else "",
    )


def _parse_host_and_port(text: str) -> tuple[Address, int]:
    """Return the address and the port (SAME_PORT: none is given) at the head of a backend's text."""
    head = text.partition(",")[0]
    match = re.fullmatch(r"\[(?P<host>[^]]*)\](?::(?P<port>.*))?", head, re.DOTALL)
    if match is None and head.count(":") == 1:
        match = re.fullmatch(r"(?P<host>.*):(?P<port>.*)", head, re.DOTALL)
    host, port_text = match.group("host", "port") if match else (head, None)
    address = parse_address(host, "backend")
    if port_text is None:
        return address, SAME_PORT
    if (address.version == 6) != head.startswith("["):
        raise UsageError(f"backend {text!r}: with a port, IPv6 addresses need brackets, and others have none")
    port = _whole_number(port_text, 65_535)
    if not port:
        raise UsageError(f"backend {text!r}: port {port_text!r} is not a number from 1 to 65535")
    return address, port


def _whole_number(text: str, greatest: int) -> int | None:
    """Return the number from 0 to the greatest in a text; None if it is none."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(greatest)) or int(text) > greatest:
        return None
    return int(text)


def parse_interface(text: str) -> str:
    """Return the name of an interface; whether there is one is for the host to say."""
    if not text.strip():
        raise UsageError("interface '' is no name; name one that `ip link` lists")
    return text


def parse_weight(value: str, where: str) -> int:
    """Return the weight in a text, from 0 to MAX_WEIGHT."""
    weight = _whole_number(value, MAX_WEIGHT)
    if weight is None:
        raise UsageError(f"{where}: weight {value!r} is not a whole number from 0 to {MAX_WEIGHT}")
    return weight


def parse_name(value: str, where: str = "") -> str:
    """Return a name of up to 63 letters, digits, dots, hyphens, underscores; ``where`` begins the error."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
        raise UsageError(
            f"{where}name {value!r} is not up to 63 letters, digits, dots, hyphens and underscores, "
            "a letter or digit first"
        )
    return value


def parse_folder(text: str) -> str:
    """Return an absolute path, where a folder may be."""
    if not text.startswith("/") or not text.isprintable():
        raise UsageError(f"{text[:200]!r} is no absolute path of a folder, such as {STATE_DIR}")
    return text


def parse_instance(value: str) -> str:
    """Return the name of an instance, which becomes a folder of a BPF file system: without dots."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", value):
        raise UsageError(
            f"instance {value!r} is not up to 63 letters, digits, hyphens and underscores, "
            "a letter or digit first"
        )
    return value


def parse_metrics(text: str) -> Listen:
    """Return address and port of ``[ADDR:]PORT``, or ``[v6]:PORT``; without an address, the loopback."""
    match = re.fullmatch(r"(?:(?:\[(?P<v6>[^]]*)\]|(?P<v4>[^:\[\]]*)):)?(?P<port>[^:]*)", text)
    v6, v4, port_text = match.group("v6", "v4", "port") if match is not None else (None, None, "")
    port = _whole_number(port_text, 65_535)
    if not port:
        raise UsageError(
            f"metrics {text!r} is not [ADDR:]PORT; write 9311 (this host alone) or 198.18.1.1:9311"
        )
    with suppress(ValueError):
        if v6 is not None:
            return IPv6Address(v6), port
        return IPv4Address("127.0.0.1" if v4 is None else v4), port
    raise UsageError(f"metrics {text!r}: {v4 if v6 is None else v6!r} is not an address")


def spelt(at: Listen) -> str:
    """Return a place to listen at as a person writes it."""
    address, port = at
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def parse_mac(value: str, where: str) -> bytes:
    """Return the six bytes of a unicast MAC address."""
    if not re.fullmatch(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}", value):
        raise UsageError(f"{where}: MAC {value!r} is not six hexadecimal pairs like 02:00:c6:12:01:01")
    mac = bytes.fromhex(re.sub("[:-]", "", value))
    if mac[0] & 1 or not any(mac):
        raise UsageError(f"{where}: MAC {value} is not a unicast address")
    return mac


def parse_persist(text: str) -> PersistWord:
    """Return seconds and prefix length (None: the whole address) of ``SECONDS[/PREFIX]``.

    The prefix counts bits of the client's address, in the IP version of the VIP.
    """
    seconds, slash, prefix_text = text.partition("/")
    timeout_s, prefix = _whole_number(seconds, MAX_TIMEOUT_S), _whole_number(prefix_text, 128)
    if not timeout_s or (slash and not prefix):
        raise UsageError(
            f"persist {text!r} is not SECONDS[/PREFIX] with 1 to {MAX_TIMEOUT_S} seconds; "
            "write 300 (the same client) or 300/24 (the same client network)"
        )
    return timeout_s, prefix or None
