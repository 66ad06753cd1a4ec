"""What the balancer answers itself, since the host does not own the VIP: ARP, neighbours, refusals."""

from __future__ import annotations

from collections.abc import Mapping

from dsrlb.model import V4_MAPPED, Action, Reason
from dsrlb.state import State, Verdict, stop
from dsrlb.table import ForwardingTable
from dsrlb.wire import arp, icmp, ipv6, l4
from dsrlb.wire.packet import Arrival, Packet
from dsrlb.wire.reset import reset


def answer_arp(frame: bytes, l3_at: int, ifindex: int, table: ForwardingTable, state: State) -> Verdict:
    """Answer who-has for a VIP; notice anyone else who claims one."""
    mac = table.interfaces.get(ifindex)
    asked = arp.parse(frame, l3_at)
    if asked is None or mac is None:
        return stop(state, Reason.ARP_OTHER)
    if V4_MAPPED + asked.sender_ip in table.vips and asked.sender_mac != mac:
        return stop(state, Reason.VIP_CONFLICT)
    is_ours = asked.operation == arp.REQUEST and V4_MAPPED + asked.target_ip in table.vips
    if not is_ours or asked.sender_mac == mac or not (frame[0] & 1 or frame[:6] == mac):
        return stop(state, Reason.ARP_OTHER)
    state.reasons[Reason.ARP_REPLY] += 1
    return Action.TX, Reason.ARP_REPLY, ifindex, arp.reply(frame, l3_at, asked, mac)


def answer_nd(
    frame: bytes, l3_at: int, packet: Packet, ifindex: int, table: ForwardingTable, state: State
) -> Verdict:
    """Answer a neighbour solicitation for a VIP; notice anyone else who advertises one."""
    mac = table.interfaces.get(ifindex)
    if mac is None or icmp.nd_target(frame, packet) not in table.vips or frame[6:12] == mac:
        return stop(state, Reason.ND_OTHER)
    if not (frame[0] & 1 or frame[:6] == mac):
        return stop(state, Reason.NOT_FOR_US)
    if not icmp.nd_is_sound(frame, l3_at, packet):
        return stop(state, Reason.MALFORMED)
    if packet.src != icmp.UNSPECIFIED and ipv6.is_martian(packet.src):
        return stop(state, Reason.MARTIAN_SOURCE)
    if frame[packet.l4_at] == icmp.NEIGHBOUR_ADVERTISEMENT or packet.src in table.vips:
        return stop(state, Reason.VIP_CONFLICT)
    state.reasons[Reason.ND_REPLY] += 1
    return Action.TX, Reason.ND_REPLY, ifindex, icmp.advertisement(frame, l3_at, packet, mac)


def too_big(arrival: Arrival, mtu_bytes: int, state: State, now_s: int) -> Verdict:
    """Tell the sender of a packet the size that fits, in the name of the VIP, back the way it came."""
    answer = _error_back(arrival, icmp.SAYS_TOO_BIG, state, now_s, mtu_bytes)
    return _told(arrival, answer, Reason.TOO_BIG_ANSWERED, Reason.TOO_BIG_DROPPED, state)


def ttl_exceeded(arrival: Arrival, state: State, now_s: int) -> Verdict:
    """Tell a client that its packet has crossed as many routers as it may: traceroute shows the VIP."""
    answer = _error_back(arrival, icmp.SAYS_TIME_EXCEEDED, state, now_s)
    return _told(arrival, answer, Reason.TTL_EXCEEDED, Reason.TTL_DROPPED, state)


def refuse(arrival: Arrival, reason: Reason, state: State, now_s: int) -> Verdict:
    """Refuse a new flow: a SYN is answered with a reset, a datagram with port unreachable."""
    frame, _, l3_at, packet, _ = arrival
    answer = None
    if packet.protocol != l4.TCP:
        answer = _error_back(arrival, icmp.SAYS_PORT_UNREACHABLE, state, now_s)
    elif l4.opens(frame, packet.l4_at) and state.told.spend(packet.src, now_s):
        answer = reset(link_back(frame, l3_at), frame, packet)
    return _told(arrival, answer, reason, reason, state)


def link_back(frame: bytes, l3_at: int) -> bytes:
    """Return the link header of a frame that goes back where this one came from, VLAN tags kept."""
    return frame[6:12] + frame[:6] + frame[12:l3_at]


def _error_back(
    arrival: Arrival, kinds: Mapping[int, bytes], state: State, now_s: int, word: int = 0
) -> bytes | None:
    """Return the frame of an error for the sender of a packet; None if it must not be told, or not now.

    Nobody is told about an error, about a later piece (IPv4), or more often than the budget allows.
    *Source*: RFC 1122, section 3.2.2; RFC 4443, section 2.4 (e) and (f).
    """
    frame, _, l3_at, packet, _ = arrival
    is_piece = packet.fragment is not None and not packet.fragment.is_first
    is_error = packet.protocol in (icmp.ICMP, icmp.ICMPV6)  # an echo request never gets here
    may_tell = not is_error and not (is_piece and packet.src.startswith(V4_MAPPED))
    if not may_tell or not state.told.spend(packet.src, now_s):
        return None
    return icmp.error_back(link_back(frame, l3_at), frame[l3_at : packet.end], kinds, word)


def _told(arrival: Arrival, answer: bytes | None, told: Reason, silent: Reason, state: State) -> Verdict:
    """Count a packet that was answered, or was not; return the verdict."""
    if answer is None:
        return stop(state, silent)
    state.reasons[told] += 1
    return Action.TX, told, arrival.ifindex, answer
