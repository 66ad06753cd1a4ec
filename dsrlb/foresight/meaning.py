"""What each Reason means, in the words of docs/REASONS.md (a test compares them)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dsrlb.model import Reason

MEANING: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.FORWARDED: "A TCP or UDP packet (or the first piece of one) went to a backend.",
        Reason.FRAGMENT_FORWARDED: (
            "A later piece of a datagram followed its first piece to the same backend."
        ),
        Reason.ICMP_STEERED: "An ICMP error went to the backend that owns the connection it is about.",
        Reason.ECHO_REPLY: "A ping of a VIP was answered.",
        Reason.ARP_REPLY: "Somebody asked for a VIP by ARP and was told the balancer's MAC.",
        Reason.ND_REPLY: "A neighbour solicitation for a VIP was answered, which is ARP in IPv6.",
        Reason.NOT_FOR_US: "The frame's destination MAC is not that of the interface.",
        Reason.NOT_IP: (
            "Neither IPv4, IPv6 nor ARP; or cut, or of another version, so that nobody knows whom it is for."
        ),
        Reason.NOT_VIP: "The destination address is not a VIP, whatever else may be wrong.",
        Reason.ARP_OTHER: "ARP that is no question for a VIP to us.",
        Reason.ND_OTHER: "Neighbour discovery that is not about a VIP, whatever else may be wrong.",
        Reason.VIP_CONFLICT: "Another machine claims a VIP.",
        Reason.TRUNCATED: (
            "A packet for a VIP ends before its headers or its announced length do; or a frame has no "
            "whole Ethernet header."
        ),
        Reason.MALFORMED: (
            "For a VIP, but a header contradicts itself: an impossible length or chain of extension "
            "headers; neighbour discovery about a VIP that breaks its rules."
        ),
        Reason.BAD_CHECKSUM: "For a VIP, but the IPv4 header's or the ICMP message's checksum is wrong.",
        Reason.MARTIAN_SOURCE: (
            "The source address is impossible (loopback, multicast, unspecified, reserved) or a VIP itself."
        ),
        Reason.NO_SERVICE: "The VIP has no service for this port and protocol. The client sees a time-out.",
        Reason.PROTOCOL_UNKNOWN: "For a VIP, but not TCP, UDP or ICMP.",
        Reason.ICMP_IGNORED: (
            "An ICMP message for a VIP that is neither an echo request nor an error, or comes in pieces."
        ),
        Reason.ICMP_UNMATCHED: "An ICMP error that quotes no packet of a service, or too little of one.",
        Reason.NO_BACKEND: (
            "The service has no backend that can take traffic, or the one a fragment belongs to is gone."
        ),
        Reason.BACKEND_UNRESOLVED: (
            "The connection's own backend has no MAC now. Its packets are dropped rather than given to a "
            "server that would reset them."
        ),
        Reason.FRAGMENT_HELD: (
            "Later pieces that wait now for their first piece. This number goes down again; as a metric "
            "it is dsrlb_fragments_held."
        ),
        Reason.FRAGMENT_EXPIRED: "Pieces whose first piece did not come in time.",
        Reason.FRAGMENT_TABLE_FULL: "A later piece found no room to wait for its first.",
        Reason.RECEIVE_RING_FULL: "The kernel had a frame and dsrlb was too slow to take it.",
        Reason.SEND_TOO_BIG: "A frame was larger than the MTU of the interface to the backend.",
        Reason.SEND_FAILED: "The kernel did not take a frame: interface down or its queue full.",
        Reason.TOO_BIG_ANSWERED: (
            "A packet that must not be cut was too long for the way to its backend; the client was told "
            "the size that fits (ICMP fragmentation needed, packet too big)."
        ),
        Reason.TOO_BIG_DROPPED: (
            "A packet was too long for the way to its backend, and the client was not told: such answers "
            "are limited in rate."
        ),
        Reason.TUNNEL_ERROR: (
            "A router or server said by ICMP that a wrapped packet did not get through. What it says of "
            "the MTU is heeded."
        ),
        Reason.TUNNEL_ERROR_TOLD: (
            "A router or server said by ICMP that a wrapped packet did not get through, and the client "
            "whose packet it was has been told: which size fits, or that the host is unreachable."
        ),
        Reason.NO_DECAPSULATION: "A server said by ICMP that it does not take wrapped packets.",
        Reason.REPLY_FORWARDED: (
            "Mode inline: an answer of a server's went to the client, with the VIP as its source."
        ),
        Reason.REPLY_UNMATCHED: (
            "Mode inline: a packet from a service's port of a server that belongs to no connection known "
            "here, and is not for the balancer's host itself."
        ),
        Reason.TTL_EXCEEDED: (
            "Mode inline: a client's packet had one hop left to live; the client was told, as by any router."
        ),
        Reason.TTL_DROPPED: (
            "Mode inline: a packet had one hop left to live, and nobody was told: such answers are "
            "limited in rate, and servers get none."
        ),
        Reason.SNAT_EXHAUSTED: (
            "Mode inline with snat: no source port is left towards this server, or too many servers' "
            "ports are in use. The client is told (a reset, or port unreachable), at most so often."
        ),
        Reason.REFUSED: (
            'No backend can take new flows, and the service has on_all_down = "reject". Mode inline: a '
            "new flow could not be recorded, since the flow table is full or the server's address is of "
            "another IP version than the VIP. The client is told: reset, port unreachable."
        ),
        Reason.HANDED_OVER: (
            "The program in the kernel (engine xdp) left the packet to the packet engine beside it, which "
            "counts it again under what became of it."
        ),
    }
)
