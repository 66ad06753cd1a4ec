"""L3 DSR: the balancer wraps the packet in a second IP header (LVS: tunnelling, ``-i``).

The story
---------
Servers stand anywhere that IP reaches.  A packet for the VIP comes in, the balancer picks a server,
puts a header with the server's own address before the packet, and sends it on by its routing
table.  The server takes the outer header off, finds a packet for the VIP, which it has on its
loopback, and answers the client by its own route: answers never cross the balancer::

    byte  0      12   14                                   m
          +------+----+------------------------------------+
    in    | MACs |type| the client's packet, to the VIP    |  padding
          +------+----+------------------------------------+
                      |                                    |
          +------+----+-------------+----------------------+-------------+
    out   | MACs |type| outer header| the client's packet, the same bytes |
          +------+----+-------------+------------------------------------+
          0      12   14            14 + overhead                        m + overhead

The outer header, whichever families are inside and outside (protocol 4: IPv4 inside, 41: IPv6)::

    IPv4 (20)  45 tos length | 0000 DF 0 | TTL 64, protocol, checksum | source | server
    IPv6 (40)  6 tos flow label | payload length, next header, hop limit 64 | source | server

With encapsulation ``gue`` a UDP header and the four bytes of GUE variant 0 come behind it, with
``gue1`` a UDP header alone (variant 1, which is also what Linux calls FOU)::

    UDP (8)    source port by flow 49152-65535 | 6080 | length | checksum (IPv4: none)
    GUE (4)    00 | protocol 4 or 41 | 00 00

Decisions
---------
- TOS / traffic class is copied, DSCP and ECN: a router in the tunnel treats the packet as it would
  have, and may mark it.  *Source*: RFC 6040, section 4.1, normal mode; RFC 2983, uniform model.
- The inner TTL stays.  The VIP is a host to its client, balancer and server are that host, and the
  way between them is nobody's hop; a host takes a packet whatever its TTL (RFC 1122, section 3.2.1.7).
  A packet can go round only through a router or server that forwards the inner one and counts.
- The source is constant, the balancer's own address on the way: errors about the tunnel come back
  to it.  What spreads the packets over a server's queues is the flow: in the IPv6 flow label
  (RFC 6438), in GUE's source port, and in the inner header, which Linux's RPS reads.
- The outer IPv4 header forbids cutting and has identification 0 (RFC 6864, section 4.1): a tunnel
  that is too narrow is told, not suffered.
- No VLAN tag goes out: the outer packet is the host's own, and leaves as its routing table says.

Too long
--------
What fits into the tunnel is the MTU of the way, or what a router in it has told, less the overhead.
A longer packet: IPv4 with DF and IPv6, the sender is told what fits; IPv4 without DF is cut before
it is wrapped, so that the server puts it together like any packet.  IPv6 promises 1280 bytes: when
even that is more than fits, the outer packet is cut (RFC 2473, section 7.1).

*Source*: RFC 2003, RFC 2473, RFC 4213 section 3, draft-ietf-intarea-gue-09.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

from dsrlb.model import V4_MAPPED, Address, Hop, HostStep, ModeOptions, Reason, ServerOptions
from dsrlb.modes.base import Job, Mode, Outcome, Plain, TooBig, outer_source
from dsrlb.modes.quiet import quiet_steps, vip_step
from dsrlb.wire import ipv4, ipv6, l4
from dsrlb.wire.checksum import WORD_MAX, checksum, pseudo_header
from dsrlb.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER_BYTES
from dsrlb.wire.flowhash import flow_hash
from dsrlb.wire.mss import clamped
from dsrlb.wire.packet import Packet

Wrap = Callable[[bytes, int, int], bytes]  # the client's packet, its TOS, its flow's hash -> frame

HOP_LIMIT = 64
INSIDE = {4: 4, 6: 41}  # IP version -> protocol number of a packet of it in another one
UDP_BYTES, GUE_BYTES = 8, 4
FIRST_SPORT, SPORT_MASK = 49_152, 0x3FFF  # the dynamic ports, RFC 6335, section 6
LABEL_MASK = 0xFFFFF
TCP_BYTES = 20
# (version inside, outside) -> the kernel's module and the device of it that takes every tunnel's packets
TUNNEL_DEVICES = {
    (4, 4): ("ipip", "tunl0"),
    (6, 4): ("sit", "sit0"),
    (4, 6): ("ip6_tunnel", "ip6tnl0"),
    (6, 6): ("ip6_tunnel", "ip6tnl0"),
}

_IPV4 = struct.Struct(">15sBH6sH8s")  # MACs, type, 45 | TOS | length | id to protocol | sum | addresses
_IPV6 = struct.Struct(">14sIH34s")  # MACs, type | version, class, label | length | next header to end
_UDP = struct.Struct(">HHH2s")


class Tunnel(NamedTuple):
    """The way into the tunnel to one server, for packets of one IP version."""

    wrap: Wrap
    overhead_bytes: int
    reads_flow: bool  # False: the flow's hash makes no difference


def overhead_bytes(options: ModeOptions, version: int) -> int:
    """Return what is put before a packet whose server has an address of this IP version."""
    outer = ipv4.HEADER_BYTES if version == 4 else ipv6.HEADER_BYTES
    return outer + {"ipip": 0, "gue": UDP_BYTES + GUE_BYTES, "gue1": UDP_BYTES}[options.encap]


@lru_cache(maxsize=4096)
def tunnel_to(options: ModeOptions, hop: Hop, address: bytes, inner_version: int) -> Tunnel | None:
    """Return the tunnel to a server's 16-byte address; None if this host has no address to send from."""
    source = outer_source(options, hop, address)
    if source is None:
        return None
    is_v4 = address.startswith(V4_MAPPED)
    protocol = INSIDE[inner_version] if options.encap == "ipip" else l4.UDP
    wrap = (_ipv4_wrap if is_v4 else _ipv6_wrap)(hop, source, address, protocol)
    if options.encap != "ipip":
        gue = bytes((0, INSIDE[inner_version], 0, 0)) if options.encap == "gue" else b""
        covered = b"" if is_v4 else source + address
        wrap = _udp_wrap(wrap, options.encap_port, gue, covered)
    overhead = overhead_bytes(options, 4 if is_v4 else 6)
    return Tunnel(wrap, overhead, not is_v4 or options.encap != "ipip")


