"""The ARP and neighbour-discovery frames this host sends, built once by scapy and sent as bytes.

*Source*: RFC 826 (ARP), RFC 5227 (ARP probes and announcements), RFC 4861 section 4.3 and 4.4
(neighbour solicitation and advertisement), RFC 2464 section 7 (multicast MAC of an IPv6 group).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether

from dsrlb.model import person_mac

BROADCAST = b"\xff" * 6
ARP_REQUEST, ARP_REPLY = 1, 2
HOP_LIMIT = 255  # neighbour discovery is dropped when it passed a router, RFC 4861 section 7.1
NO_MAC = "00:00:00:00:00:00"
ALL_NODES = IPv6Address("ff02::1")
UNSPECIFIED = IPv6Address("::")
_SOLICITED_PREFIX = IPv6Address("ff02::1:ff00:0").packed[:13]


def solicited_group(address: IPv6Address) -> IPv6Address:
    """Return the solicited-node group of an address: ``ff02::1:ff`` and its last three bytes.

    *Source*: RFC 4291 section 2.7.1.
    """
    return IPv6Address(_SOLICITED_PREFIX + address.packed[13:])


def group_mac(group: IPv6Address) -> bytes:
    """Return the Ethernet address of an IPv6 group: ``33:33`` and its last four bytes (RFC 2464)."""
    return b"\x33\x33" + group.packed[12:]


def arp_request(mac: bytes, sender: IPv4Address, target: IPv4Address) -> bytes:
    """Return a broadcast ARP request; with sender 0.0.0.0 it is a probe (RFC 5227 section 2.1.1)."""
    return _arp(mac, ARP_REQUEST, sender, target, NO_MAC)


def gratuitous_arp(mac: bytes, vip: IPv4Address) -> tuple[bytes, bytes]:
    """Return the announcement of a VIP in both forms, request and reply.

    Some stacks learn from the one, some from the other (RFC 5227 section 3 prefers the request).
    """
    return (
        _arp(mac, ARP_REQUEST, vip, vip, NO_MAC),
        _arp(mac, ARP_REPLY, vip, vip, person_mac(mac)),
    )


def _arp(mac: bytes, op: int, sender: IPv4Address, target: IPv4Address, target_mac: str) -> bytes:
    own = person_mac(mac)
    frame = Ether(src=own, dst=person_mac(BROADCAST)) / ARP(
        op=op, hwsrc=own, psrc=str(sender), hwdst=target_mac, pdst=str(target)
    )
    return bytes(frame)


def neighbour_solicitation(
    mac: bytes, source: IPv6Address, target: IPv6Address, *, unicast: bool = False
) -> bytes:
    """Return a neighbour solicitation, to the solicited-node group or (unicast) to the target itself.

    From ``::`` it is the question of duplicate address detection and carries no link-layer address
    (RFC 4861 section 4.3).  The unicast form has no destination MAC yet: put it into bytes 0 to 5.
    """
    destination = target if unicast else solicited_group(target)
    dst_mac = bytes(6) if unicast else group_mac(destination)
    frame = (
        Ether(src=person_mac(mac), dst=person_mac(dst_mac))
        / IPv6(src=str(source), dst=str(destination), hlim=HOP_LIMIT)
        / ICMPv6ND_NS(tgt=str(target))
    )
    if source != UNSPECIFIED:
        frame = frame / ICMPv6NDOptSrcLLAddr(lladdr=person_mac(mac))
    return bytes(frame)


def unsolicited_advertisement(mac: bytes, vip: IPv6Address) -> bytes:
    """Return an unsolicited neighbour advertisement with the override flag, to all nodes.

    *Source*: RFC 4861 section 7.2.6: it makes neighbours replace the MAC they know.
    """
    frame = (
        Ether(src=person_mac(mac), dst=person_mac(group_mac(ALL_NODES)))
        / IPv6(src=str(vip), dst=str(ALL_NODES), hlim=HOP_LIMIT)
        / ICMPv6ND_NA(tgt=str(vip), R=0, S=0, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=person_mac(mac))
    )
    return bytes(frame)
