"""What stands in one entry of a map: services, targets, interfaces as the program reads them."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.layout import ServiceFlag, TargetFlag
from dsrlb.engines.xdp.room import NOWHERE, Extent
from dsrlb.model import V4_MAPPED, Hop
from dsrlb.modes.base import outer_source
from dsrlb.modes.l3dsr import HOP_LIMIT, INSIDE
from dsrlb.table import CompiledService, Target
from dsrlb.wire.checksum import WORD_MAX

_MOST_MTU_BYTES = 0xFFFF
_HOP = struct.Struct("=I6s6s")
_TARGET = struct.Struct("=16s16s16s4sHHH2sBBH")
_MEMBER = struct.Struct("=I2s2x16s")
_INTERFACE = struct.Struct("=I6sH4x4Q16x")
NO_PORT = bytes(2)
_WEIGHTED, _MEMBER_FLAG, _IS_V4, _HAS_SOURCE, _UP = map(int, TargetFlag)


class Filters(NamedTuple):
    """Bits of addresses, two words each (``placing.filter_of``)."""

    vips: tuple[int, int] = (0, 0)
    servers: tuple[int, int] = (0, 0)

    def __or__(self, other: Filters) -> Filters:
        """Return the bits of both."""
        vips, servers = zip(self.vips, other.vips, strict=True), zip(self.servers, other.servers, strict=True)
        return Filters(tuple(a | b for a, b in vips), tuple(a | b for a, b in servers))  # type: ignore[arg-type]


def interface_line(ifindex: int, mac: bytes | None, mtu_bytes: int, filters: Filters) -> bytes:
    """Return an interface as the program reads it; without a MAC it takes every unicast frame."""
    mtu_bytes = min(mtu_bytes, _MOST_MTU_BYTES)
    return _INTERFACE.pack(ifindex, mac or bytes(6), mtu_bytes, *filters.vips, *filters.servers)


# --- services -----------------------------------------------------------------------------------


class Extents(NamedTuple):
    """Where what a service's line refers to stands."""

    slots: Extent = NOWHERE
    former: Extent = NOWHERE
    running: Extent = NOWHERE


NOWHERE_AT_ALL = Extents()


def service_line(service: CompiledService, number: int, extents: Extents, flags: ServiceFlag) -> bytes:
    """Return a service as the program reads it; ``number`` is its id."""
    line = np.zeros((), layout.SERVICE)
    slots, former, running = extents
    line["slots"], line["slot_count"] = slots.first, slots.slots
    line["former"], line["former_count"] = former.first, former.slots
    line["running"], line["running_count"] = running.first, running.slots
    line["flags"], line["id"] = flags, number
    line["mode"], line["cursor"] = layout.MODES.index(service.mode.name), layout.CURSORS[service.cursor]
    line["encap"] = layout.ENCAPS.index(service.options.encap)
    line["encap_port"] = service.options.encap_port
    line["timeout_s"] = service.timeouts_s
    if service.prefixes is not None:
        line["prefix4"], line["prefix6"] = service.prefixes
    if service.former is not None:
        line["former_until_s"] = service.former.until_s
        if service.former.prefixes is not None:
            line["former_prefix4"], line["former_prefix6"] = service.former.prefixes
    line["persist_s"] = service.persist.timeout_s if service.persist is not None else 0
    key = service.key.ljust(layout.SERVICE_KEY.itemsize, b"\0")
    line["key"] = np.frombuffer(key, layout.SERVICE_KEY)[0]
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
        ServiceFlag.GROWS: _grows(service),
        ServiceFlag.HASHES_CLIENT: service.prefixes is not None,
        ServiceFlag.FORMER_HASHES_CLIENT: former is not None and former.prefixes is not None,
        ServiceFlag.REFUSES: service.refuses,
        ServiceFlag.SAMPLES: service.samples,
    }
    return ServiceFlag(sum(flag for flag, is_so in said.items() if is_so))


def _grows(service: CompiledService) -> bool:
    """Return whether plain packets mostly need one IPv4 header more, and nothing else."""
    if service.mode.name != "l3dsr" or service.options.encap != "ipip":
        return False
    of_ipv4 = sum(target.address.startswith(V4_MAPPED) for target in service.targets)
    return 2 * of_ipv4 > len(service.targets)


def flags_in(line: bytes) -> ServiceFlag:
    """Return the flags that stand in a service's line."""
    return ServiceFlag(int(np.frombuffer(line, layout.SERVICE)["flags"][0]))


# --- targets ------------------------------------------------------------------------------------


