"""Checks as they are written down, what cannot work of them, and the ``Check`` that they describe."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from dsrlb import health
from dsrlb.config.check_schema import CHECK
from dsrlb.config.keys import Kind, WrongType
from dsrlb.config.places import Path, Problem
from dsrlb.errors import UsageError
from dsrlb.model import ANY_PORT, Check

CheckWords = Mapping[str, Any]  # by the names of the keys; None: malformed, and told already

_FLAGS = {"true": True, "false": False}
_FIELDS = {one.name.removesuffix("_s"): one.name for one in fields(Check)}
_EVERY_KIND = frozenset(
    ("kind", "interval", "timeout", "rise", "fall", "fast_interval", "jitter", "port", "direct")
)


def check_of(words: CheckWords) -> Check:
    """Return the check that words without problems describe."""
    given = {"interval": Check("tcp").interval_s, **words}
    given.setdefault("timeout", given["interval"] / 2)
    given.setdefault("fast_interval", given["interval"] / 4)
    return Check(**{_FIELDS[name]: value for name, value in given.items()})


def check_problems(words: CheckWords, at: Path, where: str, port: int | None) -> Iterator[Problem]:
    """Yield what cannot work in a check of a service or a backend; of its port None is known if malformed."""
    kind = health.BY_NAME.get(words.get("kind") or "")
    if kind is None:
        return  # told already
    for name in words:
        if name not in _EVERY_KIND | kind.options:
            yield Problem((*at, name), f"{where}: {_of_use_elsewhere(name, kind.name)}")
    for name in sorted(kind.needed - words.keys()):
        yield Problem(at, f"{where}: a check of kind {kind.name} needs {name}; add it")
    if port == ANY_PORT and kind.has_port and "port" not in words:
        yield Problem(at, f"{where}: the service is for every port; give its check a port")
    for name in ("timeout", "fast_interval"):
        most = words.get("interval", Check("tcp").interval_s)
        if words.get(name) and most and words[name] > most:
            yield Problem(
                (*at, name),
                f"{where}: {name} {words[name]:g} is longer than interval {most:g}; make it shorter",
            )


def _of_use_elsewhere(name: str, kind: str) -> str:
    knowing = [one.name for one in health.KINDS if name in one.options]
    return f"{name} is of use with checks of kind {' and '.join(knowing)}, not {kind}; leave it out"


def parse_check(text: str) -> CheckWords:
    """Return the words of ``KIND[,KEY=VALUE]...``, with the keys of a file; raise UsageError."""
    head, *options = text.split(",")
    given: dict[str, str] = {"kind": head}
    for option in options:
        name, equals, value = option.partition("=")
        if name in given:
            raise UsageError(f"check {text!r}: {name} is given twice")
        if not equals or name not in _FIELDS or name == "headers":
            there = ", ".join(one for one in _FIELDS if one not in ("kind", "headers"))
            raise UsageError(
                f"check {text!r}: option {option!r} is unknown; there are {there}, as NAME=VALUE"
            )
        given[name] = value
    return {name: _read(name, value, text) for name, value in given.items()}


def _read(name: str, value: str, text: str) -> Any:
    """Return the value of a key: what a file would take as a text, a number, or a list of words."""
    takes = next(key.takes for key in CHECK.keys if key.name == name)
    if not isinstance(takes, Kind):
        raise TypeError(f"{name} is a table")
    forms: tuple[Callable[[str], Any], ...] = (str, int, float, _FLAGS.__getitem__, shlex.split)
    for form in forms:
        try:
            return takes.read(form(value))
        except (WrongType, ValueError, KeyError):
            continue
    raise UsageError(f"check {text!r}: {name} {value!r} must be {takes.words}")
