"""A dictionary above what somebody else remembers: reads come up as copies, writes stay here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Layer(dict[K, V]):
    """What is below is never written, and read once for each key; so this cannot be listed.

    ::

        get, in, [], pop, setdefault ──► here ──not looked for yet──► ``below(key)``: own copy, or None
        [] =, del                    ──► here
    """

    def __init__(self, below: Callable[[K], V | None], size: Callable[[], int] = lambda: 0) -> None:
        """``size``: how many entries are below, as far as that is known."""
        super().__init__()
        self._below, self._size = below, size
        self._looked_for: set[K] = set()
        self._more = 0  # entries than there are below

    def __contains__(self, key: object) -> bool:
        return self._is_here(key)  # type: ignore[arg-type]  # what is no key is not below either

    def __getitem__(self, key: K) -> V:
        self._is_here(key)
        return super().__getitem__(key)

    def __setitem__(self, key: K, value: V) -> None:
        self._more += not self._is_here(key)
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        self._is_here(key)
        super().__delitem__(key)
        self._more -= 1

    def __len__(self) -> int:
        return max(0, self._size() + self._more)

    def get(self, key: K, default: Any = None) -> Any:
        """Return the value of a key."""
        return super().get(key, default) if self._is_here(key) else default

    def pop(self, key: K, *default: Any) -> Any:
        """Take an entry away and return its value."""
        self._more -= self._is_here(key)
        return super().pop(key, *default)

    def setdefault(self, key: K, default: Any = None) -> Any:
        """Return the value of a key, which it gets if it has none."""
        if not self._is_here(key):
            self[key] = default
        return super().__getitem__(key)

    def clear(self) -> None:
        """Forget everything, whatever is below."""
        super().clear()
        self._below, self._size, self._more = lambda _: None, lambda: 0, 0

    def _is_here(self, key: K) -> bool:
        """Bring a key's value up, the first time; return whether there is one."""
        if key not in self._looked_for:
            self._looked_for.add(key)
            value = None if super().__contains__(key) else self._below(key)
            if value is not None:
                super().__setitem__(key, value)
        return super().__contains__(key)


class Copies:
    """One copy of each thing, however often and from wherever it is asked for."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[object, Any]] = {}  # by id, with the thing itself: so it stays alive

    def of(self, one: T, copied: Callable[[T], T]) -> T:
        """Return the copy of a thing, made by ``copied`` if this is asked for the first time."""
        if id(one) not in self._of:
            self._of[id(one)] = one, copied(one)
        copy: T = self._of[id(one)][1]
        return copy
