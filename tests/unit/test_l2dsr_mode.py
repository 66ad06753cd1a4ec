"""Does the L2 DSR mode change the MAC addresses and nothing else, and ask the right things of a server?"""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from dsrlb.model import Hop, ModeOptions, ServerOptions
from dsrlb.modes.l2dsr import L2DSR, host_steps, rewrite

ROUTER = bytes.fromhex("0200c6120101")
BALANCER = bytes.fromhex("0200c6120102")
SERVER = bytes.fromhex("0200c6120103")
HOP = Hop(ifindex=2, src_mac=BALANCER, dst_mac=SERVER)


@pytest.mark.parametrize(
    "rest", [b"\x08\x00", b"\x08\x00" + bytes(range(256)) * 6, b"\x86\xdd" + b"\xff" * 40]
)
def test_only_the_first_twelve_bytes_change(rest: bytes) -> None:
    sent = rewrite(BALANCER + ROUTER + rest, HOP)
    assert sent == SERVER + BALANCER + rest


def test_the_mode_adds_no_byte_and_needs_the_servers_on_the_same_link() -> None:
    frame = BALANCER + ROUTER + b"\x08\x00" + bytes(46)
    assert len(rewrite(frame, HOP)) - len(frame) == L2DSR.overhead_bytes(ModeOptions(), 4) == 0
    assert L2DSR.needs_same_link
    assert L2DSR.name == "l2dsr"


def test_an_ipv4_server_is_silenced_before_it_gets_the_vip() -> None:
    steps = host_steps(ip_address("198.18.0.10"), ServerOptions())
    assert [(step.kind, step.target, step.value) for step in steps] == [
        ("sysctl", "net.ipv4.conf.all.arp_ignore", "1"),
        ("sysctl", "net.ipv4.conf.all.arp_announce", "2"),
        ("address", "lo", "198.18.0.10/32"),
    ]


def test_an_ipv6_server_needs_only_the_vip_and_never_prefers_it_as_a_source() -> None:
    (step,) = host_steps(ip_address("2001:db8::10"), ServerOptions())
    assert (step.kind, step.target, step.value) == ("address", "lo", "2001:db8::10/128 preferred_lft 0")
