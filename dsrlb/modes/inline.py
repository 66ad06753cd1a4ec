"""Inline: the balancer translates addresses both ways (LVS: masquerading, ``-m``; NAT).

The story
---------
A client's packet to the VIP gets the server's address (and port, if it has one of its own) as
destination, and goes to the server as a router would send it: other MAC addresses, one hop less to live.
The server answers the client by way of the balancer, which puts the VIP back as the source::

                source              destination         TTL
    client   -> 198.18.0.2:40000    198.18.1.100:80     63
    server   <- 198.18.0.2:40000    198.18.2.11:8080    62       the request, translated

    server   -> 198.18.2.11:8080    198.18.0.2:40000    64
    client   <- 198.18.1.100:80     198.18.0.2:40000    63       the reply, translated back

So every flow has two names, that of the client's packets and that of the server's, and each packet is
found by the one and rewritten by the other (``flows.Translation``).  With ``snat`` the source is replaced
as well, by an address of the balancer's and a port that no other flow to that server's port has: the
server then needs no route by way of the balancer, and sees no client's address::

    client   -> 198.18.0.2:40000    198.18.1.100:80     63
    server   <- 198.18.1.100:30001  198.18.2.11:8080    62

What it costs and asks
----------------------
No byte is added.  A packet that is larger than the MTU of the way out is cut, or its sender is told, as by
any router.  Without ``snat`` the replies must pass the balancer: it is the servers' gateway to the
clients.  The server needs nothing else: the VIP is nowhere on it.  Every flow is recorded; one for which
there is no room is refused, since without a record its replies could not be translated.

What changes in a packet, byte by byte: ``wire/readdress.py``; replies and errors: ``nat.py``.

*Source*: RFC 3022, section 4 (translation, checksums, errors); RFC 1812, section 5.3.1.
"""

from __future__ import annotations

from dsrlb.model import Address, Hop, HostStep, ModeOptions, Reason, ServerOptions
from dsrlb.modes.base import Job, Mode, Outcome, Plain, TooBig
from dsrlb.wire import ipv4
from dsrlb.wire.ethernet import TYPE_BYTES
from dsrlb.wire.offload import Offload
from dsrlb.wire.packet import Packet
from dsrlb.wire.readdress import Ends, ends_of_request, finished, lives_on, readdressed, wire_bytes


def forward(job: Job) -> Outcome:
    """Return the job's frame for the server that its second name (``reply_key``) says."""
    link = job.hop.dst_mac + job.hop.src_mac + job.frame[job.l3_at - TYPE_BYTES : job.l3_at]
    ends = ends_of_request(job.reply_key)
    return hand_on(job.frame, job.l3_at, job.packet, job.offload, link, ends, job.mtu_bytes)


def hand_on(
    frame: bytes, l3_at: int, packet: Packet, offload: Offload | None, link: bytes, ends: Ends, mtu_bytes: int
) -> Outcome:
    """Return a packet as a router sends it on, from and to the ends given: in either direction.

    VLAN tags go with the old link header; those of the way out are in ``link``.
    """
    if not lives_on(frame, l3_at):
        return Reason.TTL_DROPPED
    has_sum = bool(ends.ports)  # a piece behind the first has none, whatever is said of it
    is_partial = offload is not None and offload.is_partial and has_sum
    must_cut = wire_bytes(frame, l3_at, packet, offload) > mtu_bytes
    if must_cut and not _may_cut(frame, l3_at, offload):
        return TooBig(mtu_bytes)
    out = readdressed(frame, l3_at, packet, link, ends, is_partial=is_partial)
    if not must_cut:
        return [out]
    whole = out[len(link) : len(link) + packet.end - l3_at]
    if is_partial:
        whole = finished(whole, packet.l4_at - l3_at, packet.protocol)
    pieces = ipv4.fragment(whole, max(mtu_bytes, ipv4.LEAST_MTU_BYTES))
    return [link + piece for piece in pieces] or Reason.MALFORMED


def _may_cut(frame: bytes, l3_at: int, offload: Offload | None) -> bool:
    """Return whether a router may cut a packet: IPv4 without DF; of one that stands for many, each fits."""
    if frame[l3_at] >> 4 == 6 or (offload is not None and offload.segment_bytes):
        return False
    return not frame[l3_at + ipv4.FLAGS_AT] << 8 & ipv4.DONT_FRAGMENT


def plain(options: ModeOptions, hop: Hop, address: bytes, port: bytes) -> Plain | None:
    """Return None: how a packet is rewritten depends on its flow."""
    return None


def host_steps(vip: Address, options: ServerOptions) -> tuple[HostStep, ...]:
    """Return what a real server needs: the way back to the clients by way of the balancer.

    ``options.gateway`` is the balancer's address on the server's link.
    """
    family, best = ("inet", "") if vip.version == 4 else ("inet6", " metric 1")
    mine = [net for net in options.networks if (":" in net) == (vip.version == 6)]
    why = "without it answers go past the balancer, and the client drops them: they are not from the VIP"
    return tuple(
        HostStep("route", f"{family} {network}", f"via {options.gateway}{best}", why)
        for network in (mine if options.networks else ["default"])
    )


INLINE = Mode(
    name="inline",
    summary="translate addresses and ports both ways; replies pass the balancer",
    forward=forward,
    plain=plain,
    overhead_bytes=lambda options, version: 0,
    needs_same_link=False,
    translates_ports=True,
    crosses_families=False,
    options=frozenset({"snat", "source"}),
    sees_replies=True,
    host_steps=host_steps,
)
