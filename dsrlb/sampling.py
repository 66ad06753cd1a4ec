"""Handshakes, looked at from the client's side: how long they take at each backend, and how many fail.

The balancer of a DSR mode sees a client's SYN, then nothing, then the client's ACK: the time between is the
server's answer and the way of it to the client and back.  A SYN that comes again, or that nothing follows,
is a server that did not answer.

Handshakes are looked at in a fixed number of cells, one flow at a time in each, by its hash: with more at a
time than there are cells, some are not looked at, which are no others than the rest::

                     SYN                               ACK: answered, and how fast
      (free) --------------------> held, sent once ----------------------------------> (free)
        ^                            |       |  SYN of another flow, later than
        |                            |       +------------------------------------> held by that: silent
        |   RST: reset               |                   ``SILENT_US``
        +----------------------------+  SYN of the same flow, to the same backend
        ^                            v
        |   ACK: answered, RST     held, sent again
        +----------------------------+

Each that was opened is counted once: among ``times``, or as sent again, reset or silent, or it waits.

Pure: microseconds of a monotonic clock are an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from dsrlb.standing import Names
from dsrlb.wire.flowhash import flow_hash
from dsrlb.wire.l4 import ACK, FIN, RST, SYN

CELLS = 8192  # a power of two; enough for 80,000 handshakes a second of 0.1 s each
# Nobody waits for an answer any more without having sent the SYN again: that is done after 1 s, formerly 3 s.
# *Source*: RFC 6298, section 2 (2.1); RFC 1122, section 4.2.3.1.
SILENT_US = 3_000_000
BUCKETS = 64  # of times, four for each doubling: below 80 us, 80, 96, 112, 128, 160, ... and from 3.67 s on
_FIRST_POWER = 6  # 64 us: less than any network's way there and back takes, with a server's answer
_CLOSES_OR_OPENS = SYN | ACK | RST | FIN


class Handshakes(NamedTuple):
    """What was seen of the handshakes with one backend of one service, since the counters began."""

    opened: int  # connections that were looked at
    answered: int  # of those, how many their client went on with, at once or after it had sent its SYN again
    again: int  # ... had their SYN sent again
    reset: int  # ... were reset before either, by client or server as far as that is seen
    silent: int  # ... were given up: nothing came any more
    times: Sequence[int]  # of those answered at once: how many took how long, by bucket
    waiting_us: Sequence[
        int
    ]  # how long those have waited that are open now, were sent once, and may be answered


class Cell(NamedTuple):
    """A handshake that is looked at."""

    tag: int  # see ``tag_of``
    names: Names
    began_us: int
    again: bool  # its SYN was sent again: how long it takes says nothing any more


@dataclass(slots=True)
class Tally:
    """The counts of one backend of one service, as ``Handshakes`` has them."""

    opened: int = 0
    answered: int = 0
    again: int = 0
    reset: int = 0
    silent: int = 0
    times: list[int] = field(default_factory=lambda: [0] * BUCKETS)


def tag_of(key: bytes) -> int:
    """Return what tells a flow from another in the same cell; its lowest bits above 32 are the cell's number.

    ::

        63            32 31       16 15        0
        +---------------+-----------+-----------+
        | flow hash     | client's  | VIP's port|
        +---------------+-----------+-----------+
    """
    return flow_hash(key) << 32 | int.from_bytes(key[32:36], "big")


def cell_of(tag: int) -> int:
    """Return the number of a flow's cell."""
    return tag >> 32 & CELLS - 1


def bucket_of(time_us: int) -> int:
    """Return the bucket of a time."""
    power = time_us.bit_length() - 1
    if power < _FIRST_POWER:
        return 0
    quarter = time_us >> power - 2 & 3
    return min(BUCKETS - 1, 4 * (power - _FIRST_POWER) + quarter)


