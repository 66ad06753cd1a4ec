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
The VIP on its loopback, without ever telling the link about it (``quiet``).
"""

from __future__ import annotations

from dsrlb.model import Address, Hop, HostStep, ModeOptions, ServerOptions
from dsrlb.modes.base import NO_LIMIT, Job, Mode, Plain
from dsrlb.modes.quiet import quiet_steps, vip_step

_AFTER_MACS = 12  # IEEE 802.3: destination MAC (6), source MAC (6), then the type


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
    return Plain(None, NO_LIMIT)


def host_steps(vip: Address, options: ServerOptions) -> tuple[HostStep, ...]:
    """Return what a real server needs to answer for ``vip``, in the order in which it is safe."""
    return (*quiet_steps(vip), vip_step(vip))


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
