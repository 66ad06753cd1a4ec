"""What stands where in the program's maps: ids, lines, places, as the control path wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.layout import ServiceFlag
from dsrlb.engines.xdp.lines import NOWHERE_AT_ALL, Extents, Filters, TargetLine, flags_in
from dsrlb.engines.xdp.placing import Places
from dsrlb.engines.xdp.room import Room
from dsrlb.engines.xdp.sizes import SOURCES, Sizes
from dsrlb.table import CompiledService


@dataclass(frozen=True)
class Start:
    """From where a least cursor began when its service's line was written (``least.prepare``).

    As long as no pick has been made since, the next line begins there as well.
    """

    now: int  # race.now then
    running: frozenset[bytes]  # who ran before
    due: Mapping[bytes, int]  # who was a newcomer before, and when its turn was


@dataclass
class Held:
    """A service that has an id: it is in the table, or was."""

    key: bytes
    id: int
    line: int = 0  # its place in `services`; 0: none yet
    value: bytes = b""  # what stands there
    extents: Extents = NOWHERE_AT_ALL
    members: tuple[bytes, ...] = ()  # backend keys, in order
    running: tuple[bytes, ...] = ()  # of those with a share of a least cursor
    start: Start | None = None
    compiled: CompiledService | None = None  # what it was written from; None: found in the maps
    paths: Mapping[bytes, int] = field(default_factory=dict)  # of what was known of the ways to its servers
    is_live: bool = False  # it is in the front

    @property
    def flags(self) -> ServiceFlag:
        """The flags that stand in its line."""
        return flags_in(self.value) if self.value else ServiceFlag(0)


class Allocation:
    """All of it; a plan changes it as it goes."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.services: dict[bytes, Held] = {}
        self.gone: dict[bytes, None] = {}  # those of them that are not in the front, in order
        self.key_of: dict[int, bytes] = {}  # by id
        self.free_lines = list(range(sizes.services - 1, 0, -1))
        self.free_ids = list(range(sizes.services - 1, 0, -1))
        self.lines: dict[int, TargetLine] = {}  # of targets, by index
        self.target_of: dict[tuple[int, bytes], int] = {}  # by id of the service, backend key
        self.id_of = np.zeros(sizes.targets, np.uint16)  # by index of the target
        self.free_targets = list(range(sizes.targets - 1, 0, -1))
        self.retired: dict[int, bytes] = {}  # targets that are no members: their service's key; oldest first
        self.room = Room(sizes.slots)
        self.front = Places(sizes.front, layout.FRONT_WAYS)
        self.front_lines = np.zeros(sizes.front, layout.FRONT_BUCKET)
        self.vips = Places(sizes.vips, layout.VIP_WAYS)
        self.vip_lines = np.zeros(sizes.vips, layout.VIP_BUCKET)
        self.interfaces: dict[int, bytes] = {}  # by place
        self.filters = Filters()
        self.servers: set[bytes] = set()  # ForwardingTable.servers, and .answering
        self.answering: dict[bytes, bool] = {}
        self.own: set[bytes] = set()  # of ForwardingTable.own, those that there is room for
        self.sources: dict[bytes, int] = {}
        self.free_sources = list(range(SOURCES - 1, 0, -1))

    def indices(self) -> Iterator[tuple[tuple[bytes, bytes], int]]:
        """Yield service key and backend key of every target, with its index; removed backends included."""
        for (number, backend), index in self.target_of.items():
            yield (self.key_of[number], backend), index

    def names(self, index: int) -> tuple[bytes, bytes] | None:
        """Return service key and backend key of a target; None: it has none, or has just lost them.

        Other threads ask as well, while a plan is under way.
        """
        line = self.lines.get(index)
        key = self.key_of.get(line.service) if line is not None else None
        return (key, line.key) if line is not None and key is not None else None

    def hold(self, key: bytes, number: int) -> Held:
        """Give a service an id, which is free."""
        self.key_of[number] = key
        held = self.services[key] = Held(key, number)
        return held

    def release(self, held: Held) -> None:
        """Take a service's id back."""
        del self.services[held.key], self.gone[held.key], self.key_of[held.id]
        self.free_ids.append(held.id)

    @property
    def live(self) -> dict[bytes, Held]:
        """Services that packets find."""
        return {key: held for key, held in self.services.items() if held.is_live}
