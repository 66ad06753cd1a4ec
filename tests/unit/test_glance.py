"""Is a frame called by what it is, also when it is cut or wrong?"""

from __future__ import annotations

import packets as p
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether

from dsrlb.model import person_address
from dsrlb.wire.glance import Glance, glance

LINK, REST = Ether(dst=p.BALANCER_MAC), b"x" * 40
IPV4, IPV6 = IP(src=p.CLIENT, dst=p.VIP), IPv6(src=p.CLIENT6, dst=p.VIP6)


def person(seen: Glance) -> tuple[str, ...]:
    ends = (person_address(one) if one else "" for one in (seen.src, seen.dst))
    ports = [str(int.from_bytes(seen.ports[at : at + 2], "big")) for at in (0, 2)] if seen.ports else []
    return (*ends, *ports, seen.kind, seen.says)


@pytest.mark.parametrize(
    ("frame", "called"),
    [
        (LINK / IPV4 / TCP(sport=40000, dport=80, flags="S"), (p.CLIENT, p.VIP, "40000", "80", "tcp", "SYN")),
        (LINK / Dot1Q() / IPV4 / UDP(sport=9, dport=53), (p.CLIENT, p.VIP, "9", "53", "udp", "")),
        (LINK / IPV6 / TCP(sport=1, dport=2, flags="FA"), (p.CLIENT6, p.VIP6, "1", "2", "tcp", "FIN ACK")),
        (
            LINK / IPV6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(m=1) / UDP(sport=7, dport=8),
            (p.CLIENT6, p.VIP6, "7", "8", "udp", ""),
        ),
        (LINK / IPV6 / IPv6ExtHdrFragment(offset=9, nh=17) / REST, (p.CLIENT6, p.VIP6, "udp", "later piece")),
        (LINK / IP(src=p.CLIENT, dst=p.VIP, frag=3, proto=6) / REST, (p.CLIENT, p.VIP, "tcp", "later piece")),
        (LINK / IPV4 / ICMP(), (p.CLIENT, p.VIP, "icmp", "echo request")),
        (LINK / IP(src=p.CLIENT, dst=p.VIP, proto=47) / b"x", (p.CLIENT, p.VIP, "protocol 47", "")),
        (LINK / ARP(psrc=p.ROUTER, pdst=p.VIP), (p.ROUTER, p.VIP, "arp", "who has")),
        (Ether(type=0x88CC) / b"x", ("", "", "ethertype 0x88cc", "")),
    ],
)  # fmt: skip
def test_a_frame_is_called_by_whose_it_is_and_what(frame: Ether, called: tuple[str, ...]) -> None:
    assert person(glance(bytes(frame))) == called


def test_what_is_wrong_with_a_frame_does_not_hide_whose_it_is() -> None:
    frame = bytes(LINK / IP(src=p.CLIENT, dst=p.VIP, chksum=1, len=9999) / TCP(sport=1, dport=80, flags="S"))
    assert person(glance(frame[:40])) == (p.CLIENT, p.VIP, "1", "80", "tcp", "")


@given(
    st.binary(max_size=120), st.sampled_from([b"", b"\x08\0\x45", b"\x86\xdd\x60", b"\x08\x06", b"\x81\0"])
)
def test_no_bytes_are_too_odd_to_be_looked_at(rest: bytes, kind: bytes) -> None:
    seen = glance(bytes(12) + kind + rest)
    assert len(seen.src) in (0, 16) and len(seen.dst) in (0, 16) and len(seen.ports) in (0, 4)
    assert seen.kind
