"""What a balancer wants to know of a certificate: for which names it is, and from when to when.

A certificate is nested pieces, each a tag, a length and what is inside (DER)::

    30 Certificate
    ├─ 30 to be signed
    │  ├─ a0 version          only if it is not 1
    │  ├─ 02 serial
    │  ├─ 30 algorithm
    │  ├─ 30 issuer
    │  ├─ 30 validity         two times: 17 UTCTime, 18 GeneralizedTime
    │  ├─ 30 subject
    │  ├─ 30 public key
    │  └─ a3 extensions       among them 2.5.29.17: 82 names and 87 addresses
    └─ …

*Source*: RFC 5280, sections 4.1 (certificate), 4.1.2.5 (validity), 4.2.1.6 (subjectAltName); X.690 (DER);
RFC 7468 (PEM).  Which name a host has to be: RFC 9525, section 6.3.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from ipaddress import ip_address

_PEM = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([^-]*)-----END (?:X509 |TRUSTED )?CERTIFICATE-----"
)
_SEQUENCE, _OID, _OCTETS, _UTC_TIME, _GENERAL_TIME = 0x30, 0x06, 0x04, 0x17, 0x18
_VERSION, _EXTENSIONS, _DNS_NAME, _ADDRESS = 0xA0, 0xA3, 0x82, 0x87
_COMMON_NAME, _ALT_NAMES = bytes.fromhex("550403"), bytes.fromhex("551d11")  # 2.5.4.3, 2.5.29.17


@dataclass(frozen=True)
class Certificate:
    """For which names (lower case) and addresses it is, and when it is valid."""

    names: tuple[str, ...]
    begins: datetime
    ends: datetime

    def is_for(self, host: str) -> bool:
        """Return whether it is for a host; ``*.example.com`` asks for all names one level below."""
        level, _, rest = host.lower().partition(".")
        return host.lower() in self.names or bool(level and rest and f"*.{rest}" in self.names)


def certificates_in(pem: bytes) -> list[Certificate]:
    """Return the certificates in a PEM file, in order.  ValueError: one is damaged."""
    return [_certificate(binascii.a2b_base64(found[1])) for found in _PEM.finditer(pem)]


def _certificate(der: bytes) -> Certificate:
    try:
        ((_, whole),) = _pieces(der)
        signed = list(_pieces(next(_pieces(whole))[1]))
        if signed[0][0] == _VERSION:
            del signed[0]
        _, _, _, (_, validity), (_, subject), _ = signed[:6]
        begins, ends = (_time(tag, inside) for tag, inside in _pieces(validity))
        return Certificate(tuple(_alt_names(signed[6:]) or _common_names(subject)), begins, ends)
    except (IndexError, StopIteration, UnicodeDecodeError, OverflowError) as error:
        raise ValueError(f"this is no certificate ({error!r})") from None


def _pieces(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and inside of each piece.  ValueError: the last one is cut short."""
    at = 0
    while at < len(der):
        tag, size = der[at], der[at + 1]
        at += 2
        if size & 0x80:  # so many more bytes tell the length
            size, at = int.from_bytes(der[at : at + (size & 0x7F)], "big"), at + (size & 0x7F)
        if at + size > len(der):
            raise ValueError("it is cut short")
        yield tag, der[at : at + size]
        at += size


def _time(tag: int, text: bytes) -> datetime:
    if tag not in (_UTC_TIME, _GENERAL_TIME):
        raise ValueError("a time is of no known kind")
    year = text.decode("ascii")
    if tag == _UTC_TIME:
        year = f"{'19' if year[:2] >= '50' else '20'}{year}"
    return datetime.strptime(year, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)


def _alt_names(rest: list[tuple[int, bytes]]) -> list[str]:
    """Return the names and addresses in the extensions, if there are any."""
    names: list[str] = []
    for extensions in (inside for tag, inside in rest if tag == _EXTENSIONS):
        for _, extension in _pieces(next(_pieces(extensions))[1]):
            parts = list(_pieces(extension))  # an OID, "critical" perhaps, the value
            if parts[0] == (_OID, _ALT_NAMES) and parts[-1][0] == _OCTETS:
                names += _names(next(_pieces(parts[-1][1]))[1])
    return names


def _names(der: bytes) -> Iterator[str]:
    for tag, inside in _pieces(der):
        if tag == _DNS_NAME:
            yield inside.decode("ascii").lower()
        elif tag == _ADDRESS and len(inside) in (4, 16):
            yield str(ip_address(inside))


def _common_names(subject: bytes) -> list[str]:
    """Return what old certificates have for names."""
    pairs = [list(_pieces(pair)) for _, one in _pieces(subject) for _, pair in _pieces(one)]
    return [pair[1][1].decode("utf-8").lower() for pair in pairs if pair[0] == (_OID, _COMMON_NAME)]
