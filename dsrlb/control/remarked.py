"""What the control loop sees of servers and VIPs beside checks, as remarks.

::

    ARP from the VIP's address, heard on the VIP's segment           remark
    from nobody's MAC that is known: an answer, or a question        second_owner   of the VIP
    from a backend's MAC: an answer                                  arp_ignore     of that backend
    from a backend's MAC: a question for another address             arp_announce   of that backend

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from dsrlb.health.remarks import About, Remark, claimed_by_asking
from dsrlb.model import Address

CLAIM_FOR_S = 22.0  # each is told every ten seconds while it lasts
MAC_FOR_S = 60.0


def of_claim(
    vip: Address, mac: str, interface: str, whose: Sequence[Address], by_asking: bool
) -> list[tuple[About, Remark]]:
    """Return what a claim of a VIP by another machine says; ``whose``: the backends that have this MAC."""
    if not whose or vip.version == 6:  # a backend with the VIP on lo answers nobody by IPv6
        says = f"{mac} claims it on {interface}; {_off(vip)}"
        return [(About(vip, one), Remark("second_owner", says)) for one in whose or (None,)]
    setup = f"on the server: dsrlb backend setup --mode l2dsr --vip {vip}"
    if by_asking:
        return [(About(vip, one), claimed_by_asking(vip, mac, interface)) for one in whose]
    says = (
        f"{mac} answers ARP for {vip} on {interface}: arp_ignore is 0 there, or the VIP is on its interface "
        f"in place of lo; {setup}"
    )
    return [(About(vip, one), Remark("arp_ignore", says)) for one in whose]


def of_new_mac(before: str, now: str) -> Remark:
    """Return what is to be said of a backend whose MAC is another one."""
    return Remark(
        "server_mac", f"packets for it went to {before}, and go to {now} now; see that this is the server"
    )


def of_owned(sentence: str) -> Remark:
    """Return what is to be said of a VIP that is configured on this host."""
    return Remark("vip_on_balancer", sentence)


def _off(vip: Address) -> str:
    return f"take it off there: ip addr del {vip}/{vip.max_prefixlen} dev …"
