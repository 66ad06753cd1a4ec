"""From the table that is installed to another one: what to write, in which order.

A packet may come between any two writes, and must find what the old table says or what the new one says::

    fill      slots, targets, members, and the line of the service, where nobody looks yet
    switch    four bytes in the front: from now on packets of the service go by the new line
    settle    until no packet is under way by the old one
    over      backends that are none any more, room that nobody refers to any more

That is for as many services at once as there is room for.  A service that is as it was costs nothing, and of
one that changed only that is written which is not there yet.

Pure: the allocation says what stands in the maps, and changes as the writes are yielded; whoever asks for
them is to carry them out, in order.  What cannot be carried out leaves the two apart; then the allocation is
made anew from the maps (``adopt.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.allocation import Allocation, Held
from dsrlb.engines.xdp.layout import ServiceFlag
from dsrlb.engines.xdp.lines import NOWHERE_AT_ALL, Extents, TargetLine, flags_of, service_line
from dsrlb.engines.xdp.plan_front import FrontPlan, check_interfaces
from dsrlb.engines.xdp.plan_servers import ServerPlan
from dsrlb.engines.xdp.plan_slots import SlotPlan, running_of
from dsrlb.engines.xdp.plan_targets import INDEX, Memory, Stages, TargetPlan
from dsrlb.engines.xdp.room import NOWHERE
from dsrlb.engines.xdp.sizes import WAY_OUT, lines_for, lines_of
from dsrlb.engines.xdp.writes import SETTLE, Put, Write
from dsrlb.errors import HostError
from dsrlb.model import ANY_PORT
from dsrlb.table import CompiledService, ForwardingTable

_NEVER_SEEN = bytes(layout.RACE.itemsize)
_NO_SERVICE = bytes(layout.SERVICE.itemsize)
_MAKES_RECORDS = ServiceFlag.RECORDS_ALL | ServiceFlag.HAS_FORMER


def plan(
    allocation: Allocation, table: ForwardingTable, memory: Memory, paths: Mapping[bytes, int]
) -> Iterator[Write]:
    """Yield what turns the maps into those of a table.

    ``paths``: what routers said that the way to a server (16 bytes) takes, in bytes.
    Raises HostError for what cannot be: before the first write, unless room that is enough is in pieces.
    """
    check_room(allocation, table)
    return _Plan(allocation, table, memory, paths).writes()


def check_room(allocation: Allocation, table: ForwardingTable, lines_before: int = 0) -> None:
    """Raise ``HostError`` for a table that the maps are too small for, be its backends known yet or not.

    lines_before: how many lines of slots are in use beside those of the table.
    """
    check_interfaces(table)
    sizes = allocation.sizes
    services = table.services.values()
    for what, most, count in (
        ("services", sizes.max_services, len(services)),
        ("backends", sizes.targets - 1, sum(len(service.targets) for service in services)),
        ("lines of slots", sizes.slots, lines_before + sum(map(lines_of, services))),
    ):
        if count > most:
            raise HostError(f"the program was loaded with room for {most} {what}, not {count}: {WAY_OUT}.")


def check_change(allocation: Allocation, table: ForwardingTable) -> None:
    """Raise ``HostError`` for a table that cannot take the place of the one there.

    Slots of services that change are their former ones for a time, those of others go when all else is done.
    """
    live = allocation.live.items()
    changed = (held for key, held in live if not _keeps_slots(held, table.services.get(key)))
    check_room(allocation, table, sum(lines_for(held.extents.slots.slots) for held in changed))


def _keeps_slots(held: Held, service: CompiledService | None) -> bool:
    """Return whether a service goes on with the slots it has, as far as that can be told."""
    return service is not None and (held.compiled is None or held.compiled.intended == service.intended)


class _Plan:
    """One plan under way."""

    def __init__(
        self, allocation: Allocation, table: ForwardingTable, memory: Memory, paths: Mapping[bytes, int]
    ) -> None:
        self.allocation, self.table, self.memory, self.paths = allocation, table, memory, paths
        self.stages = Stages()
        self.targets = TargetPlan(allocation, memory, paths, self.stages)
        self.slots = SlotPlan(allocation, memory, self.stages)
        self.front = FrontPlan(allocation)
        self.servers = ServerPlan(allocation, table)
        self.switches: list[Held] = []
        self.given_back: list[Callable[[], None]] = []  # done behind `over`
        self.recorded = _recorded(allocation, memory)

    def writes(self) -> Iterator[Write]:
        """Yield all of it."""
        yield from self.servers.add()
        gone = [held for key, held in self.allocation.live.items() if key not in self.table.services]
        recording = {held.key for held in self.allocation.services.values() if self._may_record(held)}
        for service in self.table.services.values():
            looks_up = bool(recording & self._looked_up_by(service))
            if not self._is_as_wanted(service, looks_up=looks_up):
                yield from self._prepare(service, looks_up=looks_up)
        yield from self._switch()
        yield from self.front.add_vips(self.table.vips)
        yield from self.front.set_interfaces(self.table, widely=True)
        yield from self._remove(gone)
        yield from self._finish()
        yield from self.servers.remove()
        yield from self.front.set_interfaces(self.table, widely=False)

    # --- records of another time ------------------------------------------------------------------

    def _may_record(self, held: Held) -> bool:
        """Return whether a service has records, or may have begun one since that was looked at."""
        return held.id in self.recorded or (held.is_live and bool(held.flags & _MAKES_RECORDS))

    def _looked_up_by(self, service: CompiledService) -> set[bytes]:
        """Return the keys of services whose records packets of this one may belong to.

        Flows of a port may be on record with the service for every port, from before there was one for that
        port alone; and the other way about, when that one is gone.
        """
        vip, port, tail = service.key[:16], service.key[16:18], service.key[18:]
        every = ANY_PORT.to_bytes(2, "big")
        if port != every:
            return {service.key, vip + every + tail}
        gone = (key for key, held in self.allocation.services.items() if key not in self.table.services)
        return {service.key, *(key for key in gone if key[:16] == vip and key[18:] == tail)}

    def _need_service(self) -> None:
        """See to it that there is an id and a line for one more service, if there can be.

        A service that is gone keeps its own, and what it has counted, for as long as nobody needs them.
        """
        allocation = self.allocation
        if allocation.free_ids and allocation.free_lines:
            return
        for key in allocation.gone:
            held = allocation.services[key]
            if held.id not in self.recorded and key not in self.table.services:
                self._forget(held)
                return

    def _forget(self, held: Held) -> None:
        """Give back all that a service has that is gone, and of which no flow is on record."""
        allocation, stages = self.allocation, self.stages
        for index in np.flatnonzero(allocation.id_of == held.id).tolist():
            backend = allocation.lines.pop(index).key
            del allocation.target_of[held.id, backend], allocation.retired[index]
            allocation.id_of[index] = 0
            allocation.free_targets.append(index)
            stages.restart(index, (held.key, backend))
            stages.blanks.append(Put("targets", index, TargetLine().pack()))
        stages.blanks.append(Put("services", held.line, _NO_SERVICE))
        allocation.release(held)
        allocation.free_lines.append(held.line)

    # --- one service ------------------------------------------------------------------------------

    def _is_as_wanted(self, service: CompiledService, *, looks_up: bool) -> bool:
        held = self.allocation.services.get(service.key)
        if held is None or not held.is_live or held.paths != self._paths_of(service):
            return False
        is_same = held.compiled is service or held.compiled == service
        return is_same and held.flags == flags_of(service, looks_up=looks_up)

    def _paths_of(self, service: CompiledService) -> dict[bytes, int]:
        if not self.paths:
            return {}
        servers = (target.address for target in service.targets)
        return {server: self.paths[server] for server in servers if server in self.paths}

    def _prepare(self, service: CompiledService, *, looks_up: bool) -> Iterator[Write]:
        """Fill in all that a service's new line refers to, and the line, if there is to be another one."""
        self._need_service()
        held, over = self._held(service), len(self.stages.over)
        indices = self.targets.targets_of(held, service)
        self.targets.shares_of(held, service, indices)
        extents = self.slots.stand(held, service, indices)
        if extents is None:  # give back what is over of other services, and try again
            mine = self.stages.over[over:]
            del self.stages.over[over:]
            yield from self._switch()
            yield from self._finish()
            self.stages.over += mine
            extents = self.slots.stand(held, service, indices)
            if extents is None:
                raise HostError(f"the program has no room for the slots of one more service: {WAY_OUT}.")
        value = service_line(service, held.id, extents, flags_of(service, looks_up=looks_up))
        held.members = tuple(target.key for target in service.targets)
        held.running = running_of(service)
        held.compiled, held.paths = service, self._paths_of(service)
        if value != held.value or not held.is_live:
            self._go_over(held, value, extents)

    def _held(self, service: CompiledService) -> Held:
        """Return what a service holds; what a race remembers of a service that is new is nothing."""
        allocation = self.allocation
        held = allocation.services.get(service.key)
        if held is None:
            if not allocation.free_ids:
                raise HostError(f"the program has no room for one more service: {WAY_OUT}.")
            held = allocation.hold(service.key, allocation.free_ids.pop())
        if not held.is_live:
            held.start = None
            allocation.gone.pop(held.key, None)
            self.stages.loads.append(Put("races", held.id, _NEVER_SEEN))
        return held

    def _go_over(self, held: Held, value: bytes, extents: Extents) -> None:
        """Write another line for a service, which is to be switched to; the old one is over then."""
        allocation = self.allocation
        before, line = held.line, allocation.free_lines.pop()
        left = set(held.extents) - set(extents) - {NOWHERE}
        held.line, held.value, held.extents, held.is_live = line, value, extents, True
        self.stages.lines.append(Put("services", line, value))
        self.switches.append(held)
        if before:
            self.stages.over.append((Put("services", before, _NO_SERVICE),))
            self.given_back.append(partial(allocation.free_lines.append, before))
        self.given_back += [partial(allocation.room.give, extent) for extent in left]

    # --- order ------------------------------------------------------------------------------------

    def _switch(self) -> Iterator[Write]:
        """Yield what was filled in, then what has packets go by it."""
        yield from self.stages.before_switch()
        for held in self.switches:
            yield from self.front.lead(held)
        for held in self.switches:
            yield Put("current", held.id, INDEX.pack(held.line))
        self.switches.clear()

    def _remove(self, gone: list[Held]) -> Iterator[Write]:
        """Yield what takes services out: first their VIPs, as without a service those would be dropped."""
        writes = list(self.front.remove_vips(self.table.vips))
        yield from writes
        if writes and gone:
            yield SETTLE
        for held in gone:
            yield self.front.lead_nowhere(held)
            yield Put("current", held.id, INDEX.pack(0))
            self.stages.over.append(self.targets.leave(held, held.members))
            self.stages.over.append(self.front.forget_service(held))
            left = set(held.extents) - {NOWHERE}
            self.given_back += [partial(self.allocation.room.give, extent) for extent in left]
            held.members, held.running, held.compiled, held.extents = (), (), None, NOWHERE_AT_ALL
            held.is_live = False
            self.allocation.gone[held.key] = None

    def _finish(self) -> Iterator[Write]:
        """Yield what waits for packets that are under way by old lines; give back what is over."""
        if self.stages.over or self.given_back:
            yield SETTLE
        for writes in self.stages.over:
            yield from writes
        self.stages.over.clear()
        for give_back in self.given_back:
            give_back()
        self.given_back.clear()


def _recorded(allocation: Allocation, memory: Memory) -> set[int]:
    """Return the ids of services whose targets have flows on record."""
    busy = np.flatnonzero(memory.loads["active"] + memory.loads["inactive"] > 0)
    return {int(number) for number in np.unique(allocation.id_of[busy])} - {0}
