"""Is it heard when a server says by ICMP that it does not unwrap, and nothing else taken for that?"""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6ParamProblem, IPv6

from dsrlb.doctor.ears import refuses_tunnel

US, SERVER, OTHER, VIP = "198.18.1.10", "198.18.21.2", "198.18.22.2", "198.18.10.1"
US6, SERVER6, VIP6 = "2001:db8:1::10", "2001:db8:21::2", "2001:db8:10::1"
WRAPPED = IP(src=US, dst=SERVER) / IP(src=US, dst=VIP) / TCP()
WRAPPED6 = IPv6(src=US6, dst=SERVER6) / IPv6(src=US6, dst=VIP6) / TCP()


@pytest.mark.parametrize(
    ("message", "is_refusal"),
    (
        (ICMP(type=3, code=2) / WRAPPED, True),
        (ICMP(type=3, code=3) / WRAPPED, True),
        (ICMP(type=3, code=3) / IP(src=US, dst=SERVER) / UDP(dport=6080), True),
        (ICMP(type=3, code=1) / WRAPPED, False),  # no such host
        (ICMP(type=3, code=4) / WRAPPED, False),  # too long
        (ICMP(type=3, code=2) / IP(src=US, dst=OTHER) / IP(dst=VIP), False),  # about another one's
        (ICMP(type=3, code=3) / IP(src=US, dst=SERVER) / TCP(), False),
        (ICMP(type=3, code=2), False),
    ),
)
def test_a_server_that_does_not_unwrap_is_heard(message: ICMP, is_refusal: bool) -> None:
    assert refuses_tunnel(bytes(message), ip_address(SERVER)) is is_refusal


@pytest.mark.parametrize(
    ("error", "is_refusal"),
    (
        (ICMPv6ParamProblem(code=1), True),
        (ICMPv6DestUnreach(code=4), True),
        (ICMPv6DestUnreach(code=3), False),
    ),
)
def test_one_of_ipv6_is_heard(error: ICMPv6DestUnreach, is_refusal: bool) -> None:
    message = bytes(IPv6(src=SERVER6, dst=US6) / error / WRAPPED6)[40:]
    assert refuses_tunnel(message, ip_address(SERVER6)) is is_refusal
