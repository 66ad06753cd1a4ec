"""What came of each row, and the table of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from peers.rows import Row


@dataclass
class Cell:
    """What came of a row with one contender."""

    row: Row
    contender: str
    servers: list[int | None]  # of each flow
    moved: int  # flows whose second segment went elsewhere than the first
    wrong: list[str]
    windows: list[dict[str, float]] = field(default_factory=list)

    @property
    def shares(self) -> str:
        """How many flows each server has."""
        count = Counter(self.servers)
        return "/".join(str(count[number]) for number in range(3))

    def costs(self) -> list[float]:
        """Return the instructions of the processor for a frame, in each window."""
        return [1e9 * (one["seconds"] - one["idle"]) / max(one["frames"], 1) for one in self.windows]

    @property
    def cost(self) -> float:
        """The same: the median of the windows."""
        return median(self.costs())

    @property
    def rate(self) -> float:
        """How many frames were forwarded in a second of the machine's clock."""
        return median(one["frames"] / one["seconds"] for one in self.windows)

    def __str__(self) -> str:
        low, high = min(self.costs()), max(self.costs())
        user = median(one["user"] / one["seconds"] for one in self.windows)
        spread = f"({low:,.0f}..{high:,.0f})"
        return (
            f"{self.row.mode:<4} {self.row.scheduler:<4} {self.contender:<12} {self.shares:>12} "
            f"{self.rate / 1e3:>10.1f} {self.cost:>12,.0f} {spread:<18} {user:>5.0%}"
        )


def report(done: Sequence[Cell]) -> Iterator[str]:
    """Yield the lines of the table, and what is not as it should be."""
    yield (
        f"{'mode':<4} {'':<4} {'contender':<12} {'flows':>12} {'kframes/s':>10} {'instructions':>12} "
        f"{'a frame':<18} {'user':>5} {'cost by IPVS':>13} {'rate by IPVS':>13}"
    )
    for row in dict.fromkeys(one.row for one in done):
        for one in (one for one in done if one.row == row):
            peer = _peer(one, done)
            yield f"{one} {one.cost / peer.cost:>13.2f} {one.rate / peer.rate:>13.2f}"
    for one in done:
        yield from (
            f"WRONG: {one.row.mode} {one.row.scheduler} {one.contender}: {why}" for why in faults(one, done)
        )


def faults(one: Cell, done: Sequence[Cell]) -> Iterator[str]:
    """Yield what is not as it should be: frames, flows, and the program dearer than IPVS."""
    yield from one.wrong
    if one.moved:
        yield f"{one.moved} flows moved to another server"
    if one.contender == "xdp" and one.cost > _peer(one, done).cost:
        yield "a frame costs more than with IPVS"


def _peer(one: Cell, done: Sequence[Cell]) -> Cell:
    return next(other for other in done if other.row == one.row and other.contender == "ipvs")
