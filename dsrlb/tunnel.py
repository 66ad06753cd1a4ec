"""What routers and servers say about wrapped packets: ICMP errors to the balancer's own address.

The outer header of a wrapped packet names the balancer as source, so whoever cannot send it on, or cannot
take it, tells the balancer.  The error quotes the outer header and, if its sender is generous, the
client's packet behind it::

    +-------+-----------------+-------------+------+- - - - - - - - - - -+
    | IP    | ICMP, 8 bytes   | outer IP    | GUE  | the client's packet |   IPv4 routers owe 8 bytes
    | to us | type, code, MTU | to a server | (12) | as far as quoted    |   behind the outer header,
    +-------+-----------------+-------------+------+- - - - - - - - - - -+   most send more

What becomes of it:

- Too big: the MTU of the way to that server is remembered for ten minutes, so that the next packet which
  does not fit is answered with the right size; and the client of this one is told at once.
- Unreachable, time exceeded: the client is told that the host is unreachable.  *Source*: RFC 2003,
  section 4; RFC 2473, section 8.
- The server itself does not take what is wrapped: counted and named.  Its clients are not told, which
  RFC 2003 would have: a server says so once a second at most, whoever asks, so few would hear.

The client is told only when the quote reaches to the ports, and names a flow that goes to this very
server, by its record or by the slots: so an error that anybody can forge makes dsrlb send little, and
never more than a ration (``budget.py``).  It is sent back the way the error came: routers of the servers
carry packets from the VIP to clients, that is how servers answer.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from dsrlb.model import V4_MAPPED, Action, Address, ModeOptions, Reason
from dsrlb.modes.l3dsr import GUE_BYTES, INSIDE, UDP_BYTES, overhead_bytes
from dsrlb.pick import owner_of
from dsrlb.state import Path, State, Verdict, forget_routes, stop
from dsrlb.table import ForwardingTable, Target, find_service
from dsrlb.wire import icmp, ipv4, ipv6, l4
from dsrlb.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, skip_tags
from dsrlb.wire.packet import Arrival

LEARNED_FOR_S = 600  # RFC 1191, section 6.3; RFC 8201, section 4
LEAST_IPV4_MTU_BYTES = 576  # a forged error cannot do more harm than this
# MTUs to try when a router names none, RFC 1191, section 7.1.
PLATEAUS = (32_000, 17_914, 8166, 4352, 2002, 1492, 1006, LEAST_IPV4_MTU_BYTES)

_PROTOCOL, _PORT = 2, 3  # codes of ICMP unreachable
_SOURCE_ROUTE = 5
_TIME_EXCEEDED, _UNREACHABLE = {icmp.ICMP: 11, icmp.ICMPV6: 3}, {icmp.ICMP: 3, icmp.ICMPV6: 1}
_HOST_UNREACHABLE = {4: bytes((3, 1)), 6: bytes((1, 3))}


class About(NamedTuple):
    """The packet that an error is about: ours, wrapped, to a server."""

    server: bytes  # 16 bytes
    options: ModeOptions  # how it was wrapped
    outer_bytes: int
    inner: bytes  # the client's packet as far as quoted


class Client(NamedTuple):
    """Whose packet it is, and the server that it was for."""

    address: bytes  # 16 bytes
    target: Target


def hear(arrival: Arrival, table: ForwardingTable, state: State, now_s: int) -> Verdict:
    """Return the verdict on an ICMP packet to one of the addresses that wrapped packets come from.

    What is about no packet of ours is the host's own affair.
    """
    frame, packet = arrival.frame, arrival.packet
    kind = frame[packet.l4_at] if packet.end - packet.l4_at >= icmp.HEADER_BYTES else None
    if packet.fragment is not None or kind not in icmp.ERRORS[packet.protocol]:
        return stop(state, Reason.NOT_VIP)
    about = _about(arrival, table)
    if about is None:
        return stop(state, Reason.NOT_VIP)
    if not icmp.is_sound(frame, packet):
        return stop(state, Reason.BAD_CHECKSUM)
    mtu_bytes = _stated_mtu(arrival, about)
    if mtu_bytes is not None:
        if mtu_bytes >= about.outer_bytes:
            return stop(state, Reason.TUNNEL_ERROR)
        _learn(state, about.server, mtu_bytes, now_s)
    elif _is_refusal(arrival, about):
        return stop(state, Reason.NO_DECAPSULATION)
    elif not _is_unreachable(arrival):
        return stop(state, Reason.TUNNEL_ERROR)
    return _tell(arrival, about, mtu_bytes, table, state, now_s)


def _about(arrival: Arrival, table: ForwardingTable) -> About | None:
    """Return what an error is about; None if it quotes no packet that a service here would have sent."""
    frame, packet = arrival.frame, arrival.packet
    at = packet.l4_at + icmp.HEADER_BYTES
    quoted = icmp.quoted_packet(frame, at, packet.end, packet.protocol)
    if quoted is None:
        return None
    src, dst, protocol, behind_at = quoted
    for options in table.tunnels.get(src + dst, ()):
        inner_at = _inner_at(frame, protocol, behind_at, options)
        if inner_at is not None:
            length = frame[at + 2] << 8 | frame[at + 3] if packet.protocol == icmp.ICMP else None
            if length is None:
                length = ipv6.HEADER_BYTES + (frame[at + 4] << 8 | frame[at + 5])
            return About(dst, options, length, frame[inner_at : packet.end])
    return None


def _inner_at(frame: bytes, protocol: int, at: int, options: ModeOptions) -> int | None:
    """Return where the client's packet begins behind the outer header; None if it is not so wrapped."""
    if options.encap == "ipip":
        return at if protocol in INSIDE.values() else None
    if protocol != l4.UDP or frame[at + 2 : at + 4] != options.encap_port.to_bytes(2, "big"):
        return None
    return at + UDP_BYTES + (GUE_BYTES if options.encap == "gue" else 0)


