"""L2 DSR: the balancer changes the two MAC addresses and nothing else (LVS: direct routing, ``-g``).

The story
---------
Balancer and real servers share one link.  The router knows the VIP by the balancer's MAC, because
the balancer alone answers ARP and neighbour discovery for it.  A frame for the VIP comes in, the
balancer picks a server, writes the server's MAC as destination and its own as source, and sends
the frame out again::

    byte  0           6           12      14
          +-----------+-----------+-------+---------------------------------------
    in    | balancer  | router    | type  | IP header, TCP or UDP, payload, ...
          +-----------+-----------+-------+---------------------------------------
          | changed   | changed   |  from byte 12 to the end: the very same bytes
          +-----------+-----------+-------+---------------------------------------
    out   | server    | balancer  | type  | IP header, TCP or UDP, payload, ...
          +-----------+-----------+-------+---------------------------------------

    in    02:00:c6:12:01:02  02:00:c6:12:01:01  08 00 45 00 ...
    out   02:00:c6:12:01:03  02:00:c6:12:01:02  08 00 45 00 ...

The IP destination is still the VIP, so TTL, checksums, ports and addresses stay as the client sent
them.  The server owns the VIP too, on its loopback device; it takes the packet as its own and
answers the client with the VIP as source, by its own route: answers never cross the balancer.

What it costs and asks
----------------------
No byte is added (no MTU question), and no port can be translated: the server listens on the
service's own port.  The server must be a neighbour: a router in between would look at the IP
destination, the VIP, and send the frame back to the balancer.

What a real server needs
------------------------
The VIP without ever telling the link about it, else the router would learn the server's MAC and
go past the balancer:

- IPv4: ``arp_ignore`` 1 (answer ARP only for addresses of the interface that was asked) and
  ``arp_announce`` 2 (never name the VIP as the sender in an ARP request), *before* the VIP goes
  on ``lo``, so that there is no moment in which the server answers for it.
- IPv6: the kernel looks for a solicited target on the receiving interface only, so an address on
  ``lo`` is never answered for.  The VIP is added with ``preferred_lft 0`` (deprecated): it is
  accepted and answered from like any other, but never chosen as the source of a connection that
  the server itself opens.  IPv4 needs no such thing: an address of another device is chosen only
  when the outgoing one has none.

*Source*: Linux Documentation/networking/ip-sysctl.rst (arp_ignore, arp_announce);
net/ipv6/ndisc.c, ndisc_recv_ns; RFC 6724, section 5, rule 3; RFC 4862, section 5.5.4.
"""

from __future__ import annotations

from dsrlb.model import Address, Hop, HostStep, ModeOptions
from dsrlb.modes.base import NO_LIMIT, Job, Mode, Plain

_AFTER_MACS = 12  # IEEE 802.3: destination MAC (6), source MAC (6), then the type

_ARP_STEPS = (
    HostStep(
        "sysctl",
        "net.ipv4.conf.all.arp_ignore",
        "1",
        "without it the server answers ARP for the VIP on lo and takes the traffic from the balancer",
    ),
    HostStep(
        "sysctl",
        "net.ipv4.conf.all.arp_announce",
        "2",
        "without it the server's own ARP requests name the VIP as theirs and the router believes it",
    ),
)


def rewrite(frame: bytes, hop: Hop) -> bytes:
    """Return the frame addressed to the hop; bytes 12 to the end are the same.

    ``frame``: a whole Ethernet frame of at least 14 bytes, without FCS.
    """
    return hop.dst_mac + hop.src_mac + frame[_AFTER_MACS:]


def forward(job: Job) -> list[bytes]:
    """Return the job's frame, rewritten.  Size and unfinished checksums are as they were."""
    return [rewrite(job.frame, job.hop)]


def plain(options: ModeOptions, hop: Hop, address: bytes, port: bytes) -> Plain:
    """Return how plain packets are rewritten: like all others."""
    return Plain(rewrite, NO_LIMIT)


def host_steps(vip: Address) -> tuple[HostStep, ...]:
    """Return what a real server needs to answer for ``vip``, in the order in which it is safe."""
    why = "without it the server drops the packets for the VIP, or routes them back"
    if vip.version == 4:
        return (*_ARP_STEPS, HostStep("address", "lo", f"{vip}/32", why))
    return (HostStep("address", "lo", f"{vip}/128 preferred_lft 0", why),)


L2DSR = Mode(
    name="l2dsr",
    summary="rewrite the MAC addresses; servers on the same link answer the client directly",
    forward=forward,
    plain=plain,
    overhead_bytes=lambda options, version: 0,
    needs_same_link=True,
    translates_ports=False,
    crosses_families=True,
    options=frozenset(),
    sees_replies=False,
    host_steps=host_steps,
)
