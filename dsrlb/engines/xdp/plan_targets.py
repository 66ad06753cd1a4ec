"""What is to be written of a service's backends: targets, hops, who is a member, shares.

A target keeps its index for as long as records may refer to it, and longer: one that is no member any more
keeps what it has counted until its place is needed for another.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.allocation import Allocation, Held, Start
from dsrlb.engines.xdp.layout import TargetFlag
from dsrlb.engines.xdp.lines import TargetLine, described, hop_line, member_of, source_of
from dsrlb.engines.xdp.sizes import WAY_OUT
from dsrlb.engines.xdp.writes import Put, PutKey, Restart, SetLoad, Write
from dsrlb.errors import HostError
from dsrlb.model import V4_MAPPED
from dsrlb.table import CompiledService, Target

INDEX = struct.Struct("=I")


class Memory(Protocol):
    """What the program writes too, or is too much to keep twice."""

    @property
    def slots(self) -> NDArray[np.uint16]:
        """All slots."""

    @property
    def loads(self) -> NDArray[Any]:
        """Of layout.LOAD, by target."""

    def race_now(self, number: int) -> int:
        """Return how far the race of a service (its id) has come."""


class Stages:
    """Writes in the order in which they are safe: each stage after all of the one before."""

    def __init__(self) -> None:
        self.restarts: list[Write] = []  # of targets that get another backend
        self.anew: set[int] = set()  # those targets: their loads are 0 by then
        self.blanks: list[Write] = []
        self.fills: list[Write] = []  # slots
        self.sources: list[Write] = []
        self.targets: list[Write] = []  # fresh ones, and hops into copies that are not in use
        self.flips: list[Write] = []  # hops that come into use, and all else of targets
        self.loads: list[Write] = []
        self.members: list[Write] = []
        self.lines: list[Write] = []  # of services
        self.over: list[Iterable[Write]] = []  # worked out when no packet goes by the old lines any more

    def restart(self, index: int, names: tuple[bytes, bytes]) -> None:
        """Let a target begin anew: it was that of these names, service key and backend key."""
        self.restarts.append(Restart(index, names))
        self.anew.add(index)

    def before_switch(self) -> Iterator[Write]:
        """Yield, and forget, all that is written before services go over to their new lines."""
        for stage in (
            self.restarts, self.blanks, self.fills, self.sources, self.targets, self.flips, self.loads,
            self.members, self.lines,
        ):  # fmt: skip
            yield from stage
            stage.clear()


class TargetPlan:
    """Plans the targets of one service after another."""

    def __init__(
        self, allocation: Allocation, memory: Memory, paths: Mapping[bytes, int], stages: Stages
    ) -> None:
        self._allocation, self._memory, self._paths, self._stages = allocation, memory, paths, stages

    def targets_of(self, held: Held, service: CompiledService) -> NDArray[np.uint16]:
        """Return the indices of a service's targets, in their order; write what is new of them."""
        found = [self._target(held, service, target) for target in service.targets]
        gone = set(held.members) - service.by_key.keys()
        if gone:
            self._stages.over.append(self.leave(held, gone))
        return np.array(found, np.uint16)

    def leave(self, held: Held, gone: Iterable[bytes]) -> Iterator[Write]:
        """Yield what takes backends out of a service; records of their flows lead nowhere then."""
        for backend in sorted(gone):
            index = self._allocation.target_of[held.id, backend]
            line = self._allocation.lines[index] = self._allocation.lines[index].left()
            self._allocation.retired[index] = held.key
            yield Put("targets", index, line.pack())
            yield PutKey("members", member_of(line), None)

    def _target(self, held: Held, service: CompiledService, target: Target) -> int:
        index = self._allocation.target_of.get((held.id, target.key))
        is_fresh = index is None
        if index is None:
            index = self._take_index(held.id, target.key)
        before = TargetLine() if is_fresh else self._allocation.lines[index]
        line = described(before, service, held.id, target, self._paths.get(target.address))
        if not before.flags & TargetFlag.MEMBER:
            self._allocation.retired.pop(index, None)
            self._stages.members.append(PutKey("members", member_of(line), INDEX.pack(index)))
        line = line._replace(source6=self._source6(service, target))
        self._write_line(index, before, line, None if target.hop is None else hop_line(target.hop))
        return index

    def _write_line(self, index: int, before: TargetLine, line: TargetLine, hop: bytes | None) -> None:
        """Write a target in steps, each of which a packet may see.

        A hop goes into the copy that is not in use before it comes into use; one that is lost stays in use
        until nothing but records leads to it.
        """
        stages = self._stages
        after = line.without_hop() if hop is None else line.with_hop(hop)
        self._allocation.lines[index] = after
        if after == before:
            return
        if hop is None and before.hop is not None:
            stages.over.append((Put("targets", index, after.pack()),))
            return
        if after.hops != before.hops and before != TargetLine():  # nobody looks at a fresh one yet
            stages.targets.append(Put("targets", index, before._replace(hops=after.hops).pack()))
        stages.flips.append(Put("targets", index, after.pack()))

    def _take_index(self, number: int, backend: bytes) -> int:
        """Return an index for a new target: one never used, else that of the backend that left first."""
        allocation = self._allocation
        index = allocation.free_targets.pop() if allocation.free_targets else self._reuse_index()
        allocation.target_of[number, backend] = index
        allocation.id_of[index] = number
        return index

    def _reuse_index(self) -> int:
        allocation, loads = self._allocation, self._memory.loads
        for index, service in allocation.retired.items():
            if loads["active"][index] + loads["inactive"][index] <= 0:
                backend = allocation.lines[index].key
                del allocation.retired[index], allocation.target_of[int(allocation.id_of[index]), backend]
                self._stages.restart(index, (service, backend))
                return index
        raise HostError(
            f"the program has room for {allocation.sizes.targets - 1} backends, removed ones that still have "
            f"flows included: {WAY_OUT}."
        )

    def _source6(self, service: CompiledService, target: Target) -> int:
        """Return the place of the outer source in `sources`, for IPv6 outside; 0: none."""
        source = source_of(service, target)
        if source is None or target.address.startswith(V4_MAPPED):
            return 0
        place = self._allocation.sources.get(source)
        if place is None:
            place = self._free_source()
            self._allocation.sources[source] = place
            self._stages.sources.append(Put("sources", place, source))
        return place

    def _free_source(self) -> int:
        allocation = self._allocation
        if not allocation.free_sources:
            used = {line.source6 for line in allocation.lines.values()}
            for source in [one for one, place in allocation.sources.items() if place not in used]:
                allocation.free_sources.append(allocation.sources.pop(source))
        if not allocation.free_sources:
            raise HostError("l3dsr: the program has room for 255 IPv6 addresses of this host to send from.")
        return allocation.free_sources.pop()

    # --- least ------------------------------------------------------------------------------------

    def shares_of(self, held: Held, service: CompiledService, indices: NDArray[np.uint16]) -> None:
        """Write the shares of a service's backends, and who of them joins a race that is under way."""
        is_least = service.cursor in layout.RUNS
        wanted = service.shares if is_least else (0,) * len(service.shares)
        for index, share in zip(indices.tolist(), wanted, strict=True):
            if self._load(index, "share") != share:
                write = SetLoad(index, "share", share)
                if share:
                    self._stages.loads.append(write)
                else:
                    self._stages.over.append((write,))
        start = self._start_of(held)
        held.start = start
        if is_least:
            held.start = self._begin(held, start, service, indices)

    def _load(self, index: int, member: str) -> int:
        """Return a member of a target's load as it is when the plan has come so far."""
        return 0 if index in self._stages.anew else int(self._memory.loads[member][index])

    def _start_of(self, held: Held) -> Start | None:
        """Return who ran, and who was a newcomer, when a pick was last made; None: none ever was."""
        start = held.start
        if not held.running or (start is not None and start.now == self._memory.race_now(held.id)):
            return start
        loads = self._memory.loads
        indices = {one: self._allocation.target_of[held.id, one] for one in held.running}
        due = {one: int(loads["due"][i]) for one, i in indices.items() if loads["newcomer"][i]}
        return Start(-1, frozenset(held.running), due)

    def _begin(
        self, held: Held, start: Start | None, service: CompiledService, indices: NDArray[np.uint16]
    ) -> Start | None:
        """Write who is a newcomer, as ``least.prepare`` has it."""
        start = start or Start(-1, frozenset(), {})
        now = self._memory.race_now(held.id)
        for index, target, share in zip(indices.tolist(), service.targets, service.shares, strict=True):
            name = target.key
            joins = bool(share and start.running and (name in start.due or name not in start.running))
            due = start.due.get(name, now)
            if joins and self._load(index, "due") != due:
                self._stages.loads.append(SetLoad(index, "due", due))
            if joins != self._load(index, "newcomer"):
                self._stages.loads.append(SetLoad(index, "newcomer", int(joins)))
        return Start(now, start.running, start.due)
