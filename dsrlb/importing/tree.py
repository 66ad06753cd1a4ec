"""Lines of a keepalived.conf as a tree: each keyword with its words, and what stands in its block."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dsrlb.errors import ConfigError
from dsrlb.importing.lines import Line

DEEPEST = 32
_WORD = re.compile(r"""\s*((?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s"'])+)""")


@dataclass
class Node:
    """A line, and the lines of its block."""

    where: str
    words: list[str]
    inside: list[Node] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The keyword."""
        return self.words[0] if self.words else ""

    def get(self, *names: str) -> str | None:
        """Return the first word behind one of these keywords; empty: it has none; None: it is not there."""
        found = self.node(*names)
        return None if found is None else found.words[1] if len(found.words) > 1 else ""

    def node(self, *names: str) -> Node | None:
        """Return the last line of the block with one of these keywords, which is the one that counts."""
        return next((one for one in reversed(self.inside) if one.name in names), None)

    def all(self, *names: str) -> list[Node]:
        """Return all lines of the block with one of these keywords."""
        return [one for one in self.inside if one.name in names]


def tree(lines: Iterable[Line]) -> list[Node]:
    """Return the tree.  ConfigError: a block is not closed, or closed without being open."""
    root = Node("", [])
    open_blocks = [root]
    for where, text in lines:
        words: list[str] = []
        for word in _words(text):
            if word == "{":
                open_blocks.append(_opened(open_blocks[-1], where, words))
                words = []
                if len(open_blocks) > DEEPEST:
                    raise ConfigError(f"{where}: blocks are nested more than {DEEPEST} deep")
            elif word == "}":
                _add(open_blocks[-1], where, words)
                words = []
                if len(open_blocks) == 1:
                    raise ConfigError(f"{where}: }} closes no block; is a {{ missing above?")
                open_blocks.pop()
            else:
                words.append(word)
        _add(open_blocks[-1], where, words)
    if len(open_blocks) > 1:
        last = open_blocks[-1]
        raise ConfigError(f"{last.where}: the block of {last.name} is not closed; add a }}")
    return root.inside


def _add(block: Node, where: str, words: list[str]) -> None:
    if words:
        block.inside.append(Node(where, words))


def _opened(block: Node, where: str, words: list[str]) -> Node:
    """Return the block that begins: of these words, or of the line before, where { stands alone."""
    if not words and block.inside and not block.inside[-1].inside:
        return block.inside[-1]
    block.inside.append(Node(where, words))
    return block.inside[-1]


def _words(text: str) -> Iterator[str]:
    for match in _WORD.finditer(text):
        word = match[1]
        if word[0] in "\"'":
            yield _unquoted(word)
        elif len(word) > 1 and word.endswith("{") and not word.endswith("${"):
            yield from (word[:-1], "{")
        else:
            yield word


def _unquoted(word: str) -> str:
    inner = word[1:-1] if len(word) > 1 and word.endswith(word[0]) else word[1:]
    return re.sub(r"\\(.)", r"\1", inner) if word[0] == '"' else inner
