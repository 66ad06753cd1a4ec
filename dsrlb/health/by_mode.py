"""A packet of this host's own as the frames by which a mode sends it to one server.  Pure."""

from __future__ import annotations

from collections.abc import Callable

from dsrlb import modes
from dsrlb.host.links import Link
from dsrlb.model import V4_MAPPED, Address, Hop, ModeOptions, person_address, wire_address
from dsrlb.modes.base import NO_LIMIT, Job
from dsrlb.wire import ipv4, ipv6
from dsrlb.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER_BYTES
from dsrlb.wire.packet import Packet

_LINK = {4: bytes(12) + ETHERTYPE_IPV4, 6: bytes(12) + ETHERTYPE_IPV6}
_PARSE = {4: ipv4.parse, 6: ipv6.parse}


def frames_by(mode: str, options: ModeOptions, address: Address, hop: Hop) -> Callable[[bytes], list[bytes]]:
    """Return what makes frames of packets; of one that the mode does not send, none."""
    forward, wire = modes.BY_NAME[mode].forward, wire_address(address)
    mtu_bytes = hop.mtu_bytes or NO_LIMIT
    plain = modes.BY_NAME[mode].plain(options, hop, wire, b"")
    macs = hop.dst_mac + hop.src_mac + ETHERTYPE_IPV4

    def frames(packet: bytes) -> list[bytes]:
        version = packet[0] >> 4
        if plain is not None and len(packet) <= plain.most_bytes and is_plain(packet):
            return [plain.rewrite(macs + packet, hop) if plain.rewrite else macs + packet]
        frame = _LINK[version] + packet
        parsed = _PARSE[version](frame, HEADER_BYTES)
        if not isinstance(parsed, Packet):
            return []
        made = forward(Job(frame, HEADER_BYTES, parsed, wire, b"", hop, options, mtu_bytes, None))
        return made if isinstance(made, list) else []

    return frames


def unchanged(hop: Hop) -> Callable[[bytes], list[bytes]]:
    """Return what makes frames of packets as they are."""
    macs, types = hop.dst_mac + hop.src_mac, {4: ETHERTYPE_IPV4, 6: ETHERTYPE_IPV6}
    return lambda packet: [macs + types[packet[0] >> 4] + packet]


def is_plain(packet: bytes) -> bool:
    """Return whether it is IPv4 without options and whole, as nearly all are."""
    return packet[0] == 0x45 and not packet[6] & 0x3F and not packet[7]


def own_address(vip: Address, hop: Hop, link: Link) -> str | None:
    """Return this host's address that a server is to answer to; None if it has none of the VIP's family."""
    if hop.source is not None and hop.source.startswith(V4_MAPPED) == (vip.version == 4):
        return person_address(hop.source)
    of_family = link.ipv4 if vip.version == 4 else link.ipv6
    return next((str(one.ip) for one in of_family if not one.ip.is_link_local), None)