def _ipv4_wrap(hop: Hop, source: bytes, address: bytes, protocol: int) -> Wrap:
    start = hop.dst_mac + hop.src_mac + ETHERTYPE_IPV4 + bytes((ipv4.NO_OPTIONS,))
    middle = struct.pack(">HHBB", 0, ipv4.DONT_FRAGMENT, HOP_LIMIT, protocol)
    ends = source[12:] + address[12:]
    total = int.from_bytes(start[-1:] + b"\0" + middle + ends, "big")
    pack = _IPV4.pack

    def wrap(inner: bytes, tos: int, hashed: int) -> bytes:
        length = ipv4.HEADER_BYTES + len(inner)
        return pack(start, tos, length, middle, -(total + tos + length) % WORD_MAX, ends) + inner

    return wrap


def _ipv6_wrap(hop: Hop, source: bytes, address: bytes, protocol: int) -> Wrap:
    start = hop.dst_mac + hop.src_mac + ETHERTYPE_IPV6
    rest = bytes((protocol, HOP_LIMIT)) + source + address
    pack = _IPV6.pack

    def wrap(inner: bytes, tos: int, hashed: int) -> bytes:
        return pack(start, 6 << 28 | tos << 20 | hashed & LABEL_MASK, len(inner), rest) + inner

    return wrap


