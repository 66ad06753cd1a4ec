"""What the plan says is to be written, as data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Put(NamedTuple):
    """Write a whole entry of an array map."""

    map: str
    place: int
    value: bytes


class PutKey(NamedTuple):
    """Write an entry of a hash map; ``value`` None removes it."""

    map: str
    key: bytes
    value: bytes | None


class Fill(NamedTuple):
    """Write slots from a place on that nothing refers to."""

    first: int
    targets: NDArray[np.uint16]


class SetLoad(NamedTuple):
    """Write one member of a target's load; the program goes on counting in the others."""

    target: int
    member: str
    value: int


class Restart(NamedTuple):
    """Let a target count from zero; what it counted was ``names``' (service key, backend key)."""

    target: int
    names: tuple[bytes, bytes]


class Settle(NamedTuple):
    """Wait until no packet is under way that has seen anything from before."""


SETTLE = Settle()
Write = Put | PutKey | Fill | SetLoad | Restart | Settle
