"""The short way through the data path, for the packets that nearly all traffic consists of.

That is a plain IPv4 packet (no VLAN tag, no options, no fragment) of a TCP or UDP flow under way whose
backend was worked out under this very table.  All that depends on addresses and table alone
was decided on the long way, ``datapath.decide``, and stands in the flow's ``Route`` (in its record, or
among ``State.picks`` where the slots alone tell its backend); only the packet
itself is looked at here.  The outcome is that of the long way to the byte and to the counter.

Fields read, from the frame's first byte::

    0       12        16       20       23    26    30    34      38       46     47
    +-- - --+---------+-- - ---+-- - ---+- - -+-----+-----+-------+-- - ---+------+------
    | MAC   |08 00 45 | length | place  |proto| src | dst | ports | UDP    |TCP   |TCP
    |       |         |        |        |     |     |     |       | length |offset|flags
    +-- - --+---------+-- - ---+-- - ---+- - -+-----+-----+-------+-- - ---+------+------
"""

from __future__ import annotations

import struct

from dsrlb.course import follow
from dsrlb.flows import Flow, FlowState
from dsrlb.model import V4_MAPPED, Action, Reason
from dsrlb.modes.base import NO_LIMIT
from dsrlb.state import State, Verdict
from dsrlb.table import ForwardingTable
from dsrlb.wire.checksum import WORD_MAX
from dsrlb.wire.ethernet import HEADER_BYTES
from dsrlb.wire.ipv4 import MORE_FRAGMENTS_AND_OFFSET
from dsrlb.wire.l4 import FIN, RST, SYN, TCP, UDP
from dsrlb.wire.offload import Offload

_FIELDS = struct.Struct(">6s 6x 3s x H 2x H x B 2x 4s 8s H 6x B B")
_CHECKED = struct.Struct(">14x Q Q I")  # the IPv4 header
_KEY = struct.Struct("12s 4s 12s 8s 4s")  # a flow's, see wire/l4.py; packed in half the time that + takes
_PLAIN = b"\x08\0\x45"  # IPv4 in Ethernet, header of five words
_TCP_TAIL, _UDP_TAIL = bytes((TCP, 0, 0, 0)), bytes((UDP, 0, 0, 0))  # of a flow key
_CHANGES_STATE = SYN | FIN | RST
_ESTABLISHED, _UDP_STATE = int(FlowState.ESTABLISHED), int(FlowState.UDP)
_TX, _REDIRECT, _FORWARDED, _REPLIED = Action.TX, Action.REDIRECT, Reason.FORWARDED, Reason.REPLY_FORWARDED
_FORWARDED_AT, _REPLIED_AT = int(_FORWARDED), int(_REPLIED)  # an enum as an index costs 20 ns
_AFTER_MACS, _TTL_AT, _PROTOCOL_AT = 12, 22, 23
_fields, _checked, _key, _FIELDS_BYTES = _FIELDS.unpack_from, _CHECKED.unpack_from, _KEY.pack, _FIELDS.size


def forward_known(
    frame: bytes,
    ifindex: int,
    table: ForwardingTable,
    state: State,
    now_s: int,
    offload: Offload | None = None,
) -> Verdict | None:
    """Forward a plain packet of a known flow; None, with nothing changed, if it must go the long way."""
    size = len(frame)
    if size < _FIELDS_BYTES:
        return None
    mac, kind, length, place, protocol, src, dst_ports, udp_bytes, offset, flags = _fields(frame)
    if kind != _PLAIN or place & MORE_FRAGMENTS_AND_OFFSET or length > size - HEADER_BYTES:
        return None
    if protocol == TCP:
        if flags & _CHANGES_STATE or not 20 <= offset >> 4 << 2 <= length - 20:
            return None
        tail, wanted = _TCP_TAIL, _ESTABLISHED
    elif protocol == UDP and 8 <= udp_bytes <= length - 20:
        tail, wanted = _UDP_TAIL, _UDP_STATE
    else:
        return None
    key = _key(V4_MAPPED, src, V4_MAPPED, dst_ports, tail)
    flow = state.flows.get(key)
    if flow is None:
        route = state.picks.get(key)
    elif flow.state == wanted and now_s - flow.seen_s <= flow.timeouts_s[wanted]:
        route = flow.route
    else:
        return None
    if route is None:
        return (
            _translate_known(frame, ifindex, table, state, now_s, offload, flow, key)
            if table.servers
            else None
        )
    if route.edition is not table.edition or mac != table.interfaces.get(ifindex):
        return None
    if route.most_bytes != NO_LIMIT and (offload is not None or length > route.most_bytes):
        return None
    first, second, third = _checked(frame)
    if (first + second + third) % WORD_MAX:
        return None
    if flow is not None:
        flow.seen_s = now_s
    state.reasons[_FORWARDED_AT] += 1
    count = route.count
    count.packets += 1
    count.octets += size
    hop, rewrite = route.hop, route.rewrite
    out, to = route.macs + frame[_AFTER_MACS:] if rewrite is None else rewrite(frame, hop), hop.ifindex
    return _TX if to == ifindex else _REDIRECT, _FORWARDED, to, out


def _translate_known(
    frame: bytes,
    ifindex: int,
    table: ForwardingTable,
    state: State,
    now_s: int,
    offload: Offload | None,
    flow: Flow | None,
    key: bytes,
) -> Verdict | None:
    """Translate a plain packet of a known flow, of whose fields ``forward_known`` has found nothing amiss.

    ``flow``: the client's flow of this key; None: it may be a server's answer.
    """
    is_reply = flow is None
    if flow is None:
        flow = state.flows.replies.get(key)
        wanted = _ESTABLISHED if frame[_PROTOCOL_AT] == TCP else _UDP_STATE
        if flow is None or flow.state != wanted or now_s - flow.seen_s > flow.timeouts_s[wanted]:
            return None
    translation = flow.translation
    course = None if translation is None else translation.reply if is_reply else translation.request
    if course is None or course.edition is not table.edition:
        return None
    if frame[:HEADER_BYTES] != course.in_link or ifindex != course.in_ifindex or frame[_TTL_AT] < 2:
        return None
    protocol, length, is_partial = frame[_PROTOCOL_AT], frame[16] << 8 | frame[17], False
    if offload is not None:
        is_partial = offload.is_partial
        if offload.segment_bytes:
            header_bytes = 20 + (frame[46] >> 4 << 2) if protocol == TCP else 28
            length = min(length, header_bytes + offload.segment_bytes)
    if length > course.most_bytes:
        return None
    first, second, third = _checked(frame)
    if (first + second + third) % WORD_MAX:
        return None
    flow.seen_s = now_s
    out, to = follow(course, frame, protocol, is_partial), course.out_ifindex
    action = _TX if to == ifindex else _REDIRECT
    if is_reply:
        state.reasons[_REPLIED_AT] += 1
        return action, _REPLIED, to, out
    state.reasons[_FORWARDED_AT] += 1
    flow.count.packets += 1
    flow.count.octets += len(frame)
    return action, _FORWARDED, to, out
