"""Whose packet a frame carries: the service and the flow that the data path looks for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dsrlb.state import State
from dsrlb.table import CompiledService, ForwardingTable, find_service
from dsrlb.wire import icmp, ipv4, ipv6, l4
from dsrlb.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, skip_tags
from dsrlb.wire.packet import Packet

_TRANSPORTS = (l4.TCP, l4.UDP)


class Kind(Enum):
    """What a frame is to dsrlb."""

    REQUEST = "request"  # of a client
    REPLY = "reply"  # of an inline server
    ERROR = "icmp error"  # about a packet of a service
    PIECE = "later piece"  # of a datagram
    OTHER = "other"  # ARP, echo, and what no service is for


@dataclass(frozen=True)
class Subject:
    """What a frame is about."""

    kind: Kind = Kind.OTHER
    service: CompiledService | None = None
    key: bytes | None = None  # of the flow, as clients' packets name it
    flags: int | None = None  # of TCP


def packet_of(frame: bytes) -> Packet | None:
    """Return the IP packet in a frame, if there is one that can be read."""
    kind, at = skip_tags(frame)
    if kind not in (ETHERTYPE_IPV4, ETHERTYPE_IPV6):
        return None
    parsed = (ipv4 if kind == ETHERTYPE_IPV4 else ipv6).parse(frame, at)
    return parsed if isinstance(parsed, Packet) else None


def subject_of(frame: bytes, table: ForwardingTable, state: State, now_s: int) -> Subject:
    """Return what a frame is about; whether anything comes of it is for the data path to say."""
    packet = packet_of(frame)
    if packet is None:
        return Subject()
    if packet.fragment is not None and not packet.fragment.is_first:
        owner = state.fragments.owner(packet.fragment.key, now_s)
        return Subject(Kind.PIECE, table.services.get(owner[0]) if owner else None)
    if packet.protocol in _TRANSPORTS and packet.l4_at + 4 <= packet.end:
        return _of_transport(frame, packet, table, state)
    if packet.protocol in icmp.ERRORS and packet.end - packet.l4_at >= icmp.HEADER_BYTES:
        return _of_error(frame, packet, table)
    return Subject()


def _of_transport(frame: bytes, packet: Packet, table: ForwardingTable, state: State) -> Subject:
    src, dst, protocol, at, _, _ = packet
    flow = state.flows.replies.get(l4.flow_key(src, dst, frame[at : at + 4], protocol))
    is_tcp = protocol == l4.TCP and l4.tcp_is_sound(frame, packet)
    flags = frame[at + l4.TCP_FLAGS_AT] if is_tcp else None
    if flow is not None and flow.translation is not None and src in table.servers:
        key = flow.translation.key
        return Subject(Kind.REPLY, find_service(table, key[16:32], key[34:36], protocol), key, flags)
    service = find_service(table, dst, frame[at + 2 : at + 4], protocol)
    if service is None:
        return Subject()
    return Subject(Kind.REQUEST, service, l4.flow_key(src, dst, frame[at : at + 4], protocol), flags)


def _of_error(frame: bytes, packet: Packet, table: ForwardingTable) -> Subject:
    is_error = frame[packet.l4_at] in icmp.ERRORS[packet.protocol]
    quoted = icmp.quoted_flow(frame, packet) if is_error else None
    service = find_service(table, packet.dst, quoted[1][2:], quoted[2]) if quoted is not None else None
    if quoted is None or service is None:
        return Subject()
    client, ports, protocol = quoted
    return Subject(Kind.ERROR, service, l4.flow_key(client, packet.dst, ports, protocol))
