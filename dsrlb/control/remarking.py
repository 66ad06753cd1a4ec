"""What the control loop sees of servers and VIPs beside checks, as remarks.

::

    ARP from the VIP's address, heard on the VIP's segment           remark
    from nobody's MAC that is known: an answer, or a question        second_owner   of the VIP
    from a backend's MAC: an answer                                  arp_ignore     of that backend
    from a backend's MAC: a question for another address             arp_announce   of that backend
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsrlb.health.naming import setup_line
from dsrlb.health.remarks import About, Remark, Remarks, claimed_by_asking
from dsrlb.model import Address, person_mac

CLAIM_FOR_S = 22.0  # each is told every ten seconds while it lasts
MAC_FOR_S = 60.0
OWNED = "vip_on_balancer"


class Remarking:
    """Makes them.  The main thread's."""

    def __init__(self, remarks: Remarks) -> None:
        self._remarks = remarks
        self._owned: frozenset[Address] = frozenset()

    def claimed(
        self, vip: Address, mac: str, interface: str, whose: Sequence[Address], *, by_asking: bool
    ) -> None:
        """Remark that another machine claims a VIP; ``whose``: the backends that have this MAC."""
        for about, remark in of_claim(vip, mac, interface, whose, by_asking):
            self._remarks.say(about, remark, CLAIM_FOR_S)

    def owned(self, said: Mapping[Address, str]) -> None:
        """Remark which VIPs are configured on this host, and of those alone."""
        for vip, sentence in said.items():
            self._remarks.say(About(vip), Remark(OWNED, sentence))
        for vip in self._owned - said.keys():
            self._remarks.take_back(About(vip), OWNED)
        self._owned = frozenset(said)

    def moved(self, macs: Mapping[Address, tuple[bytes, bytes]]) -> None:
        """Remark which backends have another MAC than before."""
        for address, (old, new) in macs.items():
            says = (
                f"packets for it went to {person_mac(old)}, and go to {person_mac(new)} now; "
                "see that this is the server"
            )
            self._remarks.say(About(None, address), Remark("server_mac", says), MAC_FOR_S)


def of_claim(
    vip: Address, mac: str, interface: str, whose: Sequence[Address], by_asking: bool
) -> list[tuple[About, Remark]]:
    """Return what a claim of a VIP by another machine says; ``whose``: the backends that have this MAC."""
    if not whose or vip.version == 6:  # a backend with the VIP on lo answers nobody by IPv6
        says = f"{mac} claims it on {interface}; {_off(vip)}"
        return [(About(vip, one), Remark("second_owner", says)) for one in whose or (None,)]
    if by_asking:
        return [(About(vip, one), claimed_by_asking(vip, mac, interface)) for one in whose]
    says = (
        f"{mac} answers ARP for {vip} on {interface}: arp_ignore is 0 there, or the VIP is on its interface "
        f"in place of lo; on the server: {setup_line('l2dsr', vip)}"
    )
    return [(About(vip, one), Remark("arp_ignore", says)) for one in whose]


def _off(vip: Address) -> str:
    return f"take it off there: ip addr del {vip}/{vip.max_prefixlen} dev …"
