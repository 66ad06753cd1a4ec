"""What is to be written of the tables that packets are looked up in first: services, VIPs, interfaces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.allocation import Allocation, Held
from dsrlb.engines.xdp.lines import Filters, interface_line
from dsrlb.engines.xdp.placing import Place, filter_of
from dsrlb.engines.xdp.sizes import WAY_OUT
from dsrlb.engines.xdp.writes import SETTLE, Put, Write
from dsrlb.errors import HostError
from dsrlb.table import ForwardingTable


class FrontPlan:
    """Plans front, VIPs and interfaces."""

    def __init__(self, allocation: Allocation) -> None:
        self._allocation = allocation

    # --- services ---------------------------------------------------------------------------------

    def lead(self, held: Held) -> Iterator[Write]:
        """Yield what leads packets of a service to its line, ``held.line``."""
        places = self._allocation.front
        if held.key not in places.of:
            moves = places.add(held.key)
            if moves is None:
                raise HostError(f"the program has no room for one more service: {WAY_OUT}.")
            for move in moves:
                if move.before is not None:
                    yield from self._move_service(move.before, move.after)
            self._name(held.key, places.of[held.key])
        yield self._set_service(places.of[held.key], held.line)

    def lead_nowhere(self, held: Held) -> Put:
        """Return what takes a service out, but for its key, which packets may be compared with now."""
        return self._set_service(self._allocation.front.of[held.key], 0)

    def forget_service(self, held: Held) -> Iterator[Write]:
        """Yield what frees a service's place, when nobody looks at it any more."""
        place = self._allocation.front.remove(held.key)
        self._allocation.front_lines["entry"][place.bucket, place.way] = np.zeros((), layout.FRONT_ENTRY)
        yield self._bucket(place)

    def _move_service(self, before: Place, after: Place) -> Iterator[Write]:
        """Yield a move: first it stands in both places; no reader has seen neither when one is taken away."""
        entries = self._allocation.front_lines["entry"]
        entries[after.bucket, after.way] = entries[before.bucket, before.way]
        yield self._bucket(after)
        yield SETTLE
        yield self._set_service(before, 0)
        yield SETTLE

    def _name(self, key: bytes, place: Place) -> None:
        entry = np.zeros((), layout.FRONT_ENTRY)
        entry["vip"] = np.frombuffer(key[:16], np.uint8)
        entry["port"], entry["protocol"] = int.from_bytes(key[16:18], "big"), key[18]
        self._allocation.front_lines["entry"][place.bucket, place.way] = entry

    def _set_service(self, place: Place, line: int) -> Put:
        self._allocation.front_lines["entry"]["service"][place.bucket, place.way] = line
        return self._bucket(place)

    def _bucket(self, place: Place) -> Put:
        return Put("front", place.bucket, self._allocation.front_lines[place.bucket].tobytes())

    # --- VIPs -------------------------------------------------------------------------------------

    def add_vips(self, vips: Iterable[bytes]) -> Iterator[Write]:
        """Yield what makes addresses VIPs."""
        places = self._allocation.vips
        for vip in sorted(set(vips) - places.of.keys()):
            moves = places.add(vip)
            if moves is None:
                raise HostError(f"the program has no room for one more VIP: {WAY_OUT}.")
            for move in moves:
                yield self._put_vip(move.key, move.after)
                yield from (SETTLE,) if move.before is not None else ()

    def remove_vips(self, vips: Iterable[bytes]) -> Iterator[Write]:
        """Yield what makes addresses VIPs no more, but for those that stay."""
        places = self._allocation.vips
        for vip in sorted(places.of.keys() - set(vips)):
            yield self._put_vip(bytes(16), places.remove(vip))

    def _put_vip(self, vip: bytes, place: Place) -> Put:
        self._allocation.vip_lines["vip"][place.bucket, place.way] = np.frombuffer(vip, np.uint8)
        return Put("vips", place.bucket, self._allocation.vip_lines[place.bucket].tobytes())

    # --- interfaces -------------------------------------------------------------------------------

    def set_interfaces(self, table: ForwardingTable, *, widely: bool) -> Iterator[Write]:
        """Yield the interfaces; ``widely``: with the filters' bits of before as well."""
        allocation = self._allocation
        filters = Filters(filter_of(table.vips), filter_of(table.servers))
        if widely:
            filters |= allocation.filters
        allocation.filters = filters
        wanted = {
            ifindex % layout.INTERFACES: interface_line(ifindex, mac, table.mtus.get(ifindex, 0), filters)
            for ifindex, mac in table.interfaces.items()
        }
        gone = {place: bytes(layout.INTERFACE.itemsize) for place in allocation.interfaces.keys() - wanted}
        for place, line in (wanted | gone).items():
            if allocation.interfaces.get(place) != line:
                yield Put("interfaces", place, line)
        allocation.interfaces = wanted


def check_interfaces(table: ForwardingTable) -> None:
    """Raise ``HostError`` for interfaces that the program cannot tell apart."""
    by_place: dict[int, int] = {}
    for ifindex in table.interfaces:
        other = by_place.setdefault(ifindex % layout.INTERFACES, ifindex)
        if other != ifindex:
            raise HostError(
                f"interfaces {other} and {ifindex} cannot be served together, as these numbers are the same "
                f"modulo {layout.INTERFACES}: create one of them again, or use --engine packet."
            )
