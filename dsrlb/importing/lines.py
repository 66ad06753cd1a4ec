"""A keepalived.conf as lines: includes followed, conditions and parameters resolved, comments gone.

::

    include FILE, includer FILE, …     the lines of these files (wildcards are allowed), where the line stands
    @NAME line, @^NAME line            only if the configuration id is, is not NAME
    $NAME=value                        ${NAME}, and $NAME before a blank, are the value from here on; where
                                       a backslash ends the line, it goes on in the next one

*Source*: keepalived.conf(5), version 2.3: the sections on includes, comments, conditions, parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dsrlb.errors import ConfigError

MOST_BYTES, MOST_FILES, MOST_LINES, DEEPEST = 16 << 20, 1000, 200_000, 16
MOST_IN_A_LINE, MOST_ROUNDS = 100_000, 64  # of parameters that stand in parameters
_INCLUDE = re.compile(r"\s*include[a-z]*\s+(\S.*?)\s*")
_DEFINES = re.compile(r"\s*\$([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_USES = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)(?=\s|$)")
_CONDITION = re.compile(r"\s*@(\^?)(\S+)\s+(.*)", re.DOTALL)


class Line(NamedTuple):
    """A line that is in force, and where it stands."""

    where: str  # FILE:LINE
    text: str


Tell = Callable[[str, str], None]  # where, a sentence


class Reader:
    """Reads one configuration, with all that it includes."""

    def __init__(self, config_id: str, tell: Tell) -> None:
        self._id, self._tell = config_id, tell
        self._parameters: dict[str, str] = {}
        self._files = self._bytes = self._lines = 0

    def lines(self, text: str, name: str, folder: Path, depth: int = 0) -> Iterator[Line]:
        """Yield the lines of a text.  ConfigError: there are too many."""
        self._bytes += len(text)
        if self._bytes > MOST_BYTES:
            raise ConfigError(f"{name}: with all that is included it has more than {MOST_BYTES >> 20} MiB")
        for where, raw in _joined(text, name):
            included = _INCLUDE.fullmatch(raw)
            if included is not None:
                yield from self._included(included[1].strip("\"'"), where, folder, depth)
            else:
                yield from self._in_force(where, raw)

    def _included(self, pattern: str, where: str, folder: Path, depth: int) -> Iterator[Line]:
        if depth >= DEEPEST:
            raise ConfigError(f"{where}: files include each other more than {DEEPEST} deep")
        try:
            paths = sorted(Path("/").glob(str(Path(folder.absolute(), pattern)).lstrip("/")))
        except (ValueError, NotImplementedError):
            paths = []
        if not paths:
            self._tell(where, f"{pattern} is not there to be included")
        for path in paths:
            self._files += 1
            if self._files > MOST_FILES:
                raise ConfigError(f"{where}: more than {MOST_FILES} files are included")
            try:
                with path.open(encoding="utf-8", errors="replace") as opened:
                    text = opened.read(MOST_BYTES + 1)
            except OSError as error:
                self._tell(where, f"{path} cannot be read ({error.strerror or error}), and is left out")
                continue
            yield from self.lines(text, str(path), path.parent, depth + 1)

    def _in_force(self, where: str, raw: str) -> Iterator[Line]:
        text = self._resolved(_without_comment(raw), where)
        while (condition := _CONDITION.fullmatch(text)) is not None:
            if (condition[2] == self._id) == bool(condition[1]):
                return
            text = condition[3]
        if text.lstrip().startswith("~"):
            return self._tell(where, "~SEQ and ~LST are not followed; write what they stand for")
        defined = _DEFINES.fullmatch(text)
        if defined is not None:
            self._parameters[defined[1]] = defined[2]
            return None
        for one in text.split("\n"):  # of a parameter with several lines
            self._lines += 1
            if self._lines > MOST_LINES:
                raise ConfigError(
                    f"{where}: it has more than {MOST_LINES} lines with all that parameters bring"
                )
            if (inner := _CONDITION.fullmatch(one)) is None:
                yield Line(where, one)
            elif (inner[2] == self._id) != bool(inner[1]):
                yield Line(where, inner[3])
        return None

    def _resolved(self, text: str, where: str) -> str:
        """Return a text with the values of parameters; what is not defined stays as it is."""
        name = _DEFINES.fullmatch(text)
        if name is not None:  # what stands in a value is replaced where it is used
            return text
        for _ in range(MOST_ROUNDS):
            before, text = text, _USES.sub(self._value, text)
            if before == text:
                return text
            if len(text) > MOST_IN_A_LINE:
                break
        raise ConfigError(f"{where}: parameters stand in each other without an end")

    def _value(self, match: re.Match[str]) -> str:
        return self._parameters.get(match[1] or match[2], match[0])


def _joined(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield lines with their places; those of a definition that goes on are one."""
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        goes_on = line.rstrip().endswith("\\") and (pending or _DEFINES.match(line))
        if pending or goes_on:
            start = start or number
            pending += line.rstrip().removesuffix("\\") + "\n"
            if goes_on:
                continue
            line, number, pending, start = pending.rstrip("\n"), start, "", 0
        yield f"{name}:{number}", line
    if pending:
        yield f"{name}:{start}", pending.rstrip("\n")


def _without_comment(line: str) -> str:
    """Return a line without what stands behind a # or a ! outside quotes."""
    quote = ""
    for place, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "#!":
            return line[:place]
    return line
