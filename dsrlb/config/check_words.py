"""The words of a check, in a file and on the command line alike: text to value, or UsageError."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dsrlb.errors import UsageError

HEX = "hex:"
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, section 5.6.2
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")  # and section 5.5
_VISIBLE = re.compile(r"[\x21-\x7e]+")


def parse_bytes(text: str) -> bytes:
    """Return the bytes of a text: its UTF-8, or what stands in hexadecimal digits behind ``hex:``."""
    if not text.startswith(HEX):
        return text.encode()
    try:
        return bytes.fromhex(text.removeprefix(HEX))
    except ValueError:
        raise UsageError(f"{text!r} is not hex: and pairs of hexadecimal digits; write hex:0d0a") from None


def parse_path(text: str) -> str:
    """Return the path of a request, from its slash on, with a query perhaps."""
    if not text.startswith("/") or not _VISIBLE.fullmatch(text):
        raise UsageError(f"path {text!r} is not a path like /health, of visible ASCII characters")
    return text


def parse_host(text: str) -> str:
    """Return a host as a request names it."""
    if not _VISIBLE.fullmatch(text) or len(text) > 255:
        raise UsageError(f"host {text!r} is no name of a host like www.example.com")
    return text


def parse_query(text: str) -> str:
    """Return a domain name; the root is a dot."""
    labels = text.rstrip(".").split(".") if text != "." else []
    if not text.isascii() or len(text) > 253 or not all(0 < len(one) <= 63 for one in labels):
        raise UsageError(f"query {text!r} is no domain name like example.com")
    return text


def parse_headers(given: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the header fields of a request."""
    for name, value in given.items():
        if not _TOKEN.fullmatch(name):
            raise UsageError(f"headers: {name!r} is no name of a header field like X-Check")
        if not _FIELD_VALUE.fullmatch(value):
            raise UsageError(f"headers: the value of {name} has characters that a header field cannot have")
    return tuple(given.items())


def parse_statuses(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges of ``200``, ``200-299``, or several with commas, both ends included."""
    for one in text.split(","):
        match = re.fullmatch(r"\s*([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?\s*", one)
        least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 0 < least <= most:
            raise UsageError(f"status {one!r} is not like 200 or 200-299")
        yield least, most