def _udp_wrap(outer: Wrap, dport: int, gue: bytes, covered: bytes) -> Wrap:
    """Return the wrapper that puts UDP and GUE before the packet, and ``outer`` before them.

    ``covered``: both addresses where the UDP checksum is needed, else empty.
    """
    pack = _UDP.pack

    def wrap(inner: bytes, tos: int, hashed: int) -> bytes:
        sport, length = FIRST_SPORT + (hashed & SPORT_MASK), UDP_BYTES + len(gue) + len(inner)
        payload = gue + inner
        total = b"\0\0"
        if covered:
            pseudo = pseudo_header(covered[:16], covered[16:], length, l4.UDP)
            total = checksum(pseudo + pack(sport, dport, length, total) + payload)
            total = b"\xff\xff" if total == b"\0\0" else total  # 0 would say that there is none
        return outer(pack(sport, dport, length, total) + payload, tos, hashed)

    return wrap


def forward(job: Job) -> Outcome:
    """Return the job's packet wrapped, its pieces wrapped, or the size that would fit."""
    frame, at, packet = job.frame, job.l3_at, job.packet
    version = frame[at] >> 4
    tunnel = tunnel_to(job.options, job.hop, job.address, version)
    if tunnel is None:
        return Reason.BACKEND_UNRESOLVED
    inner = frame[at : packet.end]
    tos = inner[1] if version == 4 else (inner[0] << 4 | inner[1] >> 4) & 0xFF
    hashed = hash_of(frame, packet) if tunnel.reads_flow else 0
    room = min(job.mtu_bytes, ipv4.MOST_BYTES) - tunnel.overhead_bytes
    if job.options.clamp_mss and _opens(frame, packet):
        headers = l4.TCP_HEADER_BYTES + (ipv4.HEADER_BYTES if version == 4 else ipv6.HEADER_BYTES)
        inner = clamped(inner, packet.l4_at - at, max(room - headers, 1))
    if len(inner) <= room:
        return [tunnel.wrap(inner, tos, hashed)]
    if version == 6 and len(inner) <= ipv6.LEAST_MTU_BYTES:
        return _cut_outside(tunnel.wrap(inner, tos, hashed), room + tunnel.overhead_bytes)
    if version == 6 or inner[6] << 8 & ipv4.DONT_FRAGMENT:
        return TooBig(max(room, ipv6.LEAST_MTU_BYTES if version == 6 else ipv4.LEAST_MTU_BYTES))
    pieces = ipv4.fragment(inner, max(room, ipv4.LEAST_MTU_BYTES))
    return [tunnel.wrap(piece, tos, hashed) for piece in pieces] or Reason.MALFORMED


def _opens(frame: bytes, packet: Packet) -> bool:
    """Return whether a packet has the header of a TCP segment that opens a connection."""
    is_later = packet.fragment is not None and not packet.fragment.is_first
    return packet.protocol == l4.TCP and not is_later and bool(frame[packet.l4_at + l4.TCP_FLAGS_AT] & l4.SYN)


def _cut_outside(wrapped: bytes, mtu_bytes: int) -> list[bytes]:
    """Return the pieces of an outer packet.

    Their identification is the packet's own hash: whatever else has the same has the same bytes, so a
    stray piece does no harm.
    """
    link, outer = wrapped[:HEADER_BYTES], wrapped[HEADER_BYTES:]
    ident = crc32(outer).to_bytes(4, "big")
    if link.endswith(ETHERTYPE_IPV6):
        return [link + piece for piece in ipv6.fragment(outer, max(mtu_bytes, ipv6.LEAST_MTU_BYTES), ident)]
    outer = outer[:4] + ident[2:] + b"\0\0" + outer[8:]  # DF off
    return [link + piece for piece in ipv4.fragment(outer, max(mtu_bytes, ipv4.LEAST_MTU_BYTES))]


def hash_of(frame: bytes, packet: Packet) -> int:
    """Return the hash of a packet's flow; of its addresses alone where not every piece has ports."""
    src, dst, protocol, at, _, fragment = packet
    has_ports = fragment is None and protocol in (l4.TCP, l4.UDP)
    return flow_hash(src + dst + (frame[at : at + 4] if has_ports else bytes(4)) + bytes((protocol, 0, 0, 0)))


