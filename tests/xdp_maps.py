"""The program's maps as plain memory, what a plan writes into them, and what a packet then finds there."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.adopt import Found as Adopted
from dsrlb.engines.xdp.lines import TargetLine
from dsrlb.engines.xdp.placing import buckets_of
from dsrlb.engines.xdp.sizes import SOURCES, Sizes
from dsrlb.engines.xdp.writes import Fill, Put, PutKey, Restart, SetLoad, Settle, Write


class Found(NamedTuple):
    """What a service's line says, with targets by the key of their backend."""

    line: bytes  # but for where its slots stand
    slots: tuple[bytes | None, ...]
    former: tuple[bytes | None, ...]
    running: tuple[bytes | None, ...]


class Maps:
    """All maps that a plan writes."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        entries = {
            "front": (sizes.front, layout.FRONT_BUCKET),
            "vips": (sizes.vips, layout.VIP_BUCKET),
            "services": (sizes.services, layout.SERVICE),
            "current": (sizes.services, np.dtype("u4")),
            "races": (sizes.services, layout.RACE),
            "targets": (sizes.targets, layout.TARGET),
            "interfaces": (layout.INTERFACES, layout.INTERFACE),
            "sources": (SOURCES, np.dtype(("u1", 16))),
        }
        self.arrays = {name: np.zeros(count, of) for name, (count, of) in entries.items()}
        self.slots = np.zeros(sizes.slots * layout.SLOTS_A_LINE, np.uint16)
        self.loads = np.zeros(sizes.targets, layout.LOAD)
        self.numbers: dict[str, dict[bytes, bytes]] = {
            "members": {},
            "servers": {},
            "answering": {},
            "own_addresses": {},
        }
        self.counted: list[tuple[bytes, bytes]] = []

    def write(self, write: Write) -> None:
        """Carry out one write."""
        match write:
            case Put(name, place, value):
                assert len(value) == self.arrays[name].itemsize * (16 if name == "sources" else 1)
                self.arrays[name][place] = np.frombuffer(value, self.arrays[name].dtype).reshape(
                    self.arrays[name][place].shape
                )
            case PutKey(name, key, None):
                del self.numbers[name][key]
            case PutKey(name, key, value):
                assert value is not None
                self.numbers[name][key] = value
            case Fill(first, targets):
                self.slots[first : first + len(targets)] = targets
            case SetLoad(target, member, value):
                self.loads[member][target] = value
            case Restart(target, names):
                self.counted.append(names)
                self.loads[target] = np.zeros((), layout.LOAD)
            case Settle():
                pass
            case _:
                raise AssertionError(write)

    def as_found(self) -> Adopted:
        """Return them as a process finds them that knows nothing of what was written."""
        read = self.arrays.__getitem__
        return Adopted(self.sizes, lambda name: read(name).tobytes(), self.slots, self._numbers)

    @property
    def members(self) -> dict[bytes, bytes]:
        return self.numbers["members"]

    def _numbers(self, name: str) -> dict[bytes, int]:
        return {key: int.from_bytes(value, sys.byteorder) for key, value in self.numbers[name].items()}

    def race_now(self, number: int) -> int:
        return int(self.arrays["races"]["now"][number])

    def target(self, index: int) -> TargetLine:
        return TargetLine.unpack(self.arrays["targets"][index].tobytes())

    # --- what a packet looks up -------------------------------------------------------------------

    def line_in_bucket(self, key: bytes, number: int) -> int:
        """Return front.h's in_front_bucket: the line of a service that stands in this bucket; 0: none."""
        for entry in self.arrays["front"]["entry"][number]:
            if entry.tobytes()[:20] == key:
                return int(entry["service"])
        return 0

    def line_of(self, key: bytes) -> int:
        """Return the line of a service; 0: there is none."""
        first, second = buckets_of(key, self.sizes.front - 1)
        return self.line_in_bucket(key, first) or self.line_in_bucket(key, second)

    def is_vip(self, vip: bytes) -> bool:
        numbers = buckets_of(vip, self.sizes.vips - 1)
        return any(one.tobytes() == vip for number in numbers for one in self.arrays["vips"]["vip"][number])

    def found(self, line: int) -> Found:
        """Return all that a packet can find by a service's line."""
        service = self.arrays["services"][line].copy()
        parts = [
            self._names(self.slots[int(service[first]) :][: int(service[count])])
            for first, count in (
                ("slots", "slot_count"),
                ("former", "former_count"),
                ("running", "running_count"),
            )
        ]
        for name in ("slots", "former", "running"):
            service[name] = 0
        return Found(service.tobytes(), *parts)

    def _names(self, indices: NDArray[Any]) -> tuple[bytes | None, ...]:
        return tuple(self.target(int(index)).key if index else None for index in indices)

    def targets_of(self, line: int) -> set[int]:
        """Return the indices of the targets in the slots of a service's line, and in its running list."""
        service = self.arrays["services"][line]
        places = (("slots", "slot_count"), ("running", "running_count"))
        return {
            int(index)
            for first, count in places
            for index in self.slots[int(service[first]) :][: int(service[count])]
        }

    def filter_says(self, ifindex: int, which: str, bit: int) -> bool:
        words: Mapping[int, int] | Iterable[int] = self.arrays["interfaces"][which][
            ifindex % layout.INTERFACES
        ]
        return bool(int(list(words)[bit >> 6]) >> (bit & 63) & 1)
