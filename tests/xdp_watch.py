"""Tables installed into maps in memory, with packets that come between any two writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

import numpy as np
from xdp_maps import Found, Maps

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.adopt import adopt
from dsrlb.engines.xdp.allocation import Allocation
from dsrlb.engines.xdp.layout import ServiceFlag, TargetFlag
from dsrlb.engines.xdp.lines import NOWHERE_AT_ALL, flags_of, hop_line, service_line
from dsrlb.engines.xdp.placing import buckets_of, hash_of_place
from dsrlb.engines.xdp.plan import plan
from dsrlb.engines.xdp.recovered import recovered
from dsrlb.engines.xdp.sizes import Sizes
from dsrlb.engines.xdp.writes import SETTLE, Write
from dsrlb.model import Backend, Hop, Service, backend_key, service_key, wire_address
from dsrlb.table import EMPTY, GONE, CompiledService, ForwardingTable, compile_table

SIZES = Sizes(front=8, vips=4, services=32, targets=64, slots=64, flows=2)
MAC = bytes.fromhex("02000000000a")
BACKENDS = [ip_address(f"198.18.1.{n}") for n in range(1, 6)] + [ip_address(f"2001:db8::{n}") for n in (1, 2)]
VIPS = [ip_address("198.18.0.10"), ip_address("198.18.0.11"), ip_address("2001:db8:1::10")]


class Installed:
    """Maps, and tables that are installed into them one after the other."""

    def __init__(self, sizes: Sizes = SIZES) -> None:
        self.allocation, self.maps, self.table = Allocation(sizes), Maps(sizes), EMPTY
        self.paths: dict[bytes, int] = {}

    def writes(self, table: ForwardingTable) -> list[Write]:
        """Install a table; return what was written."""
        done = []
        for write in plan(self.allocation, table, self.maps, self.paths):
            self.maps.write(write)
            done.append(write)
        self.table = table
        return done

    def install_watched(
        self, table: ForwardingTable, *others: ForwardingTable, most: int | None = None
    ) -> list[Write]:
        """Install a table, with packets coming between any two writes; return what was written.

        ``others``: tables that may be in force in part.  ``most``: so many writes are done, then no more.
        """
        watch = Watch(self, (self.table, *others), table)
        watch.look()
        done: list[Write] = []
        for write in plan(self.allocation, table, self.maps, self.paths):
            if len(done) == most:
                return done
            self.maps.write(write)
            done.append(write)
            if write is SETTLE:
                watch.settle()
            watch.look()
        self.table = table
        watch.is_done()
        return done

    def taken_over(self) -> Installed:
        """Return the same maps in the hands of a process that knows nothing but them."""
        other = Installed()
        other.maps = self.maps
        other.allocation, repairs = adopt(self.maps.as_found())
        for write in repairs:
            self.maps.write(write)
        other.table = recovered(other.allocation, self.maps.slots)
        return other


class Watch:
    """Packets that come while a table is installed, and those that are under way."""

    def __init__(self, installed: Installed, olds: tuple[ForwardingTable, ...], new: ForwardingTable) -> None:
        self.installed, self.maps, self.olds, self.new = installed, installed.maps, olds, new
        self.tables = (*olds, new)
        self.under_way: dict[int, Found] = {}  # lines that packets may have, and what they found there
        self.seen: set[bytes] = set()  # VIPs that were found to be some
        self.missed: set[bytes] = set()  # services that were not in their first bucket when one looked there
        self.keys = sorted({key for one in self.tables for key in one.services})
        self.vips = {vip for one in self.tables for vip in one.vips}

    def settle(self) -> None:
        self.under_way.clear()
        self.missed.clear()
        self.seen.clear()

    def look(self) -> None:
        for key in self.keys:
            self._look_up(key)
        for line, found in self.under_way.items():
            assert self.maps.found(line) == found, "a line changed under a packet"
        for vip in self.vips:
            if all(vip in one.vips for one in self.tables):
                assert self.maps.is_vip(vip)
            elif self.maps.is_vip(vip):
                self.seen.add(vip)
            if vip in self.seen and len(self.tables) == 2:  # then the service is looked up
                there = self.new if vip in self.new.vips else self.tables[0]
                assert all(self.maps.line_of(key) for key in there.services if key[:16] == vip)

    def _look_up(self, key: bytes) -> None:
        maps, (first, second) = self.maps, buckets_of(key, self.maps.sizes.front - 1)
        line = maps.line_in_bucket(key, first)
        if not line:
            self.missed.add(key)
        said = [one.services.get(key) for one in self.tables]
        if None not in said and key in self.missed:
            assert maps.line_in_bucket(key, second), "a service was in neither of its buckets"
        line = maps.line_of(key)
        if not line:
            assert None in said
            return
        found = maps.found(line)
        candidates = [one for one in said if one is not None]
        assert any(says(found, one) for one in candidates), "neither the old service nor the new one"
        self.under_way.setdefault(line, found)
        self._look_at_hops(line, candidates)

    def _look_at_hops(self, line: int, candidates: list[CompiledService]) -> None:
        for index in self.maps.targets_of(line):
            target = self.maps.target(index)
            hops = {
                hop_line(one.by_key[target.key].hop)  # type: ignore[arg-type]  # None is filtered out
                for one in candidates
                if target.key in one.by_key and one.by_key[target.key].hop is not None
            }
            assert target.hop in hops, "slots lead to a backend without a hop"
            assert target.flags & TargetFlag.MEMBER

    def is_done(self) -> None:
        """Check that the maps say what the new table says, and no more."""
        maps, table = self.maps, self.new
        for key in self.keys:
            service = table.services.get(key)
            assert bool(maps.line_of(key)) == (service is not None)
            if service is not None:
                assert says(maps.found(maps.line_of(key)), service)
                self._is_whole(service)
        for vip in self.vips:
            assert maps.is_vip(vip) == (vip in table.vips)
        for ifindex, mac in table.interfaces.items():
            entry = maps.arrays["interfaces"][ifindex]
            assert (entry["ifindex"], entry["mac"].tobytes()) == (ifindex, mac)
            for which, addresses in (("vip_filter", table.vips), ("server_filter", table.servers)):
                bits = {hash_of_place(one) >> 57 for one in addresses}
                assert {bit for bit in range(128) if maps.filter_says(ifindex, which, bit)} == bits
        assert {one for one in maps.arrays["interfaces"]["ifindex"] if one} == table.interfaces.keys()
        assert len(maps.members) == sum(len(one.targets) for one in table.services.values())

    def _is_whole(self, service: CompiledService) -> None:
        maps, held = self.maps, self.installed.allocation.services[service.key]
        assert maps.arrays["current"][held.id] == maps.line_of(service.key)
        for target, share in zip(service.targets, service.shares, strict=True):
            index = self.installed.allocation.target_of[held.id, target.key]
            line = maps.target(index)
            assert line.hop == (None if target.hop is None else hop_line(target.hop))
            assert (line.service, line.key) == (held.id, target.key)
            assert bool(line.flags & TargetFlag.WEIGHTED) == bool(target.weight)
            if service.cursor in layout.RUNS:
                assert maps.loads["share"][index] == share


def says(found: Found, service: CompiledService) -> bool:
    """Return whether what a packet finds is what a service says, as a whole."""
    names = [target.key for target in service.targets]
    former = service.former.slots if service.former is not None else ()
    running = [name for name, share in zip(names, service.shares, strict=True) if share]
    return (
        found.slots == tuple(names[place] for place in service.slots)
        and found.former == tuple(None if place == GONE else names[place] for place in former)
        and found.running == (tuple(running) if service.cursor in layout.RUNS else ())
        and is_same_line(found, service)
    )


def is_same_line(found: Found, service: CompiledService) -> bool:
    """Return whether all else in a line is as the service has it, but for its id and left-over records."""
    line = np.frombuffer(found.line, layout.SERVICE)[0].copy()
    flags = ServiceFlag(int(line["flags"])) | ServiceFlag.LOOKS_UP
    for name in ("flags", "slot_count", "former_count", "running_count"):
        line[name] = 0
    wanted = service_line(service, int(line["id"]), NOWHERE_AT_ALL, ServiceFlag(0))
    return line.tobytes() == wanted and flags == flags_of(service, looks_up=True)


# --- tables ---------------------------------------------------------------------------------------


def shortened(service: CompiledService, slots: int = 61) -> CompiledService:
    """Return a service with the first slots only, which are as good for a plan as all."""
    return replace(service, slots=service.slots[:slots], intended=service.intended[:slots])


def compiled(
    services: list[Service],
    hops: Mapping[int, int] | None = None,
    interfaces: Mapping[int, bytes] | None = None,
) -> ForwardingTable:
    """Return a table; ``hops``: by place in BACKENDS, the last byte of the MAC, 0: out of reach."""
    ways = {
        address: Hop(1, MAC, bytes((2, 0, 0, 0, 0, (hops or {}).get(place, 1))), 1500, wire_address(VIPS[0]))
        for place, address in enumerate(BACKENDS)
        if (hops or {}).get(place, 1)
    }
    table = compile_table(services, ways, interfaces or {1: MAC}, {1: 1500})
    return replace(table, services={key: shortened(one) for key, one in table.services.items()})


def web(scheduler: str, *backends: int, port: int = 80, mode: str = "l2dsr") -> Service:
    return Service(
        VIPS[0], port, "tcp", mode, scheduler, tuple(Backend(BACKENDS[place]) for place in backends)
    )


def web_key(port: int = 80) -> bytes:
    return service_key(wire_address(VIPS[0]), port, 6)


def key_of(place: int) -> bytes:
    return backend_key(Backend(BACKENDS[place]))
