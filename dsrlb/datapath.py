"""One frame in, one verdict out: the executable specification of every engine.

    classify -> find service -> pick backend -> rewrite

Pure: no socket, clock or randomness; ``now_s`` is an argument and ``State`` is all that is
remembered.  Never raises, whatever the bytes; every way out has a Reason, and every frame is
counted under exactly one (a held fragment under FRAGMENT_HELD until its fate is known).
"""

from __future__ import annotations

from dataclasses import replace

from dsrlb import nat
from dsrlb.answers import answer_arp, answer_nd, refuse, too_big, ttl_exceeded
from dsrlb.flows import Route
from dsrlb.model import V4_MAPPED, Action, Reason
from dsrlb.modes.base import NO_LIMIT, Job, TooBig
from dsrlb.pick import count_of, is_told_by_slots, owner_of, pick_backend, pick_under_way
from dsrlb.shortcut import forward_known
from dsrlb.state import State, Verdict, forget_way, mtu_to, remember_pick, stop
from dsrlb.table import CompiledService, ForwardingTable, Target, find_service
from dsrlb.tunnel import hear
from dsrlb.wire import icmp, ipv4, ipv6, l4
from dsrlb.wire.destination import destination
from dsrlb.wire.ethernet import ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER_BYTES, skip_tags
from dsrlb.wire.offload import Offload
from dsrlb.wire.packet import Arrival, Packet, as_arrival

_TX, _REDIRECT = Action.TX, Action.REDIRECT
_FORWARDED, _NO_BACKEND, _UNRESOLVED = Reason.FORWARDED, Reason.NO_BACKEND, Reason.BACKEND_UNRESOLVED
_TCP, _UDP = l4.TCP, l4.UDP
_NOT_SERVED = b""  # no frame is sent to this MAC


def process(
    frame: bytes,
    ifindex: int,
    table: ForwardingTable,
    state: State,
    now_s: int,
    offload: Offload | None = None,
) -> Verdict:
    """Return the verdict on a frame that came in on an interface.

    More frames that it causes to be sent (pieces) are left in ``state.released``.
    """
    short = forward_known(frame, ifindex, table, state, now_s, offload)
    return short or decide(frame, ifindex, table, state, now_s, offload)


def decide(
    frame: bytes,
    ifindex: int,
    table: ForwardingTable,
    state: State,
    now_s: int,
    offload: Offload | None = None,
) -> Verdict:
    """Return the verdict on any frame: the long way, which ``forward_known`` shortens for known flows.

    Whose a frame is comes before what is wrong with it: the host's own frames are never dropped.
    """
    kind, l3_at = skip_tags(frame)
    if kind == ETHERTYPE_IPV4:
        packet = ipv4.parse(frame, l3_at)
    elif kind == ETHERTYPE_IPV6:
        packet = ipv6.parse(frame, l3_at)
    elif kind == ETHERTYPE_ARP:
        return answer_arp(frame, l3_at, ifindex, table, state)
    else:
        return stop(state, Reason.NOT_IP if len(frame) >= HEADER_BYTES else Reason.TRUNCATED)
    mac = table.interfaces.get(ifindex, _NOT_SERVED)
    is_to_us = frame[:6] == mac or (mac is None and not frame[0] & 1)
    if not isinstance(packet, Packet):
        return _unread(frame, packet, is_to_us, table, state)
    if packet.protocol == icmp.ICMPV6 and kind == ETHERTYPE_IPV6 and icmp.is_nd(frame, packet):
        return answer_nd(frame, l3_at, packet, ifindex, table, state)
    if not is_to_us:
        return stop(state, Reason.NOT_FOR_US)
    arrival = as_arrival((frame, ifindex, l3_at, packet, offload))
    if table.servers:
        verdict = nat.answer(arrival, table, state, now_s)
        if verdict is not None:
            return verdict
    is_icmp = packet.protocol == (icmp.ICMP if kind == ETHERTYPE_IPV4 else icmp.ICMPV6)
    if packet.dst not in table.vips:
        if is_icmp and packet.dst in table.sources:
            return hear(arrival, table, state, now_s)
        return stop(state, Reason.NOT_VIP)
    is_martian = ipv4.is_martian if kind == ETHERTYPE_IPV4 else ipv6.is_martian
    if is_martian(packet.src) or packet.src in table.vips:
        return stop(state, Reason.MARTIAN_SOURCE)
    if packet.fragment is not None and not packet.fragment.is_first:
        return _later_fragment(arrival, packet.fragment.key, table, state, now_s)
    if packet.protocol == _TCP or packet.protocol == _UDP:
        return _forward(arrival, table, state, now_s)
    if is_icmp:
        return _icmp(arrival, table, state, now_s)
    return stop(state, Reason.PROTOCOL_UNKNOWN)


