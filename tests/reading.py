"""The addresses of ``packets`` as bytes of the wire, and what ``dsrlb.wire`` reads from a frame."""

from __future__ import annotations

from ipaddress import ip_address

import packets as p

from dsrlb.model import Reason, wire_address
from dsrlb.wire import ethernet, ipv4, ipv6
from dsrlb.wire.packet import Packet

MAC = p.mac_bytes(p.BALANCER_MAC)
CLIENT, VIP = wire_address(ip_address(p.CLIENT)), wire_address(ip_address(p.VIP))
CLIENT6, VIP6 = wire_address(ip_address(p.CLIENT6)), wire_address(ip_address(p.VIP6))


def parsed(frame: object) -> Packet:
    """Return the IP packet in a frame that has one."""
    raw = bytes(frame)  # type: ignore[call-overload]  # a scapy packet
    kind, at = ethernet.skip_tags(raw)
    packet = ipv4.parse(raw, at) if kind == ethernet.ETHERTYPE_IPV4 else ipv6.parse(raw, at)
    assert isinstance(packet, Packet), packet
    return packet


def refused(frame: object) -> Reason:
    """Return why a frame holds no IP packet."""
    raw = bytes(frame)  # type: ignore[call-overload]  # a scapy packet
    kind, at = ethernet.skip_tags(raw)
    reason = ipv4.parse(raw, at) if kind == ethernet.ETHERTYPE_IPV4 else ipv6.parse(raw, at)
    assert isinstance(reason, Reason)
    return reason