def plain(options: ModeOptions, hop: Hop, address: bytes, port: bytes) -> Plain | None:
    """Return how plain IPv4 packets that fit are wrapped: as ``forward`` does it, byte for byte."""
    tunnel = tunnel_to(options, hop, address, 4)
    if tunnel is None:
        return None
    wrap, reads_flow = tunnel.wrap, tunnel.reads_flow

    def rewrite(frame: bytes, hop: Hop) -> bytes:
        inner = frame[14 : 14 + (frame[16] << 8 | frame[17])]
        if not reads_flow:
            return wrap(inner, inner[1], 0)
        addresses = V4_MAPPED + inner[12:16] + V4_MAPPED + inner[16:20]
        return wrap(inner, inner[1], flow_hash(addresses + inner[20:24] + bytes((inner[9], 0, 0, 0))))

    return Plain(rewrite, min(hop.mtu_bytes or ipv4.MOST_BYTES, ipv4.MOST_BYTES) - tunnel.overhead_bytes)


def host_steps(vip: Address, options: ServerOptions) -> tuple[HostStep, ...]:
    """Return what a real server needs to answer for ``vip``, in the order in which it is safe."""
    take_out = _by_program if options.decap == "bpf" else _by_kernel
    return (*quiet_steps(vip), *take_out(vip, options), *_announced_mss(vip, options))


def _by_kernel(vip: Address, options: ServerOptions) -> Iterator[HostStep]:
    """Yield the steps for the kernel's own tunnel devices, one for each version outside."""
    if vip.version == 6:
        yield vip_step(vip)
    for outer in options.outer:
        module, device = TUNNEL_DEVICES[vip.version, outer]
        yield HostStep("module", module, device, f"without it the kernel has no {device}")
        if outer == 6:
            why = "without it ip6tnl0 takes out IPv6 only, and drops IPv4"
            yield HostStep("tunnel", device, "any", why)
        if vip.version == 4:
            why = "without it the kernel takes the clients' packets, which come in there, for forged"
            yield HostStep("rp_filter", device, "2", why)
            yield vip_step(vip, device)  # there, not on lo: a loose check needs an address on the device
        yield HostStep("device", device, "up", "without it what comes out of the tunnel is dropped")


def _by_program(vip: Address, options: ServerOptions) -> Iterator[HostStep]:
    """Yield the steps for the program ``bpf/decap.bpf.c``: the VIP first, so that nothing is forwarded."""
    yield vip_step(vip)
    yield HostStep("qdisc", options.device, "clsact", "without it no program can be attached")
    why = "without it the outer header stays, and the packet is dropped or refused"
    yield HostStep("program", options.device, f"decap {options.encap_port}", why)
    yield HostStep("entry", options.device, str(vip), "without it the program leaves the VIP's packets alone")


def _announced_mss(vip: Address, options: ServerOptions) -> Iterator[HostStep]:
    """Yield the steps that have the server ask clients for segments that fit into the tunnel."""
    if options.advmss == "off":
        return
    around = max(overhead_bytes(ModeOptions(encap=options.encap), outer) for outer in options.outer)
    headers = TCP_BYTES + (ipv4.HEADER_BYTES if vip.version == 4 else ipv6.HEADER_BYTES)
    value = f"mtu-{around + headers}" if options.advmss == "auto" else options.advmss
    family = "inet" if vip.version == 4 else "inet6"
    mine = [net for net in options.networks if (":" in net) == (vip.version == 6)]
    why = "without it clients send segments that do not fit, and wait for an ICMP error to tell them"
    for network in mine if options.networks else ["default"]:
        yield HostStep("advmss", f"{family} {network}", value, why)


L3DSR = Mode(
    name="l3dsr",
    summary="wrap the packet in another IP header; servers anywhere answer the client directly",
    forward=forward,
    plain=plain,
    overhead_bytes=overhead_bytes,
    needs_same_link=False,
    translates_ports=False,
    crosses_families=True,
    options=frozenset(("encap", "encap_port", "source", "clamp_mss")),
    sees_replies=False,
    host_steps=host_steps,
)
