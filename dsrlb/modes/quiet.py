"""The VIP on a real server, without the link ever hearing of it; what l2dsr and l3dsr both ask for.

Were the server to tell the link that it has the VIP, the router would learn the server's MAC and go
past the balancer:

- IPv4: ``arp_ignore`` 1 (answer ARP only for addresses of the interface that was asked) and
  ``arp_announce`` 2 (never name the VIP as the sender in an ARP request), *before* the VIP is
  there, so that there is no moment in which the server answers for it.
- IPv6: the kernel looks for a solicited target on the receiving interface only, so an address on
  ``lo`` is never answered for.  The VIP is added with ``preferred_lft 0`` (deprecated): it is
  accepted and answered from like any other, but never chosen as the source of a connection that
  the server itself opens.  IPv4 needs no such thing: an address of another device is chosen only
  when the outgoing one has none.

*Source*: Linux Documentation/networking/ip-sysctl.rst (arp_ignore, arp_announce);
net/ipv6/ndisc.c, ndisc_recv_ns; RFC 6724, section 5, rule 3; RFC 4862, section 5.5.4.
"""

from __future__ import annotations

from dsrlb.model import Address, HostStep

ARP_STEPS = (
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


def quiet_steps(vip: Address) -> tuple[HostStep, ...]:
    """Return what silences the server about a VIP, before it has it."""
    return ARP_STEPS if vip.version == 4 else ()


def vip_step(vip: Address, device: str = "lo") -> HostStep:
    """Return the step that gives the server a VIP."""
    why = "without it the server drops the packets for the VIP, or routes them back"
    value = f"{vip}/32" if vip.version == 4 else f"{vip}/128 preferred_lft 0"
    return HostStep("address", device, value, why)