class TargetLine(NamedTuple):
    """A target as the program reads it, member by member (layout.TARGET)."""

    hops: tuple[bytes, bytes] = (bytes(_HOP.size), bytes(_HOP.size))
    address: bytes = bytes(16)
    source4: bytes = bytes(4)
    mtu_bytes: int = 0
    outer_sum: int = 0
    service: int = 0
    port: bytes = NO_PORT
    hop_in_use: int = layout.NO_HOP
    flags: int = 0
    source6: int = 0

    def pack(self) -> bytes:
        """Return its bytes."""
        return _TARGET.pack(*self.hops, *self[1:])

    @classmethod
    def unpack(cls, raw: bytes) -> TargetLine:
        """Return what bytes say."""
        one, other, *rest = _TARGET.unpack(raw)
        return cls((one, other), *rest)

    @property
    def key(self) -> bytes:
        """The backend's, as ``model.backend_key`` has it."""
        return self.address + (self.port if self.port != NO_PORT else b"")

    @property
    def hop(self) -> bytes | None:
        """The hop that is in use."""
        return self.hops[self.hop_in_use] if self.hop_in_use != layout.NO_HOP else None

    def left(self) -> TargetLine:
        """Return it as that of a backend which is none of its service any more: records lead nowhere."""
        return self.without_hop()._replace(flags=self.flags & ~_MEMBER_FLAG)

    def without_hop(self) -> TargetLine:
        """Return it with no hop in use."""
        return self._replace(hop_in_use=layout.NO_HOP)

    def with_hop(self, hop: bytes) -> TargetLine:
        """Return it with a hop in use: that of now if it is the same, else in the copy that is not in use."""
        if self.hop == hop:
            return self
        place = 1 if self.hop_in_use == 0 else 0
        hops = (hop, self.hops[1]) if place == 0 else (self.hops[0], hop)
        return self._replace(hops=hops, hop_in_use=place)


def hop_line(hop: Hop) -> bytes:
    """Return a next hop as the program reads it."""
    return _HOP.pack(hop.ifindex, hop.dst_mac, hop.src_mac)


def hop_of(line: bytes) -> tuple[int, bytes, bytes]:
    """Return interface, destination and source MAC of a next hop."""
    ifindex, dst_mac, src_mac = _HOP.unpack(line)
    return ifindex, dst_mac, src_mac


def member_of(line: TargetLine) -> bytes:
    """Return the key of a target in ``members``."""
    return _MEMBER.pack(line.service, line.port, line.address)


def described(
    before: TargetLine, service: CompiledService, number: int, target: Target, path_bytes: int | None
) -> TargetLine:
    """Return a target's line of before with what a backend is now, but for its hop.

    ``number``: the service's id; ``path_bytes``: what routers said that the way to the backend takes.
    """
    is_v4, source = target.address.startswith(V4_MAPPED), source_of(service, target)
    flags = _MEMBER_FLAG | (_WEIGHTED if target.weight else 0) | (_UP if target.up else 0)
    flags |= (_IS_V4 if is_v4 else 0) | (_HAS_SOURCE if source else 0)
    source4 = source[12:] if source and is_v4 else bytes(4)
    return before._replace(
        address=target.address,
        source4=source4,
        mtu_bytes=0 if target.hop is None else mtu_of(service, target.hop, path_bytes),
        outer_sum=outer_sum(source4, target.address[12:]) if source and is_v4 else 0,
        service=number,
        port=target.port or NO_PORT,
        flags=flags,
    )


def source_of(service: CompiledService, target: Target) -> bytes | None:
    """Return the 16-byte source of the outer header of packets to a backend, where there is one."""
    if target.hop is None or service.mode.name != "l3dsr":
        return None
    return outer_source(service.options, target.hop, target.address)


def mtu_of(service: CompiledService, hop: Hop, path_bytes: int | None) -> int:
    """Return what the way to a backend takes, 0 for all; where replies pass nothing is learned of the way."""
    most = hop.mtu_bytes or _MOST_MTU_BYTES
    if path_bytes is not None and not service.mode.sees_replies:
        most = min(most, path_bytes)
    return most if most < _MOST_MTU_BYTES else 0


def outer_sum(source: bytes, server: bytes) -> int:
    """Return the sum of an outer IPv4 header without TOS, length and checksum (RFC 1071), protocol 4."""
    header = bytes((0x45, 0)) + bytes(4) + b"\x40\0" + bytes((HOP_LIMIT, INSIDE[4])) + source + server
    return int.from_bytes(header, "big") % WORD_MAX
