"""What the balancer translates back: the answers of inline servers, and errors about either direction.

A translated flow has two names (``flows.Translation``).  A packet from a server is looked up by the
second one; found, it leaves as the VIP's answer to the client, by the way that the client's last packet
came.  What a server sends on its own account has no such name, and is not dsrlb's; nor
is what it sends to the host itself, such as the answer to a health check.
"""

from __future__ import annotations

from dsrlb.answers import link_back, too_big
from dsrlb.course import Course, lay
from dsrlb.flows import Flow, FlowTable, Translation, next_state
from dsrlb.model import V4_MAPPED, Action, Hop, Reason
from dsrlb.modes.base import NO_LIMIT, TooBig
from dsrlb.modes.inline import hand_on
from dsrlb.ports import COUNT, FIRST
from dsrlb.state import State, Verdict, stop
from dsrlb.table import CompiledService, ForwardingTable, Target, find_service
from dsrlb.wire import icmp, ipv4, ipv6, l4
from dsrlb.wire.ethernet import HEADER_BYTES, TYPE_AT, TYPE_BYTES
from dsrlb.wire.flowhash import flow_hash
from dsrlb.wire.packet import Arrival
from dsrlb.wire.readdress import Ends, ends_of_reply, ends_of_request, lives_on
from dsrlb.wire.requote import Quote, quote_of, reply_key_of, requoted

TRIES = 16  # ports of a client looked at when its own is taken
STRIDE = 40_961  # from one to the next; has no factor of COUNT, so that no port is looked at twice
_NOT_OURS = (b"", b"")  # owner of a datagram that a server sends on its own account
_TRANSPORTS = frozenset((l4.TCP, l4.UDP))


def reply_key(
    arrival: Arrival, service: CompiledService, target: Target, key: bytes, state: State, now_s: int
) -> bytes | Reason:
    """Return the second name of the flow of a client's packet; a new flow gets one.

    A Reason: replies could not be sent back, since the flow has no record, no name is left for it, or it
    comes from no machine's MAC address.
    """
    flow = state.flows.get(key)
    if flow is None:
        return Reason.REFUSED  # the table is full
    ifindex, link = arrival.ifindex, link_back(arrival.frame, arrival.l3_at)
    translation = flow.translation
    is_group = arrival.frame[6] & 1  # no machine sends from such an address: answers to it would go to many
    if translation is None and is_group:
        state.flows.forget(key)
        return Reason.MALFORMED
    if translation is None:
        name = _new_name(service, target, key, state.flows, now_s)
        if name is None:
            state.flows.forget(key)
            return Reason.REFUSED if service.source is None else Reason.SNAT_EXHAUSTED
        translation = Translation(key, name, ifindex, link, has_port=service.source is not None)
        state.flows.translate(flow, translation)
    elif (translation.back_link != link or translation.back_ifindex != ifindex) and not is_group:
        translation.back_link, translation.back_ifindex = link, ifindex
        translation.request = translation.reply = None
    return translation.reply_key


def remember_request(
    arrival: Arrival, key: bytes, target: Target, table: ForwardingTable, state: State
) -> None:
    """Note how further packets of a client's flow get to its server."""
    flow, hop = state.flows.get(key), target.hop
    translation = flow.translation if flow is not None else None
    if flow is None or translation is None or hop is None:
        return
    flow.route = None  # of another mode, before a reload
    leaves = hop.dst_mac + hop.src_mac + arrival.frame[TYPE_AT:HEADER_BYTES], hop.ifindex
    after, most_bytes = ends_of_request(translation.reply_key), hop.mtu_bytes or NO_LIMIT
    translation.request = _laid(translation.request, arrival, leaves, after, most_bytes, table)


def _laid(
    known: Course | None,
    arrival: Arrival,
    leaves: tuple[bytes, int],
    after: Ends,
    most_bytes: int,
    table: ForwardingTable,
) -> Course | None:
    """Return the course of packets like this one: the known one, or another; it is for plain ones only."""
    frame, ifindex, l3_at, packet, _ = arrival
    came = frame[:l3_at], ifindex
    if known is not None and known.edition is table.edition and (known.in_link, known.in_ifindex) == came:
        return known
    has_tags = l3_at != HEADER_BYTES or len(leaves[0]) != HEADER_BYTES
    if has_tags or frame[l3_at] != ipv4.NO_OPTIONS or packet.fragment is not None:
        return known
    before = Ends(packet.src, packet.dst, frame[packet.l4_at : packet.l4_at + 4])
    return lay(table.edition, came, leaves, before, after, most_bytes)


def _new_name(
    service: CompiledService, target: Target, key: bytes, flows: FlowTable, now_s: int
) -> bytes | None:
    """Return a second name that no flow has.

    Without a source of ours it is the client's own; if that is taken, by a connection of the same address and
    port to another VIP, the client's port is replaced, as Linux's own NAT does.
    """
    if target.address.startswith(V4_MAPPED) != key.startswith(V4_MAPPED):
        return None  # one family cannot be translated into the other
    server = target.address, target.port or key[34:36]
    name = server[0] + (service.source or key[:16]) + server[1] + key[32:34] + key[36:]
    if service.source is not None:
        return flows.ports.take(name, now_s)
    if name not in flows.replies:
        return name
    first = flow_hash(name)
    for turn in range(TRIES):
        port = FIRST + (first + turn * STRIDE) % COUNT
        other = name[:34] + port.to_bytes(2, "big") + name[36:]
        if other not in flows.replies:
            return other
    return None