def _stated_mtu(arrival: Arrival, about: About) -> int | None:
    """Return the MTU that an error about size names, within reason; None for other errors."""
    frame, packet = arrival.frame, arrival.packet
    at = packet.l4_at
    if packet.protocol == icmp.ICMPV6:
        if frame[at] != icmp.TOO_BIG:
            return None
        return max(int.from_bytes(frame[at + 4 : at + 8], "big"), ipv6.LEAST_MTU_BYTES)
    if (frame[at], frame[at + 1]) != (icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED):
        return None
    stated = frame[at + 6] << 8 | frame[at + 7]
    if not stated:  # a router from before RFC 1191
        stated = next((one for one in PLATEAUS if one < about.outer_bytes), LEAST_IPV4_MTU_BYTES)
    return max(stated, LEAST_IPV4_MTU_BYTES)


def _learn(state: State, server: bytes, mtu_bytes: int, now_s: int) -> None:
    """Remember the MTU of the way to a server; a lower one stays until its time is up."""
    known = state.paths.get(server)
    if known is not None and known.mtu_bytes < mtu_bytes and now_s <= known.until_s:
        return
    state.paths[server] = Path(mtu_bytes, now_s + LEARNED_FOR_S)
    forget_routes(state, server)


def _is_refusal(arrival: Arrival, about: About) -> bool:
    """Return whether the server itself says that it does not take what is wrapped.

    *Source*: net/ipv4/ip_input.c (no handler: protocol unreachable), tunnel4.c (no tunnel: port unreachable);
    net/ipv6/ip6_input.c (parameter problem, unrecognized next header), tunnel6.c (port unreachable).
    """
    frame, packet = arrival.frame, arrival.packet
    said = frame[packet.l4_at], frame[packet.l4_at + 1]
    words = ((3, _PROTOCOL), (3, _PORT)) if packet.protocol == icmp.ICMP else ((4, 1), (1, 4))
    return said in words and packet.src == about.server


def refusing_server(frame: bytes) -> Address:
    """Return the server that a frame under ``NO_DECAPSULATION`` is from."""
    kind, at = skip_tags(frame)
    if kind == ETHERTYPE_IPV4:
        return IPv4Address(frame[at + 12 : at + 16])
    return IPv6Address(frame[at + 8 : at + 24])


