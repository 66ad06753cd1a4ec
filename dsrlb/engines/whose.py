"""Which service and backend a decision of the data path was about, seen from outside of it.

The data path does not say: it would cost every frame.  So who traces looks, after it has decided, where it
looked: at the flow's record, at the owner of a datagram in pieces, else at whose the frame is that was sent.
"""

from __future__ import annotations

from collections.abc import Iterable

from dsrlb.foresight.subject import packet_of
from dsrlb.model import Reason
from dsrlb.pick import pick_by_hash, pick_under_way
from dsrlb.state import State, Verdict
from dsrlb.table import CompiledService, ForwardingTable, Target, find_service
from dsrlb.wire import icmp, l4
from dsrlb.wire.glance import Glance, glance

Whose = tuple[bytes | None, bytes | None]  # service key, backend key
NOBODY: Whose = (None, None)
_TO_BACKENDS = frozenset((Reason.FORWARDED, Reason.FRAGMENT_FORWARDED, Reason.ICMP_STEERED))


def whose(
    frame: bytes, seen: Glance, verdict: Verdict, table: ForwardingTable, state: State, now_s: int
) -> Whose:
    """Return whose a frame was on which the data path has just decided."""
    if verdict[1] is Reason.REPLY_FORWARDED:
        return _of_reply(glance(verdict[3]), table, state)
    if seen.dst not in table.vips:
        return NOBODY
    if seen.ports:
        key = l4.flow_key(seen.src, seen.dst, seen.ports, seen.protocol)
        return _of_flow(key, verdict, table, state, now_s)
    packet = packet_of(frame)
    if packet is None:
        return NOBODY
    if packet.fragment is not None:
        return state.fragments.owner(packet.fragment.key, now_s) or NOBODY
    quoted = icmp.quoted_flow(frame, packet) if verdict[1] in _TO_BACKENDS else None
    if quoted is None:
        return NOBODY
    client, ports, protocol = quoted
    return _of_flow(l4.flow_key(client, packet.dst, ports, protocol), verdict, table, state, now_s)


def service_of(seen: Glance, table: ForwardingTable) -> bytes | None:
    """Return the key of the service that a frame's address and port are of."""
    service = find_service(table, seen.dst, seen.ports[2:], seen.protocol) if seen.ports else None
    return service.key if service is not None else None


def _of_flow(key: bytes, verdict: Verdict, table: ForwardingTable, state: State, now_s: int) -> Whose:
    service = find_service(table, key[16:32], key[34:36], key[36])
    if service is None:
        return NOBODY
    flow = state.flows.get(key)
    if flow is not None and not flow.is_over(now_s) and flow.backend in service.by_key:
        return service.key, flow.backend
    if verdict[1] not in _TO_BACKENDS:
        return service.key, None
    target = _one_of(list(_reached(service.targets, verdict)), service, key)
    return service.key, target.key if target is not None else None


def _of_reply(sent: Glance, table: ForwardingTable, state: State) -> Whose:
    """Return whose an answer is, which was sent to a client."""
    if not sent.ports:
        return NOBODY
    ports = sent.ports[2:] + sent.ports[:2]
    service = find_service(table, sent.src, ports[2:], sent.protocol)
    flow = state.flows.get(l4.flow_key(sent.dst, sent.src, ports, sent.protocol))
    return service.key if service is not None else None, flow.backend if flow is not None else None


def _reached(targets: Iterable[Target], verdict: Verdict) -> Iterable[Target]:
    """Yield the targets whose way a frame was sent; with wrapped packets the one whose address it is to."""
    _, _, ifindex, frame = verdict
    dst = glance(frame).dst
    there = [one for one in targets if one.hop is not None and one.hop.ifindex == ifindex]
    there = [one for one in there if one.hop is not None and one.hop.dst_mac == frame[:6]]
    return [one for one in there if one.address == dst] or there


def _one_of(reached: list[Target], service: CompiledService, key: bytes) -> Target | None:
    """Return the one that a packet went to, of those that have its MAC: mostly there is but one."""
    likely = [pick_under_way(service, key), pick_by_hash(service, key)] if len(reached) > 1 else []
    return next((one for one in likely if one in reached), next(iter(reached), None))