def answer(arrival: Arrival, table: ForwardingTable, state: State, now_s: int) -> Verdict | None:
    """Return the verdict on a packet that may be an inline server's answer, or an error about what it was
    sent; None if it is neither."""
    frame, _, l3_at, packet, _ = arrival
    is_v4 = frame[l3_at] >> 4 == 4
    if packet.src.startswith(V4_MAPPED) != is_v4:
        return None
    if packet.protocol == (icmp.ICMP if is_v4 else icmp.ICMPV6):
        return _error_about_request(arrival, table, state, now_s)
    if packet.src not in table.servers:
        return None
    if packet.fragment is not None and not packet.fragment.is_first:
        return _later_piece(arrival, packet.fragment.key, table, state, now_s)
    if packet.protocol not in _TRANSPORTS:
        return None
    verdict = _reply(arrival, table, state, now_s)
    if verdict is None and packet.fragment is not None:
        _let_go(packet.fragment.key, table, state, now_s)
    return verdict


def _let_go(key: bytes, table: ForwardingTable, state: State, now_s: int) -> None:
    """Hold the pieces of a datagram no longer that a server sends on its own account.

    Where the server is a client now they go on waiting, as any client's.
    """
    for piece in state.reply_fragments.remember(key, _NOT_OURS, now_s):
        if piece.packet.dst not in table.vips or not state.fragments.hold(key, piece, now_s):
            state.reasons[Reason.FRAGMENT_HELD] -= 1
            state.reasons[Reason.NOT_VIP] += 1


def _reply(arrival: Arrival, table: ForwardingTable, state: State, now_s: int) -> Verdict | None:
    """Send a server's TCP or UDP packet to its flow's client, while it is a backend of the service."""
    frame, _, _, packet, _ = arrival
    src, dst, protocol, at, end, fragment = packet
    if at + 4 > end:
        return None
    flow = state.flows.replies.get(l4.flow_key(src, dst, frame[at : at + 4], protocol))
    translation = flow.translation if flow is not None else None
    if flow is None or translation is None or flow.is_over(now_s):
        return _unmatched(arrival, table, state)
    service = find_service(table, translation.key[16:32], translation.key[34:36], protocol)
    if service is None or not service.mode.sees_replies or flow.backend not in service.by_key:
        return _unmatched(arrival, table, state)
    is_sound = l4.tcp_is_sound if protocol == l4.TCP else l4.udp_is_sound
    if not is_sound(frame, packet):
        return stop(state, Reason.MALFORMED)
    flow.seen_s, flow.timeouts_s = now_s, service.timeouts_s
    if protocol == l4.TCP:
        flow.enter(next_state(flow.state, frame[at + l4.TCP_FLAGS_AT], from_server=True))
    ends = ends_of_reply(translation.key)
    if fragment is not None:
        owner = translation.key, translation.reply_key
        for piece in state.reply_fragments.remember(fragment.key, owner, now_s):
            state.reasons[Reason.FRAGMENT_HELD] -= 1
            addresses = ends._replace(ports=b"")
            state.released.append(_send_back(piece, translation, addresses, table, state, now_s))
    verdict = _send_back(arrival, translation, ends, table, state, now_s)
    is_reset = protocol == l4.TCP and frame[at + l4.TCP_FLAGS_AT] & l4.RST
    if service.samples and is_reset and verdict[1] is Reason.REPLY_FORWARDED:
        state.handshakes.reply_reset(translation.key)
    return verdict


def _unmatched(arrival: Arrival, table: ForwardingTable, state: State) -> Verdict | None:
    """Drop what comes from a service's port of a server but belongs to no flow; None: not our business."""
    frame, _, _, packet, _ = arrival
    if packet.dst in table.own:
        return None  # the host asked
    at, tail = packet.l4_at, bytes((packet.protocol, 0))
    sport, dport = frame[at : at + 2], frame[at + 2 : at + 4]
    answering = table.answering
    to_anybody = answering.get(packet.src + sport + tail, answering.get(packet.src + b"\0\0" + tail))
    to_us = packet.dst in table.vips
    if to_anybody is None or not (to_anybody or to_us):
        return None
    if to_us and packet.dst + dport + tail in table.services:
        return None  # the server is a client now
    return stop(state, Reason.REPLY_UNMATCHED)


