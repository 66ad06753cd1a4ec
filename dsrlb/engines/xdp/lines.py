"""One line of a map at a time: services, targets, interfaces, front entries as bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.layout import ServiceFlag, TargetFlag
from dsrlb.model import V4_MAPPED, Hop
from dsrlb.modes.base import outer_source
from dsrlb.modes.l3dsr import HOP_LIMIT, INSIDE
from dsrlb.table import CompiledService, Target
from dsrlb.wire.checksum import WORD_MAX

_MOST_MTU_BYTES = 0xFFFF


@dataclass(frozen=True)
class Extent:
    """Slots side by side: from which on, and how many."""

    first: int = 0
    count: int = 0


NOWHERE = Extent()


@dataclass(frozen=True)
class Standing:
    """Where what a service's line refers to stands."""

    id: int
    slots: Extent
    former: Extent = NOWHERE
    running: Extent = NOWHERE
    looks_up: bool = False


def service_line(service: CompiledService, standing: Standing) -> bytes:
    """Return a service as the program reads it."""
    line = np.zeros((), layout.SERVICE)
    slots, former, running = standing.slots, standing.former, standing.running
    line["slots"], line["slot_count"] = slots.first, slots.count
    line["former"], line["former_count"] = former.first, former.count
    line["running"], line["running_count"] = running.first, running.count
    line["flags"], line["id"] = flags_of(service, looks_up=standing.looks_up), standing.id
    line["mode"], line["cursor"] = layout.MODES.index(service.mode.name), layout.CURSORS[service.cursor]
    line["encap"] = layout.ENCAPS.index(service.options.encap)
    line["encap_port"] = service.options.encap_port
    line["timeout_s"] = service.timeouts_s
    if service.prefixes is not None:
        line["prefix4"], line["prefix6"] = service.prefixes
    if service.former is not None and service.former.prefixes is not None:
        line["former_prefix4"], line["former_prefix6"] = service.former.prefixes
    line["persist_s"] = service.persist.timeout_s if service.persist is not None else 0
    key = np.frombuffer(service.key.ljust(layout.SERVICE_KEY.itemsize, b"\0"), layout.SERVICE_KEY)
    line["key"] = key[0]
    line["source"] = np.frombuffer(service.source or bytes(16), np.uint8)
    line["share_total"] = sum(service.shares)
    return line.tobytes()


def flags_of(service: CompiledService, *, looks_up: bool) -> ServiceFlag:
    """Return the flags of a service; ``looks_up``: records may be left over from another time."""
    former = service.former
    said = {
        ServiceFlag.RECORDS_ALL: service.records_all,
        ServiceFlag.LOOKS_UP: service.records_all or former is not None or looks_up,
        ServiceFlag.HAS_FORMER: former is not None,
        ServiceFlag.PERSISTS: service.persist is not None,
        ServiceFlag.CLAMPS_MSS: service.options.clamp_mss and "clamp_mss" in service.mode.options,
        ServiceFlag.SNAT: service.source is not None,
        ServiceFlag.PLAIN: is_plain(service),
        ServiceFlag.HASHES_CLIENT: service.prefixes is not None,
        ServiceFlag.FORMER_HASHES_CLIENT: former is not None and former.prefixes is not None,
    }
    return ServiceFlag(sum(flag for flag, is_so in said.items() if is_so))


def is_plain(service: CompiledService) -> bool:
    """Return whether plain packets of a service may take the short way (``bpf/xdp/plain.h``)."""
    mode = service.mode.name
    return mode == "l2dsr" or (mode == "l3dsr" and service.options.encap == "ipip")


def hop_line(hop: Hop) -> bytes:
    """Return a next hop as the program reads it."""
    line = np.zeros((), layout.HOP)
    line["ifindex"] = hop.ifindex
    line["dst_mac"] = np.frombuffer(hop.dst_mac, np.uint8)
    line["src_mac"] = np.frombuffer(hop.src_mac, np.uint8)
    return line.tobytes()


def target_fields(service: CompiledService, target: Target, path_bytes: int | None) -> dict[str, object]:
    """Return what the program needs to know of a backend, but for its hop.

    ``path_bytes``: what routers said that the way to it takes.
    """
    hop, is_v4 = target.hop, target.address.startswith(V4_MAPPED)
    flags = TargetFlag.MEMBER | (TargetFlag.WEIGHTED if target.weight else TargetFlag(0))
    flags |= TargetFlag.IS_V4 if is_v4 else TargetFlag(0)
    fields: dict[str, object] = {
        "address": np.frombuffer(target.address, np.uint8),
        "port": int.from_bytes(target.port, "big"),
        "mtu_bytes": 0 if hop is None else mtu_of(service, hop, path_bytes),
        "source4": np.zeros(4, np.uint8),
        "outer_sum": 0,
    }
    source = source_of(service, target)
    if source is not None:
        flags |= TargetFlag.HAS_SOURCE
        if is_v4:
            fields["source4"] = np.frombuffer(source[12:], np.uint8)
            fields["outer_sum"] = outer_sum(source[12:], target.address[12:])
    return fields | {"flags": int(flags)}


def source_of(service: CompiledService, target: Target) -> bytes | None:
    """Return the 16-byte source of the outer header of packets to a backend, where there is one."""
    if target.hop is None or service.mode.name != "l3dsr":
        return None
    return outer_source(service.options, target.hop, target.address)


def mtu_of(service: CompiledService, hop: Hop, path_bytes: int | None) -> int:
    """Return what the way to a backend takes, 0 for all; where replies pass nothing is learned of the way."""
    known = [hop.mtu_bytes or _MOST_MTU_BYTES]
    if path_bytes is not None and not service.mode.sees_replies:
        known.append(path_bytes)
    least = min(known)
    return least if least < _MOST_MTU_BYTES else 0


def outer_sum(source: bytes, server: bytes) -> int:
    """Return the sum of an outer IPv4 header without TOS, length and checksum (RFC 1071), protocol 4."""
    header = bytes((0x45, 0)) + bytes(4) + b"\x40\0" + bytes((HOP_LIMIT, INSIDE[4])) + source + server
    return int.from_bytes(header, "big") % WORD_MAX
