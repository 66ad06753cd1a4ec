"""Prometheus's text format, written at once: of a thousand services it is some five megabytes.

*Source*: Prometheus, "Exposition formats", text-based format 0.0.4.
"""

from __future__ import annotations

from functools import lru_cache

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Family:
    """A metric with its samples."""

    def __init__(self, name: str, kind: str, help_text: str, labels: tuple[str, ...] = ()) -> None:
        """``kind``: gauge or counter."""
        self._name, self._labels = name, labels
        self._lines = [f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n"]

    def add(self, values: tuple[str, ...], value: float) -> None:
        """Add a sample: the values of its labels, then its own."""
        self._lines.append(f"{self._name}{_labelled(self._labels, values)} {value + 0}\n")  # of bool: 0, 1

    def text(self) -> str:
        """Return it as it is told."""
        return "".join(self._lines)


@lru_cache(maxsize=1 << 15)  # they are the same at each scrape, and in many metrics
def _labelled(labels: tuple[str, ...], values: tuple[str, ...]) -> str:
    pairs = sorted(zip(labels, values, strict=True))
    inside = ",".join(f'{label}="{value.translate(_ESCAPED)}"' for label, value in pairs)
    return f"{{{inside}}}" if inside else ""
