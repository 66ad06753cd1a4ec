"""The table that stands in the maps, for a process that takes over from another one.

It is what ``transition.carry`` goes by: who is in which slot, and was before.  What the program does not need
to know is not in the maps, so it is not in this table either: names, how heavy backends are, ways not taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsrlb import modes
from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.allocation import Allocation, Held
from dsrlb.engines.xdp.layout import ServiceFlag, TargetFlag
from dsrlb.engines.xdp.lines import NO_PORT, TargetLine, hop_of
from dsrlb.engines.xdp.room import Extent
from dsrlb.model import V4_MAPPED, Hop, ModeOptions, Persist, person_address
from dsrlb.table import GONE, CompiledService, Former, ForwardingTable, Target

_CURSORS = {number: cursor for cursor, number in layout.CURSORS.items()}
_PROTOCOLS = {6: "tcp", 17: "udp"}


def recovered(allocation: Allocation, slots: NDArray[np.uint16]) -> ForwardingTable:
    """Return the table of the services that are in the front."""
    sources = {place: source for source, place in allocation.sources.items()}
    live = allocation.live
    services = {key: _service(held, allocation, slots, sources) for key, held in live.items()}
    lines = [np.frombuffer(line, layout.INTERFACE)[0] for line in allocation.interfaces.values()]
    return ForwardingTable(
        services,
        vips=frozenset(allocation.vips.of),
        interfaces={int(one["ifindex"]): one["mac"].tobytes() for one in lines},
        mtus={int(one["ifindex"]): int(one["mtu_bytes"]) for one in lines if one["mtu_bytes"]},
        own=frozenset(allocation.own),
    )


def _service(
    held: Held, allocation: Allocation, slots: NDArray[np.uint16], sources: Mapping[int, bytes]
) -> CompiledService:
    line, flags = np.frombuffer(held.value, layout.SERVICE)[0], held.flags
    indices = [allocation.target_of[held.id, key] for key in held.members]
    targets = tuple(_target(allocation.lines[index], sources) for index in indices)
    places = np.full(GONE + 1, GONE, np.uint16)
    places[indices] = range(len(indices))

    def read(extent: Extent) -> memoryview:
        there = places[slots[extent.first : extent.first + extent.slots]]
        return memoryview(there.tobytes()).cast("H")

    slots_now = read(held.extents.slots)
    return CompiledService(
        key=held.key,
        name=_name(held.key),
        cursor=_CURSORS[int(line["cursor"])],
        prefixes=_prefixes(line, flags, ServiceFlag.HASHES_CLIENT, ""),
        slots=slots_now,
        targets=targets,
        shares=tuple(int(key in held.running or _takes_all(one)) for key, one in _named(targets)),
        by_key=dict(_named(targets)),
        mode=modes.BY_NAME[layout.MODES[int(line["mode"])]],
        options=ModeOptions(
            encap=layout.ENCAPS[int(line["encap"])],  # type: ignore[arg-type]  # they are the words of the model
            encap_port=int(line["encap_port"]),
            clamp_mss=ServiceFlag.CLAMPS_MSS in flags,
            snat=ServiceFlag.SNAT in flags,
        ),
        persist=_persist(line) if ServiceFlag.PERSISTS in flags else None,
        timeouts_s=tuple(int(one) for one in line["timeout_s"]),
        intended=slots_now,
        records_all=ServiceFlag.RECORDS_ALL in flags,
        source=line["source"].tobytes() if ServiceFlag.SNAT in flags else None,
        former=_former(line, flags, read(held.extents.former)),
        refuses=ServiceFlag.REFUSES in flags,
        samples=ServiceFlag.SAMPLES in flags,
    )


def _named(targets: tuple[Target, ...]) -> list[tuple[bytes, Target]]:
    return [(target.key, target) for target in targets]


def _takes_all(target: Target) -> bool:
    return target.hop is not None and target.up


def _target(line: TargetLine, sources: Mapping[int, bytes]) -> Target:
    source = None
    if line.flags & TargetFlag.HAS_SOURCE:
        is_v4 = line.flags & TargetFlag.IS_V4
        source = V4_MAPPED + line.source4 if is_v4 else sources.get(line.source6)
    hop = None
    if line.hop is not None:
        ifindex, dst_mac, src_mac = hop_of(line.hop)
        hop = Hop(ifindex, src_mac, dst_mac, line.mtu_bytes, source)
    port = line.port if line.port != NO_PORT else b""
    weight, up = int(bool(line.flags & TargetFlag.WEIGHTED)), bool(line.flags & TargetFlag.UP)
    return Target(line.key, hop, line.address, port, weight, up)


def _name(key: bytes) -> str:
    host, port = person_address(key[:16]), int.from_bytes(key[16:18], "big") or "*"
    return f"{f'[{host}]' if ':' in host else host}:{port}/{_PROTOCOLS.get(key[18], key[18])}"


def _prefixes(line: Any, flags: ServiceFlag, flag: ServiceFlag, which: str) -> tuple[int, int] | None:
    return (int(line[f"{which}prefix4"]), int(line[f"{which}prefix6"])) if flag in flags else None


def _persist(line: Any) -> Persist:
    return Persist(int(line["persist_s"]), int(line["prefix4"]), int(line["prefix6"]))


def _former(line: Any, flags: ServiceFlag, slots: memoryview) -> Former | None:
    if ServiceFlag.HAS_FORMER not in flags:
        return None
    prefixes = _prefixes(line, flags, ServiceFlag.FORMER_HASHES_CLIENT, "former_")
    return Former(prefixes, slots, int(line["former_until_s"]))
