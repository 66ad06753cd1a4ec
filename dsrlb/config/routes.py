"""Which routes can never match: by themselves, or since one before them takes all that they would.

It is said only where it is certain; what a regular expression finds is known from its beginning alone, if it
is tied to the beginning of the path and spells that out.
"""

from __future__ import annotations

import re

from dsrlb.proxying import Route

_SPELT_OUT = re.compile(r"\^((?:[A-Za-z0-9/_%~-]|\\[./-])*)(.?)")
_QUANTIFIERS = frozenset("?*{")  # after which the character before may be missing


def covers(earlier: Route, later: Route) -> bool:
    """Return whether every request that fits the later route fits the earlier one."""
    return (
        _covers_hosts(earlier.hosts, later.hosts)
        and _covers_paths(earlier.paths, later)
        and earlier.pattern in ("", later.pattern)
        and _covers_header(earlier.header, later.header)
        and (not earlier.methods or (bool(later.methods) and {*later.methods} <= {*earlier.methods}))
    )


def contradiction(route: Route) -> str:
    """Return why no request at all fits a route; empty: one may."""
    begins = _beginning(route.pattern)
    if begins and not begins.startswith("/"):
        return "paths begin with a slash, and its pattern does not"
    if route.paths and not any(one.startswith(begins) or begins.startswith(one) for one in route.paths):
        return f"its pattern is for paths that begin with {begins}, and its path is another one"
    return ""


def _covers_hosts(earlier: tuple[str, ...], later: tuple[str, ...]) -> bool:
    if not earlier:
        return True
    return bool(later) and all(any(_is_host_within(one, wide) for wide in earlier) for one in later)


def _is_host_within(narrow: str, wide: str) -> bool:
    if narrow == wide:
        return True
    return wide.startswith("*.") and narrow.removeprefix("*.").endswith(wide[1:])


def _covers_paths(earlier: tuple[str, ...], later: Route) -> bool:
    if not earlier or "/" in earlier:
        return True
    if later.paths:
        return all(any(_is_path_within(one, wide) for wide in earlier) for one in later.paths)
    begins = _beginning(later.pattern)
    return any(begins.startswith(f"{wide}/") for wide in earlier)


def _is_path_within(narrow: str, wide: str) -> bool:
    return narrow == wide or narrow.startswith(f"{wide}/")


def _beginning(pattern: str) -> str:
    """Return what every path that a regular expression fits begins with, as far as it spells that out."""
    match = _SPELT_OUT.match(pattern)
    if match is None or "|" in pattern:
        return ""
    spelt = match[1].replace("\\", "")
    return spelt[:-1] if match[2] in _QUANTIFIERS else spelt


def _covers_header(earlier: tuple[str, str] | None, later: tuple[str, str] | None) -> bool:
    if earlier is None:
        return True
    if later is None or earlier[0].lower() != later[0].lower():
        return False
    return earlier[1] in ("", later[1])