def bounds(bucket: int) -> tuple[int, int]:
    """Return the least time of a bucket and that of the next one, in microseconds."""
    low, high = ((4 + one % 4) << one // 4 + _FIRST_POWER - 2 for one in (bucket, bucket + 1))
    return low if bucket else 0, high


def percentile_us(times: Sequence[int], share: float) -> float | None:
    """Return the time that this share of handshakes, of which each bucket has so many, do not exceed.

    Within a bucket they are taken for evenly spread.  None: there were none.
    """
    wanted = sum(times) * share
    for bucket, (count, up_to) in enumerate(zip(times, accumulate(times), strict=True)):
        if count and up_to >= wanted:
            low, high = bounds(bucket)
            return high - (high - low) * (up_to - wanted) / count
    return None


def median_us(times: Sequence[int]) -> float | None:
    """Return the median of handshakes of which each bucket has so many; None: there were none."""
    return percentile_us(times, 0.5)


class HandshakeTable:
    """The cells and the counts.  Whoever reads them from another thread calls ``seen``."""

    def __init__(self) -> None:
        self.cells: dict[int, Cell] = {}  # those held, by number
        self.tallies: dict[Names, Tally] = {}

    def request(self, key: bytes, names: Names, flags: int, now_us: int) -> bool:
        """Look at a client's TCP packet that goes to a backend; return whether its flow holds a cell now."""
        tag = tag_of(key)
        at = cell_of(tag)
        held = self.cells.get(at)
        if flags & _CLOSES_OR_OPENS == SYN:
            return self._open(at, held, Cell(tag, names, now_us, False))
        if held is None or held.tag != tag:
            return False
        if flags & RST:
            self._reset(at, held)
        elif flags & ACK:
            self._answered(at, held, now_us)
        else:
            return True
        return False

    def reply_reset(self, key: bytes) -> None:
        """Look at a server's RST in a client's flow of this key."""
        tag = tag_of(key)
        held = self.cells.get(cell_of(tag))
        if held is not None and held.tag == tag:
            self._reset(cell_of(tag), held)

    def _open(self, at: int, held: Cell | None, cell: Cell) -> bool:
        if held is not None:
            if held.tag == cell.tag and held.names == cell.names:
                if not held.again:
                    self._tally(held).again += 1
                    self.cells[at] = held._replace(again=True)
                return True
            if held.tag != cell.tag and cell.began_us - held.began_us <= SILENT_US:
                return False
            if not held.again:
                self._tally(held).silent += 1
        self._tally(cell).opened += 1  # before anything else can be counted of it: see ``seen``
        self.cells[at] = cell
        return True

    def _reset(self, at: int, held: Cell) -> None:
        if not held.again:
            self._tally(held).reset += 1
        del self.cells[at]

    def _answered(self, at: int, held: Cell, now_us: int) -> None:
        tally = self._tally(held)
        tally.answered += 1
        if not held.again:
            tally.times[bucket_of(now_us - held.began_us)] += 1
        del self.cells[at]

    def _tally(self, cell: Cell) -> Tally:
        tally = self.tallies.get(cell.names)
        if tally is None:
            tally = self.tallies[cell.names] = Tally()
        return tally

    def keep(self, names: set[Names]) -> None:
        """Forget all other backends."""
        for one in self.tallies.keys() - names:
            del self.tallies[one]
        for at in [at for at, cell in self.cells.items() if cell.names not in names]:
            del self.cells[at]

    def seen(self, now_us: int) -> dict[Names, Handshakes]:
        """Return what was seen so far; on any thread, while another one goes on."""
        return told(self.tallies.copy(), self.cells.copy().values(), now_us)


def told(tallies: Mapping[Names, Tally], cells: Iterable[Cell], now_us: int) -> dict[Names, Handshakes]:
    """Return counts and held cells as they are told.

    What has waited for longer than ``SILENT_US`` is told no more, though its cell is held until it is needed.
    """
    waiting: dict[Names, list[int]] = {names: [] for names in tallies}
    for cell in cells:
        waits_us = max(0, now_us - cell.began_us)
        if not cell.again and waits_us <= SILENT_US and cell.names in waiting:
            waiting[cell.names].append(waits_us)
    return {names: _told_of(tally, waiting[names]) for names, tally in tallies.items()}


def _told_of(tally: Tally, waiting_us: Sequence[int]) -> Handshakes:
    """Return one backend's; ``opened`` is read last, so that it is never less than the others together."""
    times = tuple(tally.times)
    answered, again, reset, silent = tally.answered, tally.again, tally.reset, tally.silent
    return Handshakes(tally.opened, answered, again, reset, silent, times, waiting_us)