def _unread(frame: bytes, why: Reason, is_to_us: bool, table: ForwardingTable, state: State) -> Verdict:
    """Return the verdict on a packet that cannot be read: if it is not for a VIP, it is the host's."""
    if why is Reason.NOT_IP:
        return stop(state, why)
    if not is_to_us:
        return stop(state, Reason.NOT_FOR_US)
    return stop(state, why if destination(frame) in table.vips else Reason.NOT_VIP)


def _forward(arrival: Arrival, table: ForwardingTable, state: State, now_s: int) -> Verdict:
    """Forward a TCP or UDP packet to the backend that owns its flow, or to one picked for it."""
    frame, packet = arrival.frame, arrival.packet
    src, dst, protocol, at, _, fragment = packet
    if protocol == _TCP:
        if not l4.tcp_is_sound(frame, packet):
            return stop(state, Reason.MALFORMED)
        flags: int | None = frame[at + l4.TCP_FLAGS_AT]
    elif l4.udp_is_sound(frame, packet):
        flags = None
    else:
        return stop(state, Reason.MALFORMED)
    service = find_service(table, dst, frame[at + 2 : at + 4], protocol)
    if service is None:
        return stop(state, Reason.NO_SERVICE)
    key = l4.flow_key(src, dst, frame[at : at + 4], protocol)
    target = pick_backend(service, key, flags, state, now_s)
    if target is None:
        if service.refuses and (flags is None or flags & (l4.SYN | l4.ACK) == l4.SYN):
            return refuse(arrival, Reason.REFUSED, state, now_s)
        return stop(state, _UNRESOLVED if service.slots else _NO_BACKEND)
    reply_key = b""
    if service.mode.sees_replies:
        named = nat.reply_key(arrival, service, target, key, state, now_s)
        if isinstance(named, Reason):
            return stop(state, named) if named is Reason.MALFORMED else refuse(arrival, named, state, now_s)
        reply_key = named
    if fragment is not None:
        for piece in state.fragments.remember(fragment.key, (service.key, target.key), now_s):
            state.reasons[Reason.FRAGMENT_HELD] -= 1
            state.released.append(_send_piece(piece, service, target, state, now_s))
    verdict = _send(arrival, service, target, state, _FORWARDED, now_s, reply_key)
    if service.samples and flags is not None and _is_looked_at(verdict, key, service, target, flags, state):
        return verdict
    if not flags or not flags & l4.SYN:  # a connection may never get further than its SYN
        if reply_key:
            nat.remember_request(arrival, key, target, table, state)
        else:
            _remember_route(key, service, target, table, state)
    return verdict


def _is_looked_at(
    verdict: Verdict, key: bytes, service: CompiledService, target: Target, flags: int, state: State
) -> bool:
    """Look at a packet's part in a handshake; return whether the flow's next one must come this way too."""
    if verdict[1] is not _FORWARDED:
        return True
    if not state.handshakes.request(key, (service.key, target.key), flags, state.clock_us):
        return False
    forget_way(state, key)
    return True


def _remember_route(
    key: bytes, service: CompiledService, target: Target, table: ForwardingTable, state: State
) -> None:
    """Note the way to a flow's backend under this table: with its record, or as the pick that it is."""
    flow, hop = state.flows.get(key), target.hop
    if hop is None or (flow is None and not is_told_by_slots(service, key)):
        return
    names = service.key, target.key
    route = state.routes.get(names)
    if route is None or route.edition is not table.edition:
        if target.address in state.paths:
            hop = replace(hop, mtu_bytes=mtu_to(state, target.address, hop))
        plain = service.mode.plain(service.options, hop, target.address, target.port)
        if plain is None:
            return
        count = count_of(state, service, target)
        macs = hop.dst_mac + hop.src_mac
        route = Route(table.edition, hop, macs, plain.rewrite, plain.most_bytes, count)
        state.routes[names] = route
    if flow is not None:
        flow.route = route
    else:
        remember_pick(state, key, route)


def _send_piece(
    arrival: Arrival, service: CompiledService, target: Target, state: State, now_s: int
) -> Verdict:
    """Send a later piece: of the flow's second name it only needs the addresses."""
    addresses = target.address + (service.source or arrival.packet.src) if service.mode.sees_replies else b""
    return _send(arrival, service, target, state, Reason.FRAGMENT_FORWARDED, now_s, addresses)


