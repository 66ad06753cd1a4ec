"""What stands in the maps of a program that has been at work, read back.

The process that wrote it may have been killed between any two writes.  The front says what is in force; what
nothing in force leads to is put right here, so that the allocation and the maps agree to the byte.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.allocation import Allocation, Held
from dsrlb.engines.xdp.layout import TargetFlag
from dsrlb.engines.xdp.lines import Extents, Filters, TargetLine, member_of
from dsrlb.engines.xdp.placing import Place
from dsrlb.engines.xdp.plan_targets import INDEX
from dsrlb.engines.xdp.room import NOWHERE, Extent, Room
from dsrlb.engines.xdp.sizes import Sizes
from dsrlb.engines.xdp.writes import Put, PutKey, Restart, Write

_KEY_BYTES = 20
_NOBODY = (b"", b"")  # whose service is not known any more
_FILTERS = struct.Struct("=16x4Q16x")


class Found:
    """Maps as they were found: arrays whole, and others as numbers by key."""

    def __init__(
        self,
        sizes: Sizes,
        read: Callable[[str], bytes],
        slots: NDArray[np.uint16],
        numbers: Callable[[str], dict[bytes, int]],
    ) -> None:
        self.sizes, self.slots = sizes, slots
        self.members, self.servers, self.answering = map(numbers, ("members", "servers", "answering"))
        self.own = numbers("own_addresses")
        self.front = np.frombuffer(read("front"), layout.FRONT_BUCKET).copy()
        self.vips = np.frombuffer(read("vips"), layout.VIP_BUCKET).copy()
        self.services = np.frombuffer(read("services"), layout.SERVICE)
        self.current = np.frombuffer(read("current"), np.uint32)
        self.targets = np.frombuffer(read("targets"), layout.TARGET)
        self.interfaces = np.frombuffer(read("interfaces"), layout.INTERFACE)
        self.sources = np.frombuffer(read("sources"), np.uint8).reshape(-1, 16)


def adopt(found: Found) -> tuple[Allocation, list[Write]]:
    """Return the allocation that maps show, and the writes that put right what was left half done."""
    adoption = _Adoption(found)
    return adoption.allocation, adoption.repairs


class _Adoption:
    def __init__(self, found: Found) -> None:
        self.found, self.allocation = found, Allocation(found.sizes)
        self.repairs: list[Write] = []
        self._services()
        self._targets()
        self._members()
        self._current()
        self._vips()
        self._interfaces()
        self._sources()
        self._servers()
        extents = (held.extents for held in self.allocation.services.values())
        self.allocation.room = Room(found.sizes.slots, [one for it in extents for one in it if one.slots])

    # --- services ---------------------------------------------------------------------------------

    def _services(self) -> None:
        """Take the services that the front leads to, and those that left records behind."""
        allocation, services = self.allocation, self.found.services
        for key, line in self._front():
            self._hold(key, line, is_live=True)
        leads = {held.line for held in allocation.services.values()}
        with_targets = set(np.unique(self.found.targets["service"]).tolist()) - {0}
        for line in np.flatnonzero(services["id"]).tolist():
            number, key = int(services["id"][line]), services["key"][line].tobytes()[:_KEY_BYTES]
            if line in leads:
                continue
            if number in allocation.key_of or number not in with_targets or key in allocation.services:
                self.repairs.append(Put("services", line, bytes(layout.SERVICE.itemsize)))
            else:
                self._hold(key, line, is_live=False)
        used = {held.line for held in allocation.services.values()}
        allocation.free_lines = [one for one in allocation.free_lines if one not in used]
        allocation.free_ids = [one for one in allocation.free_ids if one not in allocation.key_of]

    def _hold(self, key: bytes, line: int, *, is_live: bool) -> None:
        service = self.found.services[line]
        held = self.allocation.hold(key, int(service["id"]))
        held.line, held.value, held.is_live = line, service.tobytes(), is_live
        if not is_live:
            self.allocation.gone[key] = None
        if is_live:
            held.extents = Extents(
                extent(service, "slots", "slot_count"),
                extent(service, "former", "former_count"),
                extent(service, "running", "running_count"),
            )

    def _front(self) -> Iterator[tuple[bytes, int]]:
        """Yield the services in the front, with their lines; a key stands there once, and leads to a line."""
        places, lines = self.allocation.front, self.found.front
        for bucket, entries in enumerate(lines["entry"]):
            before = entries.tobytes()
            for way, entry in enumerate(entries):
                key, line = entry.tobytes()[:_KEY_BYTES], int(entry["service"])
                if line and key not in places.of and self.found.services["id"][line]:
                    places.put(key, Place(bucket, way))
                    yield key, line
                else:
                    entries[way] = np.zeros((), layout.FRONT_ENTRY)
            if entries.tobytes() != before:
                self.repairs.append(Put("front", bucket, entries.tobytes()))
        self.allocation.front_lines = lines

    def _current(self) -> None:
        """See to it that ids lead where the front leads."""
        wanted = np.zeros(len(self.found.current), np.uint32)
        for held in self.allocation.live.values():
            wanted[held.id] = held.line
        for number in np.flatnonzero(wanted != self.found.current).tolist():
            self.repairs.append(Put("current", number, INDEX.pack(wanted[number])))

    # --- targets ----------------------------------------------------------------------------------

    def _targets(self) -> None:
        """Take the targets of these services; others are nobody's."""
        allocation = self.allocation
        raw, size = self.found.targets.tobytes(), layout.TARGET.itemsize
        for index in np.flatnonzero(self.found.targets["service"]).tolist():
            line = TargetLine.unpack(raw[index * size : (index + 1) * size])
            key = allocation.key_of.get(line.service)
            if key is None or (line.service, line.key) in allocation.target_of:
                self.repairs += (Put("targets", index, TargetLine().pack()), Restart(index, _NOBODY))
                continue
            if not allocation.services[key].is_live and line.flags & TargetFlag.MEMBER:
                line = line.left()
                self.repairs.append(Put("targets", index, line.pack()))
            allocation.lines[index] = line
            allocation.id_of[index] = line.service
            allocation.target_of[line.service, line.key] = index
            if not line.flags & TargetFlag.MEMBER:
                allocation.retired[index] = key
        allocation.free_targets = [one for one in allocation.free_targets if one not in allocation.lines]
        for held in allocation.services.values():
            members = [one for one in self._lines_of(held) if one.flags & TargetFlag.MEMBER]
            held.members = tuple(sorted(one.key for one in members))
            held.running = tuple(self._key(index) for index in self._slots_in(held.extents.running))

    def _lines_of(self, held: Held) -> list[TargetLine]:
        indices = np.flatnonzero(self.allocation.id_of == held.id).tolist()
        return [self.allocation.lines[index] for index in indices]

    def _key(self, index: int) -> bytes:
        line = self.allocation.lines.get(index)
        return line.key if line is not None else b""

    def _slots_in(self, extent: Extent) -> list[int]:
        slots: list[int] = self.found.slots[extent.first : extent.first + extent.slots].tolist()
        return slots

    def _members(self) -> None:
        """See to it that all members, and no others, are found by their names."""
        wanted = {
            member_of(line): index
            for index, line in self.allocation.lines.items()
            if line.flags & TargetFlag.MEMBER
        }
        there = self.found.members
        self.repairs += [PutKey("members", key, None) for key in there.keys() - wanted.keys()]
        self.repairs += [
            PutKey("members", key, INDEX.pack(index))
            for key, index in wanted.items()
            if there.get(key) != index
        ]

    # --- the rest ---------------------------------------------------------------------------------

    def _vips(self) -> None:
        places, lines = self.allocation.vips, self.found.vips
        for bucket, addresses in enumerate(lines["vip"]):
            before = addresses.tobytes()
            for way, address in enumerate(addresses):
                vip = address.tobytes()
                if any(vip) and vip not in places.of:
                    places.put(vip, Place(bucket, way))
                else:
                    addresses[way] = 0
            if addresses.tobytes() != before:
                self.repairs.append(Put("vips", bucket, addresses.tobytes()))
        self.allocation.vip_lines = lines

    def _interfaces(self) -> None:
        allocation = self.allocation
        for place in np.flatnonzero(self.found.interfaces["ifindex"]).tolist():
            line = allocation.interfaces[place] = self.found.interfaces[place].tobytes()
            a, b, c, d = _FILTERS.unpack(line)
            allocation.filters |= Filters((a, b), (c, d))

    def _sources(self) -> None:
        allocation = self.allocation
        for place in np.flatnonzero(self.found.sources.any(axis=1)).tolist():
            allocation.sources.setdefault(self.found.sources[place].tobytes(), place)
        used = set(allocation.sources.values())
        allocation.free_sources = [one for one in allocation.free_sources if one not in used]

    def _servers(self) -> None:
        found = self.found
        self.allocation.servers = set(found.servers)
        self.allocation.own = set(found.own)
        self.allocation.answering = {key[:_KEY_BYTES]: bool(yes) for key, yes in found.answering.items()}


def extent(service: Any, first: str, count: str) -> Extent:
    """Return where slots of a service's line stand."""
    return Extent(int(service[first]), int(service[count])) if service[count] else NOWHERE
