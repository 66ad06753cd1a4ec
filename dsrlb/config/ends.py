"""The two ends of a flow, as a person writes them."""

from __future__ import annotations

from dsrlb.config.words import parse_address, parse_vip
from dsrlb.errors import UsageError
from dsrlb.model import ANY_PORT, Address

_FLAGS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, "A": 0x10, "U": 0x20}  # RFC 9293, section 3.1


def parse_client(text: str) -> tuple[Address, int]:
    """Return the address and port of ``ADDR:PORT`` or ``[v6]:PORT``."""
    host, _, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    address = parse_address(host[1:-1] if is_bracketed else host, "client") if host else None
    if address is None or is_bracketed != (address.version == 6):
        raise UsageError(f"client {text!r} is not ADDR:PORT, nor [v6]:PORT")
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 1 << 16):
        raise UsageError(f"client {text!r}: port {port!r} is not 1 to 65535")
    return address, int(port)


def parse_place(text: str) -> tuple[Address, int, str]:
    """Return address, port and protocol of ``VIP:PORT[/tcp|/udp]``; one port, not every one."""
    vip, port, protocol = parse_vip(text)
    if port == ANY_PORT:
        raise UsageError(f"{text!r}: name the one port that the packet is for")
    return vip, port, protocol


def parse_flags(text: str) -> int:
    """Return the TCP flags of letters, as tcpdump has them: ``S``, ``SA``, ``FA``."""
    letters = text.upper()
    if not letters or set(letters) - _FLAGS.keys():
        raise UsageError(f"flags {text!r} are not letters out of {''.join(_FLAGS)}, such as S or PA")
    return sum(_FLAGS[one] for one in set(letters))
