"""Does an ICMP error name the flow that it is about, and is an echo answered as it was asked?"""

from __future__ import annotations

from typing import Any

import packets as p
import pytest
from reading import CLIENT, CLIENT6, parsed

from dsrlb.wire import icmp


@pytest.mark.parametrize("dst", [p.VIP, p.VIP6])
@pytest.mark.parametrize("make", [p.tcp, p.udp])
def test_an_error_names_the_flow_as_the_client_sends_it(make: Any, dst: str) -> None:
    asked = make(dst=dst)
    error = p.error_about(asked)
    client, vip, protocol = parsed(asked)[:3]
    ports = bytes(asked)[parsed(asked).l4_at :][:4]
    assert icmp.quoted_flow(bytes(error), parsed(error)) == (client, ports, protocol)
    assert parsed(error).dst == vip


def test_eight_bytes_of_the_quoted_transport_are_enough_and_three_are_not() -> None:
    for quote_bytes, is_enough in ((28, True), (24, True), (23, False), (20, False), (19, False), (1, False)):
        error = p.error_about(p.tcp(), quote_bytes=quote_bytes)
        assert (icmp.quoted_flow(bytes(error), parsed(error)) is not None) is is_enough
    for quote_bytes, is_enough in ((44, True), (43, False), (39, False)):
        error = p.error_about(p.tcp(dst=p.VIP6), quote_bytes=quote_bytes)
        assert (icmp.quoted_flow(bytes(error), parsed(error)) is not None) is is_enough


def test_the_quoted_ports_are_found_behind_options_and_extension_headers() -> None:
    inner = p.IP(src=p.VIP, dst=p.CLIENT, options=[p.IPOption_NOP()] * 8) / p.TCP(sport=80, dport=40000)
    error = p.ether() / p.ip(p.ROUTER) / p.ICMP(type=11) / p.Raw(bytes(inner)[:36])
    assert icmp.quoted_flow(bytes(error), parsed(error)) == (CLIENT, bytes.fromhex("9c400050"), 6)
    inner6 = p.IPv6(src=p.VIP6, dst=p.CLIENT6) / p.IPv6ExtHdrDestOpt() / p.TCP(sport=80, dport=40000)
    error = p.ether() / p.ip(p.ROUTER6, p.VIP6) / p.ICMPv6PacketTooBig() / p.Raw(bytes(inner6))
    assert icmp.quoted_flow(bytes(error), parsed(error)) == (CLIENT6, bytes.fromhex("9c400050"), 6)


@pytest.mark.parametrize(
    "inner",
    [
        p.IP(src=p.CLIENT, dst=p.VIP) / p.TCP(),  # not from the VIP
        p.IP(src=p.OTHER_VIP, dst=p.CLIENT) / p.TCP(),  # from another VIP
        p.IP(src=p.VIP, dst=p.CLIENT, proto=47) / p.Raw(bytes(8)),
        p.IP(src=p.VIP, dst=p.CLIENT, proto=6, frag=10) / p.Raw(bytes(8)),
        p.IP(src=p.VIP, dst=p.CLIENT, ihl=4) / p.TCP(),
        p.IPv6(src=p.VIP6, dst=p.CLIENT6) / p.TCP(),
        p.Raw(bytes(64)),
    ],
)
def test_an_error_about_anything_else_names_no_flow(inner: p.Packet) -> None:
    error = p.ether() / p.ip(p.ROUTER) / p.ICMP(type=3, code=1) / p.Raw(bytes(inner))
    assert icmp.quoted_flow(bytes(error), parsed(error)) is None


def test_a_quoted_later_fragment_of_ipv6_names_no_flow() -> None:
    header = p.IPv6ExtHdrFragment(nh=6, offset=10, id=1)
    inner = p.IPv6(src=p.VIP6, dst=p.CLIENT6) / header / p.Raw(bytes(40))
    error = p.ether() / p.ip(p.ROUTER6, p.VIP6) / p.ICMPv6TimeExceeded() / p.Raw(bytes(inner))
    assert icmp.quoted_flow(bytes(error), parsed(error)) is None


@pytest.mark.parametrize("dst", [p.VIP, p.VIP6])
@pytest.mark.parametrize("length", [0, 1, 2, 55, 56, 1400, 1536])
def test_an_echo_reply_is_one_that_scapy_would_have_made(dst: str, length: int) -> None:
    asked = p.echo(dst, bytes(range(256)) * 6 if length == 1536 else bytes(length))
    reply = p.Ether(icmp.echo_reply(bytes(asked), 14, parsed(asked)))
    assert (reply.src, reply.dst) == (asked.dst, asked.src)
    ip = p.IPv6 if ":" in dst else p.IP
    assert (reply[ip].src, reply[ip].dst) == (asked[ip].dst, asked[ip].src)
    assert p.rebuilt(reply) == bytes(reply)
