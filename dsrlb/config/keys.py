"""What a table of a configuration file is made of: keys, and the kinds of values that they take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class WrongType(Exception):
    """A value is not of the type that its key takes."""


@dataclass(frozen=True)
class Kind:
    """What a key takes: in words, with an example, and how a TOML value of it becomes ours.

    ``read`` raises WrongType, or UsageError with a sentence.
    """

    words: str
    example: str
    read: Callable[[Any], Any]
    choices: tuple[str, ...] = ()  # if there are only these


@dataclass(frozen=True)
class Unless:
    """When a key is not needed: in words, and whether that holds by what is given beside it."""

    words: str
    holds: Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Key:
    """A key, what it takes, and what holds without it; ``default`` is as the reference spells it."""

    name: str
    takes: Kind | Table
    text: str
    default: str = ""
    is_needed: bool = False
    unless: Unless | None = None  # it is not needed then


@dataclass(frozen=True)
class Table:
    """A table of keys; ``is_array``: it may come several times."""

    head: str
    keys: tuple[Key, ...]
    is_array: bool = False


def text(words: str, example: str, parse: Callable[[str], Any]) -> Kind:
    """Return the kind of a text that ``parse`` reads."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise WrongType
        return parse(value)

    return Kind(words, f'"{example}"', read)


def number(least: int, most: int, example: int) -> Kind:
    """Return the kind of a whole number, both ends included."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise WrongType
        return value

    return Kind(f"a whole number from {least} to {most}", str(example), read)


def seconds(least: float, most: float, example: str) -> Kind:
    """Return the kind of a number that need not be whole, both ends included."""

    def read(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise WrongType
        return float(value)

    return Kind(f"a number from {least:g} to {most:g}", example, read)


def one_of(choices: Iterable[str]) -> Kind:
    """Return the kind of one word of a few."""
    names = tuple(choices)

    def read(value: Any) -> str:
        if value not in names:
            raise WrongType
        return str(value)

    return Kind(f"one of {', '.join(names)}", f'"{names[0]}"', read, names)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongType
    return value


FLAG = Kind("true or false", "true", _flag)
PORT = number(1, 65_535, 8080)
