"""The words of mode proxy: text to value, or UsageError.

What gets through has no character that could end a line of HAProxy's configuration or a quote there.
"""

from __future__ import annotations

import re
import warnings
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from dsrlb.errors import UsageError

MOST_CHARACTERS = 500  # of a path, a pattern, a URL
MOST_OF_A_FILE = 500

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_WITH_SPACES = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_COOKIE = re.compile(r"[A-Za-z0-9_-]{1,63}")
_METHOD = re.compile(r"[A-Z][A-Z_-]{0,31}")
# Python takes them, PCRE does not, or takes them for something else.
_PYTHON_ALONE = re.compile(r"(?<!\\)(?:\\\\)*\\[uUN]|\(\?[imsx]*[aLu]|\{,")


def parse_route_host(text: str) -> str:
    """Return a host, lower case; ``*.`` before it stands for every name below."""
    host = text.lower()
    if host.startswith("[") and host.endswith("]"):
        return _bracketed(host, text)
    name = host.removeprefix("*.")
    if name.rpartition(":")[2].isdigit() and ":" in name:
        raise UsageError(f"host {text[:80]!r} has a port, which the host of a route goes without")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise UsageError(f"host {text[:80]!r} is no name like www.example.com or *.example.com")
    return host


def _bracketed(host: str, text: str) -> str:
    try:
        return f"[{IPv6Address(host[1:-1])}]"
    except ValueError:
        raise UsageError(f"host {text[:80]!r} is no address like [2001:db8::10]") from None


def parse_route_path(text: str) -> str:
    """Return a path without a slash at its end."""
    if not text.startswith("/") or not _is_visible(text) or re.search("[?#]", text):
        raise UsageError(
            f"path {text[:80]!r} is not a path like /api, of visible ASCII characters (others are "
            "written %C3%A4), without a query"
        )
    return text.rstrip("/") or "/"


def parse_pattern(text: str) -> str:
    """Return a regular expression that Python takes, and of which HAProxy's PCRE makes the same."""
    if not text.isascii() or not text.isprintable() or not 0 < len(text) <= MOST_CHARACTERS:
        raise UsageError(
            f"pattern {text[:80]!r} is not a regular expression of up to {MOST_CHARACTERS} ASCII characters "
            "(others are written %C3%A4)"
        )
    if alone := _PYTHON_ALONE.search(text):
        raise UsageError(f"pattern {text[:80]!r}: HAProxy's regular expressions have no {alone.group()}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(text)
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        raise UsageError(f"pattern {text[:80]!r} is no regular expression ({error.msg}{where})") from None
    except (RecursionError, OverflowError):
        raise UsageError(f"pattern {text[:80]!r} is too deep or too large; write a simpler one") from None
    return text


def parse_route_header(text: str) -> tuple[str, str]:
    """Return name and value of ``Name: value``; of ``Name`` alone, an empty value."""
    name, colon, value = text.partition(":")
    value = value.strip(" ")
    if not _HEADER_NAME.fullmatch(name) or len(value) > MOST_CHARACTERS:
        raise UsageError(f"header {text[:80]!r} is not a Name, or Name: value, as in X-Beta: yes")
    if colon and not _WITH_SPACES.fullmatch(value):
        raise UsageError(f"header {text[:80]!r}: the value is to be of visible ASCII characters")
    return name, value


def parse_method(text: str) -> str:
    """Return a request's method."""
    if not _METHOD.fullmatch(text):
        raise UsageError(f"method {text[:80]!r} is no method like GET or POST")
    return text


def parse_redirect(text: str) -> str:
    """Return ``https``, or a URL."""
    if text == "https":
        return text
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or not _is_visible(text):
        raise UsageError(f"redirect {text[:80]!r} is neither https nor a URL like https://www.example.com")
    return text


def parse_cookie(text: str) -> str:
    """Return the name of a cookie."""
    if not _COOKIE.fullmatch(text):
        raise UsageError(
            f"sticky {text[:80]!r} is no name of a cookie: up to 63 letters, digits, hyphens, underscores"
        )
    return text


def parse_server_name(text: str) -> str:
    """Return a name that a server's certificate can have."""
    name = text.lower()
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise UsageError(f"server_name {text[:80]!r} is no name like www.example.com")
    return name


def parse_file(text: str) -> str:
    """Return the absolute path of a file."""
    if not text.startswith("/") or not text.isprintable() or len(text) > MOST_OF_A_FILE:
        raise UsageError(f"{text[:200]!r} is no absolute path, such as /etc/dsrlb/www.pem")
    return text


def _is_visible(text: str) -> bool:
    return len(text) <= MOST_CHARACTERS and _VISIBLE.fullmatch(text) is not None
