"""One address plan for every test, and frames built by scapy (never by dsrlb).

::

    client 198.18.0.2 ---- router .0.1 | .1.1 ---- switch ---- balancer 02:00:c6:12:01:01
           2001:db8::2            MAC ...:01:00       |         VIP 198.18.1.100, 2001:db8:1::100
                                                      +------- backends .1.11 .1.12 .1.13
                            |                                  MAC ...:01:02, :03, :04
                            +--- far server 198.18.21.2, 2001:db8:21::2

    Behind the balancer's second interface, for mode inline:

    balancer 02:00:c6:12:02:01 ---- switch2 ---- servers .2.11 .2.12 .2.13, 2001:db8:2::11 ...
             198.18.2.1, 2001:db8:2::1           MAC ...:02:11, :12, :13
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scapy.layers.inet import (
    ICMP,
    IP,
    TCP,
    UDP,
    IPOption_LSRR,
    IPOption_NOP,
    IPOption_RR,
    IPOption_Timestamp,
)
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Padding, Raw

CLIENT, CLIENT6 = "198.18.0.2", "2001:db8::2"
ROUTER, ROUTER6 = "198.18.1.1", "2001:db8:1::1"
VIP, VIP6 = "198.18.1.100", "2001:db8:1::100"
OTHER_VIP = "198.18.1.101"
BALANCER_IP, BALANCER_IP6 = "198.18.1.10", "2001:db8:1::10"
BACKENDS = ("198.18.1.11", "198.18.1.12", "198.18.1.13")
BACKENDS6 = ("2001:db8:1::11", "2001:db8:1::12", "2001:db8:1::13")
FAR, FAR6 = "198.18.21.2", "2001:db8:21::2"  # a server behind the router
STRANGER, STRANGER6 = "198.18.1.66", "2001:db8:1::66"

ROUTER_MAC = "02:00:c6:12:01:00"
BALANCER_MAC = "02:00:c6:12:01:01"
BACKEND_MACS = ("02:00:c6:12:01:02", "02:00:c6:12:01:03", "02:00:c6:12:01:04")
STRANGER_MAC = "02:00:c6:12:01:66"
BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
SOLICITED, SOLICITED_MAC = "ff02::1:ff00:100", "33:33:ff:00:01:00"  # the group that VIP6 belongs to

INNER_MAC = "02:00:c6:12:02:01"
SERVERS, SERVERS6 = ("198.18.2.11", "198.18.2.12", "198.18.2.13"), ("2001:db8:2::11", "2001:db8:2::12")
SERVER_MACS = ("02:00:c6:12:02:11", "02:00:c6:12:02:12", "02:00:c6:12:02:13")
INNER_ROUTER, INNER_ROUTER6 = "198.18.2.99", "2001:db8:2::99"  # one on the servers' side

IFINDEX, OTHER_IFINDEX = 7, 9

__all__ = [
    "ARP",
    "ICMP",
    "IP",
    "TCP",
    "UDP",
    "Dot1AD",
    "Dot1Q",
    "Ether",
    "ICMPv6DestUnreach",
    "ICMPv6EchoReply",
    "ICMPv6EchoRequest",
    "ICMPv6NDOptDstLLAddr",
    "ICMPv6NDOptSrcLLAddr",
    "ICMPv6ND_NA",
    "ICMPv6ND_NS",
    "ICMPv6PacketTooBig",
    "ICMPv6ParamProblem",
    "ICMPv6TimeExceeded",
    "IPOption_LSRR",
    "IPOption_NOP",
    "IPOption_RR",
    "IPOption_Timestamp",
    "IPv6",
    "IPv6ExtHdrDestOpt",
    "IPv6ExtHdrFragment",
    "IPv6ExtHdrHopByHop",
    "IPv6ExtHdrRouting",
    "Packet",
    "Padding",
    "Raw",
]


def mac_bytes(mac: str) -> bytes:
    """Return the six bytes of a MAC."""
    return bytes.fromhex(mac.replace(":", ""))


def ether(src: str = ROUTER_MAC, dst: str = BALANCER_MAC, tags: Sequence[int] = ()) -> Packet:
    """Return an Ethernet header behind which come the VLAN tags given (two: the outer one is 802.1ad)."""
    head: Packet = Ether(src=src, dst=dst)
    for place, vlan in enumerate(tags):
        head = head / (Dot1AD(vlan=vlan) if place < len(tags) - 1 else Dot1Q(vlan=vlan))
    return head


def to_server(number: int = 0) -> Packet:
    """Return the Ethernet header of what the balancer sends to an inline server."""
    return ether(INNER_MAC, SERVER_MACS[number])


def from_server(number: int = 0) -> Packet:
    """Return the Ethernet header of what an inline server sends by way of the balancer."""
    return ether(SERVER_MACS[number], INNER_MAC)


def to_client(tags: Sequence[int] = ()) -> Packet:
    """Return the Ethernet header of what the balancer sends to the router on the client's side."""
    return ether(BALANCER_MAC, ROUTER_MAC, tags)


def ip(src: str | None = None, dst: str = VIP, **fields: Any) -> Packet:
    """Return an IPv4 or IPv6 header, from the client if no source is given."""
    if ":" in dst:
        return IPv6(src=src or CLIENT6, dst=dst, **fields)
    return IP(src=src or CLIENT, dst=dst, **fields)


