"""Owning a VIP on a segment: is it somebody else's, telling everybody that it is ours, looking again.

*Source*: RFC 5227 sections 2.1 and 2.3 (ARP probe, announcement), RFC 4862 section 5.4 (duplicate
address detection), RFC 4861 section 7.2.6 (unsolicited advertisement).
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address

from dsrlb.errors import DsrlbError, HostError
from dsrlb.host import frames
from dsrlb.host.descriptors import readable
from dsrlb.host.links import Link
from dsrlb.model import Address
from dsrlb.wire.ethernet import skip_tags

PROBES = 3  # RFC 5227 section 1.1, PROBE_NUM; sent closer together than its one second
ETH_P_ARP, ETH_P_IPV6 = 0x0806, 0x86DD
SO_ATTACH_FILTER, SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_MULTICAST = 26, 263, 1, 0
PACKET_OUTGOING = 4
ND_ADVERTISEMENT = 136

# Classic BPF: next header ICMPv6 (byte 20) and type 136, neighbour advertisement (byte 54); else nothing.
_ADVERTISEMENTS = (
    (0x30, 0, 0, 20),  # ldb [20]
    (0x15, 0, 3, 58),  # jne #58, drop
    (0x30, 0, 0, 54),  # ldb [54]
    (0x15, 0, 1, ND_ADVERTISEMENT),  # jne #136, drop
    (0x06, 0, 0, 0xFFFF),  # ret
    (0x06, 0, 0, 0),  # drop: ret #0
)


def find_owner(vip: Address, link: Link, timeout_s: float = 0.6) -> bytes | None:
    """Return the MAC of another machine that answers for the VIP on this link, or None.

    Takes ``timeout_s`` when nobody answers.  Raises DsrlbError when the link cannot be used.
    """
    with _listener(vip, link) as listener:
        start = time.monotonic()
        for number in range(1, PROBES + 1):
            _send_all(listener, (_probe(vip, link.mac),), link)
            owner = _listen(listener, vip, link.mac, start + timeout_s * number / PROBES)
            if owner is not None:
                return owner
    return None


def claimants(address: Address, link: Link, *, of_nobody: bool, timeout_s: float = 0.9) -> frozenset[bytes]:
    """Return the MACs of all other machines that answer for an address on this link; takes ``timeout_s``.

    ``of_nobody``: no other machine is to have it, so it is asked for by probes as well; a machine that is
    just taking an address for its own would give it up for a probe.  Raises DsrlbError.
    """
    asked = _question(address, link)
    if of_nobody or not asked:
        asked = (*asked, _probe(address, link.mac))
    found: set[bytes] = set()
    with _listener(address, link) as listener:
        start = time.monotonic()
        for number in range(1, PROBES + 1):
            _send_all(listener, asked, link)
            until = start + timeout_s * number / PROBES
            while (mac := _listen(listener, address, link.mac, until)) is not None:
                found.add(mac)
    return frozenset(found)


def _question(address: Address, link: Link) -> tuple[bytes, ...]:
    """Return the question of a neighbour, from this host's own address on that link; empty: it has none.

    An address of the same network as the other one's is taken, if there is any.
    """
    if isinstance(address, IPv4Address):
        beside = sorted(link.ipv4, key=lambda one: address not in one.network)[:1]
        return tuple(frames.arp_request(link.mac, one.ip, address) for one in beside)
    beside6 = sorted(link.ipv6, key=lambda one: address not in one.network)[:1]
    return tuple(frames.neighbour_solicitation(link.mac, one.ip, address) for one in beside6)


def announce(vips: Iterable[Address], link: Link) -> None:
    """Tell every neighbour that the VIPs are at this link's MAC.

    IPv4: gratuitous ARP in both forms; IPv6: an unsolicited advertisement with the override flag.
    Raises DsrlbError when the link cannot be used.
    """
    with _sender(link) as sender:  # one for all: closing a packet socket takes some 10 ms (synchronize_net)
        _send_all(sender, (frame for vip in vips for frame in _announcements(vip, link.mac)), link)


def probe(vips: Iterable[Address], link: Link) -> None:
    """Ask once whether somebody else has one of the VIPs; the packet engine hears the answer.

    Raises DsrlbError when the link cannot be used.
    """
    with _sender(link) as sender:
        _send_all(sender, (_probe(vip, link.mac) for vip in vips), link)


def claimant(frame: bytes, vip: Address) -> bytes | None:
    """Return the MAC of the machine that claims the VIP with this frame, or None; VLAN tags are skipped.

    ::

        ARP   14: header (6)  20: op (2)    22: sender MAC (6)  28: sender IP (4)  38: target IP (4)
        NA    14: IPv6 (40)   54: type 136  62: target (16)     sender: Ethernet source
    """
    _, payload_at = skip_tags(frame)
    frame = frame[:12] + frame[payload_at - 2 :]
    if isinstance(vip, IPv4Address):
        is_claim = frame[12:14] == b"\x08\x06" and frame[28:32] == vip.packed and len(frame) >= 42
        return frame[22:28] if is_claim else None
    is_advertisement = frame[12:14] == b"\x86\xdd" and frame[20:21] == b"\x3a" and frame[54:55] == b"\x88"
    return frame[6:12] if is_advertisement and frame[62:78] == vip.packed else None


def is_question(frame: bytes) -> bool:
    """Return whether a claim is made by asking for another address: ARP, not to announce its own."""
    _, payload_at = skip_tags(frame)
    arp = frame[payload_at:]
    is_request = frame[payload_at - 2 : payload_at] == b"\x08\x06" and arp[6:8] == b"\0\1"
    return is_request and arp[14:18] != arp[24:28]


@lru_cache(maxsize=1024)
def _probe(vip: Address, mac: bytes) -> bytes:
    if isinstance(vip, IPv4Address):
        return frames.arp_request(mac, IPv4Address(0), vip)
    return frames.neighbour_solicitation(mac, frames.UNSPECIFIED, vip)


@lru_cache(maxsize=1024)
def _announcements(vip: Address, mac: bytes) -> tuple[bytes, ...]:
    if isinstance(vip, IPv4Address):
        return frames.gratuitous_arp(mac, vip)
    return (frames.unsolicited_advertisement(mac, vip),)


def _sender(link: Link) -> socket.socket:
    """Open a packet socket that only sends."""
    return _packet_socket(link, 0)


def _listener(vip: Address, link: Link) -> socket.socket:
    """Open a packet socket that hears who claims the VIP.

    A probe is answered to its MAC, an IPv6 one to all nodes: so that group is joined.
    """
    if isinstance(vip, IPv4Address):
        return _packet_socket(link, ETH_P_ARP)
    listener = _packet_socket(link, ETH_P_IPV6, _ADVERTISEMENTS)
    group = frames.group_mac(frames.ALL_NODES)
    membership = struct.pack("=IHH8s", link.ifindex, PACKET_MR_MULTICAST, len(group), group)
    listener.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)
    return listener


def _packet_socket(
    link: Link, protocol: int, program: Iterable[tuple[int, int, int, int]] = ()
) -> socket.socket:
    """Open a packet socket on a link; the filter is on before the first frame can come."""
    try:
        packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise HostError("Sending ARP and neighbour discovery takes root (CAP_NET_RAW).") from error
    try:
        code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
        if code:
            memory = ctypes.create_string_buffer(code)
            fprog = struct.pack("HL", len(code) // 8, ctypes.addressof(memory))
            packet.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
        packet.bind((link.name, protocol))
    except OSError as error:
        packet.close()
        raise DsrlbError(_unusable(link, error)) from error
    return packet


def _send_all(sender: socket.socket, to_send: Iterable[bytes], link: Link) -> None:
    try:
        for frame in to_send:
            sender.send(frame)
    except OSError as error:
        raise DsrlbError(_unusable(link, error)) from error


def _unusable(link: Link, error: OSError) -> str:
    return f"Interface {link.name} cannot be used ({error.strerror}); is it there and up (ip link show)?"


def _listen(listener: socket.socket, vip: Address, own_mac: bytes, until: float) -> bytes | None:
    """Return the MAC of the first foreign claim that arrives until then (time.monotonic())."""
    while (left_s := until - time.monotonic()) > 0:
        if not readable([listener], left_s):
            return None
        frame, origin = listener.recvfrom(2048)
        mac = claimant(frame, vip)
        if origin[2] != PACKET_OUTGOING and mac not in (None, own_mac):
            return mac
    return None
