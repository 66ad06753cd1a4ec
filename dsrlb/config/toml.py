"""TOML text to a document and the lines of its keys; what is no TOML is told with its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dsrlb.config.lines import lines_of, tomllib
from dsrlb.config.places import Path

MOST_BYTES = 1 << 24

# What people mean by the mistakes they make most often, by how the parser's complaint begins.
_HINTS = {
    "Invalid value": "texts are in quotes",
    "Cannot declare": "a table that comes several times has a head in double brackets, as in [[service]]",
    "Cannot overwrite a value": "give each key once",
    "Expected '=' after a key": "a line is key = value, or the head of a table in brackets",
    "Expected newline or end of document": "write one key = value on a line",
    "Unclosed array": "close it with ]",
    "Unterminated string": "close it with the quotes that it began with",
}


class NotToml(Exception):
    """The text is no TOML: on which line, and a sentence that says why."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line, self.sentence = line, sentence


def parse(content: bytes) -> tuple[dict[str, Any], Mapping[Path, int]]:
    """Return a TOML document and the line of each path in it.  Raises NotToml."""
    if len(content) > MOST_BYTES:
        raise NotToml(1, f"the file is larger than {MOST_BYTES >> 20} MiB; is it the right one?")
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NotToml(line, "this is not UTF-8 text; save the file as UTF-8") from None
    try:
        return tomllib.loads(text), lines_of(text)
    except RecursionError:
        raise NotToml(1, "arrays are nested too deeply; dsrlb needs none in another") from None
    except ValueError as error:
        raise _explained(str(error), text) from None


def _explained(complaint: str, text: str) -> NotToml:
    """Return the parser's complaint, which ends in its place, as a sentence."""
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", complaint, re.DOTALL)
    if match is None:  # a number too long for Python comes without a place
        return NotToml(1, f"this is not TOML: {complaint}")
    what, line, column = match.groups()
    last = text.rstrip("\n").count("\n") + 1
    where = f" at column {column}" if column else " at the end of the file"
    hint = next((f"; {words}" for begin, words in _HINTS.items() if what.startswith(begin)), "")
    return NotToml(int(line or last), f"this is not TOML: {' '.join(what.split())}{where}{hint}")