def _later_piece(
    arrival: Arrival, key: bytes, table: ForwardingTable, state: State, now_s: int
) -> Verdict | None:
    """Send a later piece of a server's after its first one, or hold it until that comes."""
    owner = state.reply_fragments.owner(key, now_s)
    if owner is None:
        if arrival.packet.dst in table.own:
            return None
        if arrival.packet.dst in table.vips and state.fragments.owner(key, now_s) is not None:
            return None  # the server is a client now
        held = state.reply_fragments.hold(key, arrival, now_s)
        return stop(state, Reason.FRAGMENT_HELD if held else Reason.FRAGMENT_TABLE_FULL)
    if owner == _NOT_OURS:
        return None
    flow = state.flows.get(owner[0])
    if flow is None or flow.translation is None or flow.translation.reply_key != owner[1]:
        return stop(state, Reason.REPLY_UNMATCHED)
    ends = ends_of_reply(owner[0])._replace(ports=b"")
    return _send_back(arrival, flow.translation, ends, table, state, now_s)


def _error_about_request(
    arrival: Arrival, table: ForwardingTable, state: State, now_s: int
) -> Verdict | None:
    """Send an error about what a server was sent to the client whose packet it was; None: not our business.

    What the server itself says comes from the VIP, for all that the client knows; a router says it as itself.
    """
    frame, _, _, packet, _ = arrival
    quote = quote_of(frame, packet) if _is_error(arrival) else None
    if quote is None or quote.ends.dst not in table.servers or quote.ends.src != packet.dst:
        return None
    flow = state.flows.replies.get(reply_key_of(quote))
    translation = flow.translation if flow is not None else None
    if flow is None or translation is None or flow.is_over(now_s):
        return None
    vip, client = translation.key[16:32], translation.key[:16]
    inner = Ends(client, vip, translation.key[32:36])
    outer = Ends(vip if packet.src == quote.ends.dst else packet.src, client, b"")
    out_ifindex = translation.back_ifindex
    if out_ifindex not in table.interfaces:
        return stop(state, Reason.ICMP_UNMATCHED)
    return _send_error(arrival, quote, out_ifindex, translation.back_link, outer, inner, state)


def error_about_reply(arrival: Arrival, flow: Flow, hop: Hop, state: State) -> Verdict:
    """Send an error about a translated reply to the server whose packet it was; it has been checked."""
    frame, _, l3_at, packet, _ = arrival
    quote, translation = quote_of(frame, packet), flow.translation
    if quote is None or translation is None:
        return stop(state, Reason.ICMP_UNMATCHED)
    name = translation.reply_key
    link = hop.dst_mac + hop.src_mac + frame[l3_at - TYPE_BYTES : l3_at]
    outer, inner = Ends(packet.src, name[:16], b""), Ends(name[:16], name[16:32], name[32:36])
    return _send_error(arrival, quote, hop.ifindex, link, outer, inner, state)


def _is_error(arrival: Arrival) -> bool:
    frame, _, _, packet, _ = arrival
    is_whole = packet.fragment is None and packet.end - packet.l4_at >= icmp.HEADER_BYTES
    return is_whole and frame[packet.l4_at] in icmp.ERRORS[packet.protocol]


def _send_error(
    arrival: Arrival, quote: Quote, out_ifindex: int, link: bytes, outer: Ends, inner: Ends, state: State
) -> Verdict:
    """Check an error, rewrite and count it."""
    frame, ifindex, l3_at, packet, _ = arrival
    is_martian = ipv4.is_martian if packet.protocol == icmp.ICMP else ipv6.is_martian
    if is_martian(packet.src):
        return stop(state, Reason.MARTIAN_SOURCE)
    if not icmp.is_sound(frame, packet):
        return stop(state, Reason.BAD_CHECKSUM)
    if not lives_on(frame, l3_at):
        return stop(state, Reason.TTL_DROPPED)
    state.reasons[Reason.ICMP_STEERED] += 1
    out = requoted(frame, l3_at, packet, quote, link, outer, inner)
    return Action.TX if out_ifindex == ifindex else Action.REDIRECT, Reason.ICMP_STEERED, out_ifindex, out


def _send_back(
    arrival: Arrival, translation: Translation, ends: Ends, table: ForwardingTable, state: State, now_s: int
) -> Verdict:
    """Rewrite a server's packet for the client and count it; pieces go to ``state.released``."""
    frame, ifindex, l3_at, packet, offload = arrival
    out_ifindex = translation.back_ifindex
    if out_ifindex not in table.interfaces:
        return stop(state, Reason.REPLY_UNMATCHED)
    link, mtu_bytes = translation.back_link, table.mtus.get(out_ifindex, NO_LIMIT)
    if ends.ports:
        leaves = link, out_ifindex
        translation.reply = _laid(translation.reply, arrival, leaves, ends, mtu_bytes, table)
    outcome = hand_on(frame, l3_at, packet, offload, link, ends, mtu_bytes)
    if isinstance(outcome, TooBig):
        return too_big(arrival, outcome.mtu_bytes, state, now_s)
    if isinstance(outcome, Reason):
        return stop(state, outcome)
    state.reasons[Reason.REPLY_FORWARDED] += 1
    action = Action.TX if out_ifindex == ifindex else Action.REDIRECT
    for piece in outcome[1:]:
        state.released.append((action, Reason.REPLY_FORWARDED, out_ifindex, piece))
    return action, Reason.REPLY_FORWARDED, out_ifindex, outcome[0]