def _is_unreachable(arrival: Arrival) -> bool:
    frame, packet = arrival.frame, arrival.packet
    kind, code = frame[packet.l4_at], frame[packet.l4_at + 1]
    if kind == _TIME_EXCEEDED[packet.protocol]:
        return code == 0
    refused = (_PROTOCOL, _PORT, _SOURCE_ROUTE) if packet.protocol == icmp.ICMP else (4,)
    return kind == _UNREACHABLE[packet.protocol] and code not in refused


def _tell(
    arrival: Arrival, about: About, mtu_bytes: int | None, table: ForwardingTable, state: State, now_s: int
) -> Verdict:
    """Tell the client of a quoted packet, as far as it is known who that is and as it helps."""
    frame, ifindex, l3_at, packet, _ = arrival
    inner = about.inner
    message = _message(about, mtu_bytes)
    client = _client_of(about, table, state, now_s) if message is not None else None
    if message is None or client is None:
        return stop(state, Reason.TUNNEL_ERROR)
    is_from_neighbour = client.target.hop is not None and frame[6:12] == client.target.hop.dst_mac
    if is_from_neighbour and packet.src == about.server:  # no router: it would have to forward
        return stop(state, Reason.TUNNEL_ERROR)
    if not state.told.spend(client.address, now_s):
        return stop(state, Reason.TUNNEL_ERROR)
    is_v4 = inner[0] >> 4 == 4
    link = frame[6:12] + frame[:6] + frame[12 : l3_at - 2] + (ETHERTYPE_IPV4 if is_v4 else ETHERTYPE_IPV6)
    vip = V4_MAPPED + inner[16:20] if is_v4 else inner[24:40]
    state.reasons[Reason.TUNNEL_ERROR_TOLD] += 1
    told = link + icmp.error(vip, client.address, *message, inner)
    return Action.TX, Reason.TUNNEL_ERROR_TOLD, ifindex, told


def _message(about: About, mtu_bytes: int | None) -> tuple[bytes, bytes] | None:
    """Return what to tell about a quoted packet: type and code, then four bytes; None: nothing.

    ``mtu_bytes``: what the way to the server takes; None: it is broken.
    """
    version = about.inner[0] >> 4 if about.inner else 0
    if version not in _HOST_UNREACHABLE or len(about.inner) < ipv4.HEADER_BYTES:
        return None
    if mtu_bytes is None:
        return _HOST_UNREACHABLE[version], bytes(4)
    fits = mtu_bytes - overhead_bytes(about.options, 4 if about.server.startswith(V4_MAPPED) else 6)
    if version == 6:
        return bytes((icmp.TOO_BIG, 0)), max(fits, ipv6.LEAST_MTU_BYTES).to_bytes(4, "big")
    if not about.inner[6] << 8 & ipv4.DONT_FRAGMENT:
        return None  # what is sent next will be cut
    kind = bytes((icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED))
    return kind, max(fits, ipv4.LEAST_MTU_BYTES).to_bytes(4, "big")


def _client_of(about: About, table: ForwardingTable, state: State, now_s: int) -> Client | None:
    """Return the client of the quoted packet and the server, if its flow is known and goes there."""
    inner = about.inner
    protocol = icmp.ICMP if inner[0] >> 4 == 4 else icmp.ICMPV6
    quoted = icmp.quoted_packet(inner, 0, len(inner), protocol)
    if quoted is None or quoted[2] not in (l4.TCP, l4.UDP) or quoted[3] + 4 > len(inner):
        return None
    src, dst, transport, at = quoted
    service = find_service(table, dst, inner[at + 2 : at + 4], transport)
    is_martian = ipv4.is_martian if inner[0] >> 4 == 4 else ipv6.is_martian
    if service is None or is_martian(src) or src in table.vips:
        return None
    target = owner_of(service, l4.flow_key(src, dst, inner[at : at + 4], transport), state, now_s)
    return Client(src, target) if target is not None and target.address == about.server else None
