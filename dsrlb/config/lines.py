"""On which line of a TOML file each key is, which no TOML library for Python tells.

The scanner trusts its input: the library has parsed the document before, so all that is left is to
know where keys, values and tables begin.

*Source*: TOML v1.0.0, toml.io/en/v1.0.0 (keys, strings, array, inline table, array of tables).
"""

from __future__ import annotations

import re
import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from dsrlb.config.places import Path

__all__ = ["lines_of", "tomllib"]
_SPACE = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'  # up to two quotes may stand before the closing three
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^\n#,\]}]+")


def lines_of(text: str) -> dict[Path, int]:
    """Return the line, from 1, on which each table, key and element of a valid TOML document begins.

    ``("service", 1, "backend", 0)`` is the first ``[[service.backend]]`` of the second ``[[service]]``.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


class _Scanner:
    """A place in a text that moves forward, and what was met so far."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.line, self.counted_to = 1, 0
        self.lines: dict[Path, int] = {}
        self.latest: dict[Path, int] = {}  # array of tables -> index of its latest table

    def document(self) -> None:
        """Read statements, each a table's head or a key with its value, to the end."""
        table: Path = ()
        while self.skip(_SPACE) < len(self.text):
            if self.peek() == "[":
                table = self.head()
            else:
                self.pair(table)

    def head(self) -> Path:
        """Read ``[a.b]`` or ``[[a.b]]``; return the path of the table that it opens."""
        is_array = self.text.startswith("[[", self.at)
        self.at += 1 + is_array
        *outer, name = self.key()
        self.at += 1 + is_array
        path: Path = ()
        for part in outer:
            path = self.note((*path, part))
            if path in self.latest:
                path = (*path, self.latest[path])
        path = self.note((*path, name))
        if is_array:
            self.latest[path] = self.latest.get(path, -1) + 1
            path = self.note((*path, self.latest[path]))
        return path

    def pair(self, table: Path) -> None:
        """Read ``key = value``."""
        path = table
        for part in self.key():
            path = self.note((*path, part))
        self.at += 1  # the equals sign
        self.value(path)

    def key(self) -> list[str]:
        """Read a key; return its parts, one unless it is dotted."""
        parts = []
        while True:
            self.skip(_BLANK)
            if self.peek() in "\"'":
                parts.append(str(tomllib.loads(f"key = {self.take(_STRING)}")["key"]))
            else:
                parts.append(self.take(_BARE_KEY))
            self.skip(_BLANK)
            if self.peek() != ".":
                return parts
            self.at += 1

    def value(self, path: Path) -> None:
        """Read a value, and note what is in it."""
        self.skip(_BLANK)
        if self.peek() == "[":
            self.items("]", path)
        elif self.peek() == "{":
            self.items("}", path)
        elif self.peek() in "\"'":
            self.take(_STRING)
        else:
            self.take(_BARE_VALUE)

    def items(self, end: str, path: Path) -> None:
        """Read an array or an inline table, up to its end."""
        self.at += 1
        number = 0
        while self.text[self.skip(_SPACE)] != end:
            if self.peek() == ",":
                self.at += 1
            elif end == "}":
                self.pair(path)
            else:
                self.value(self.note((*path, number)))
                number += 1
        self.at += 1

    def note(self, path: Path) -> Path:
        """Remember that a path was first met on this line, and return it."""
        self.line += self.text.count("\n", self.counted_to, self.at)
        self.counted_to = self.at
        self.lines.setdefault(path, self.line)
        return path

    def peek(self) -> str:
        """Return the character that comes next; a line's end at the end of the text."""
        return self.text[self.at : self.at + 1] or "\n"

    def skip(self, pattern: re.Pattern[str]) -> int:
        """Move over what matches; return the place behind it."""
        self.take(pattern)
        return self.at

    def take(self, pattern: re.Pattern[str]) -> str:
        """Move over what matches, and return it."""
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"no {pattern.pattern} at {self.at}: the text is no valid TOML")
        self.at = match.end()
        return match.group()