def tcp(
    flags: str = "S",
    sport: int = 40_000,
    dport: int = 80,
    *,
    src: str | None = None,
    dst: str = VIP,
    load: bytes = b"",
    tags: Sequence[int] = (),
) -> Packet:
    """Return a TCP frame from the client to the VIP, by way of the router."""
    segment = TCP(sport=sport, dport=dport, flags=flags, seq=1, ack=1 if "A" in flags else 0)
    return ether(tags=tags) / ip(src, dst) / segment / Raw(load)


def udp(
    sport: int = 40_000,
    dport: int = 53,
    *,
    src: str | None = None,
    dst: str = VIP,
    load: bytes = b"query",
    tags: Sequence[int] = (),
) -> Packet:
    """Return a UDP frame from the client to the VIP."""
    return ether(tags=tags) / ip(src, dst) / UDP(sport=sport, dport=dport) / Raw(load)


def echo(dst: str = VIP, load: bytes = b"are you there?", tags: Sequence[int] = ()) -> Packet:
    """Return an echo request from the client."""
    ask = ICMPv6EchoRequest(id=7, seq=1, data=load) if ":" in dst else ICMP(type=8, id=7, seq=1) / Raw(load)
    return ether(tags=tags) / ip(None, dst) / ask


def answer_of(frame: Packet, load: bytes = b"x" * 64) -> Packet:
    """Return the IP packet that a backend sends in answer to a TCP or UDP frame: what errors quote."""
    asked = frame[IPv6] if IPv6 in frame else frame[IP]
    l4 = frame[TCP] if TCP in frame else frame[UDP]
    back = ip(asked.dst, asked.src)
    if TCP in frame:
        return back / TCP(sport=l4.dport, dport=l4.sport, flags="A", seq=1, ack=2) / Raw(load)
    return back / UDP(sport=l4.dport, dport=l4.sport) / Raw(load)


def error_about(frame: Packet, mtu_bytes: int = 1400, quote_bytes: int | None = None) -> Packet:
    """Return the error of a router: the backend's answer to this frame is too big for a link."""
    quote = bytes(answer_of(frame))
    if IPv6 in frame:
        error: Packet = ICMPv6PacketTooBig(mtu=mtu_bytes)
        return ether() / ip(ROUTER6, frame[IPv6].dst) / error / Raw(quote[:quote_bytes])
    error = ICMP(type=3, code=4, nexthopmtu=mtu_bytes)
    return ether() / ip(ROUTER, frame[IP].dst) / error / Raw(quote[: quote_bytes or 28])


def who_has(target: str = VIP, src: str = ROUTER, mac: str = ROUTER_MAC, dst: str = BROADCAST_MAC) -> Packet:
    """Return an ARP request."""
    return Ether(src=mac, dst=dst) / ARP(op=1, hwsrc=mac, psrc=src, hwdst="00:00:00:00:00:00", pdst=target)


def claims(address: str = VIP, mac: str = STRANGER_MAC) -> Packet:
    """Return the gratuitous ARP by which a stranger claims an address."""
    request = ARP(op=1, hwsrc=mac, psrc=address, hwdst="00:00:00:00:00:00", pdst=address)
    return Ether(src=mac, dst=BROADCAST_MAC) / request


def solicits(
    target: str = VIP6, src: str = ROUTER6, mac: str = ROUTER_MAC, tags: Sequence[int] = ()
) -> Packet:
    """Return a neighbour solicitation; from ``::`` it is duplicate address detection."""
    ask = ICMPv6ND_NS(tgt=target)
    option = ICMPv6NDOptSrcLLAddr(lladdr=mac)
    head = ether(mac, SOLICITED_MAC, tags) / IPv6(src=src, dst=SOLICITED, hlim=255)
    return head / ask if src == "::" else head / ask / option


def advertises(target: str = VIP6, mac: str = STRANGER_MAC) -> Packet:
    """Return the unsolicited neighbour advertisement by which a stranger claims an address."""
    head = Ether(src=mac, dst=ALL_NODES_MAC) / IPv6(src=STRANGER6, dst=ALL_NODES, hlim=255)
    return head / ICMPv6ND_NA(tgt=target, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac)


def pieces(frame: Packet, size_bytes: int = 64, ident: int = 0x1234) -> list[Packet]:
    """Cut a frame's IP payload into fragments of this many bytes (a multiple of 8), in order."""
    head = frame[IPv6] if IPv6 in frame else frame[IP]
    link, whole = bytes(frame)[: -len(bytes(head))], bytes(head)
    header_bytes = 40 if IPv6 in frame else (whole[0] & 15) * 4
    payload = whole[header_bytes:]
    cut: list[Packet] = []
    for at in range(0, len(payload), size_bytes):
        more = at + size_bytes < len(payload)
        if IPv6 in frame:
            piece: Packet = IPv6(src=head.src, dst=head.dst, hlim=head.hlim, nh=44) / IPv6ExtHdrFragment(
                nh=whole[6], offset=at >> 3, m=int(more), id=ident
            )
        else:
            piece = IP(src=head.src, dst=head.dst, id=ident, flags=int(more), frag=at >> 3, proto=head.proto)
        cut.append(Ether(link + bytes(piece / Raw(payload[at : at + size_bytes]))))
    return cut


def rebuilt(frame: Any) -> bytes:
    """Return a frame as scapy builds it, with checksums and lengths of its own computing."""
    again = frame.copy()
    for layer in again.layers():
        for field in ("chksum", "cksum", "len", "plen"):
            again[layer].fields.pop(field, None)
    return bytes(again)