def _send(
    arrival: Arrival,
    service: CompiledService,
    target: Target,
    state: State,
    reason: Reason,
    now_s: int,
    reply_key: bytes = b"",
) -> Verdict:
    """Rewrite a frame for its backend and count it; pieces behind the first go to ``state.released``."""
    frame, ifindex, l3_at, packet, offload = arrival
    hop = target.hop
    if hop is None:
        return stop(state, _UNRESOLVED)
    address, port, options = target.address, target.port, service.options
    mtu_bytes = (hop.mtu_bytes or NO_LIMIT) if reply_key else mtu_to(state, address, hop)
    job = Job(frame, l3_at, packet, address, port, hop, options, mtu_bytes, offload, reply_key)
    outcome = service.mode.forward(job)
    if isinstance(outcome, TooBig):
        return too_big(arrival, outcome.mtu_bytes, state, now_s)
    if outcome is Reason.TTL_DROPPED:
        return ttl_exceeded(arrival, state, now_s)
    if isinstance(outcome, Reason):
        return stop(state, outcome)
    state.reasons[reason] += 1
    count = count_of(state, service, target)
    count.packets += 1
    count.octets += len(frame)
    action = _TX if hop.ifindex == ifindex else _REDIRECT
    for piece in outcome[1:]:
        state.released.append((action, reason, hop.ifindex, piece))
    return action, reason, hop.ifindex, outcome[0]


def _later_fragment(
    arrival: Arrival, key: bytes, table: ForwardingTable, state: State, now_s: int
) -> Verdict:
    """Send a later piece after its first one, or hold it until that comes."""
    packet = arrival.packet
    if packet.protocol == icmp.ICMP and packet.src.startswith(V4_MAPPED):
        return stop(state, Reason.ICMP_IGNORED)  # IPv6 names its protocol for sure in the first piece only
    owner = state.fragments.owner(key, now_s)
    if owner is None:
        if not state.fragments.hold(key, arrival, now_s):
            return stop(state, Reason.FRAGMENT_TABLE_FULL)
        return stop(state, Reason.FRAGMENT_HELD)
    service = table.services.get(owner[0])
    target = service.by_key.get(owner[1]) if service is not None else None
    if service is None or target is None:
        return stop(state, _NO_BACKEND)
    return _send_piece(arrival, service, target, state, now_s)


def _icmp(arrival: Arrival, table: ForwardingTable, state: State, now_s: int) -> Verdict:
    """Answer an echo request; steer an error to the backend whose packet it is about."""
    frame, ifindex, l3_at, packet, _ = arrival
    kind = frame[packet.l4_at] if packet.end - packet.l4_at >= icmp.HEADER_BYTES else None
    if kind is None or packet.fragment is not None:
        return stop(state, Reason.MALFORMED if kind is None else Reason.ICMP_IGNORED)
    is_error = kind in icmp.ERRORS[packet.protocol]
    if kind != icmp.ECHO_REQUEST[packet.protocol] and not is_error:
        return stop(state, Reason.ICMP_IGNORED)
    if not icmp.is_sound(frame, packet):
        return stop(state, Reason.BAD_CHECKSUM)
    if not is_error:
        state.reasons[Reason.ECHO_REPLY] += 1
        return _TX, Reason.ECHO_REPLY, ifindex, icmp.echo_reply(frame, l3_at, packet)
    return _steer(arrival, table, state, now_s)


def _steer(arrival: Arrival, table: ForwardingTable, state: State, now_s: int) -> Verdict:
    """Send an ICMP error to the backend of the flow that it quotes; it makes no record."""
    packet = arrival.packet
    quoted = icmp.quoted_flow(arrival.frame, packet)
    service = find_service(table, packet.dst, quoted[1][2:], quoted[2]) if quoted is not None else None
    if quoted is None or service is None:
        return stop(state, Reason.ICMP_UNMATCHED)
    client, ports, protocol = quoted
    key = l4.flow_key(client, packet.dst, ports, protocol)
    target = owner_of(service, key, state, now_s)
    if service.mode.sees_replies:
        flow = state.flows.get(key)
        if flow is None or target is None or target.hop is None:
            return stop(state, Reason.ICMP_UNMATCHED)
        return nat.error_about_reply(arrival, flow, target.hop, state)
    target = target or pick_under_way(service, key)
    if target is None:
        return stop(state, _NO_BACKEND)
    return _send(arrival, service, target, state, Reason.ICMP_STEERED, now_s)
