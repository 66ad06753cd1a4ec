"""What tests of the packet socket share: namespaces, frames, the socket in one of them."""

import select
import struct
import subprocess
import time
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from lab_wire import TEST_PREFIX, inside

from dsrlb.frameio.af_packet import PacketSocket
from dsrlb.frameio.filter import Interest
from dsrlb.model import wire_address

PEER, LB, CLIENT, SERVER, SWITCH = (f"{TEST_PREFIX}{name}" for name in ("fp", "fl", "fc", "fr", "fs"))
PEER_MAC, LB_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
VIP4, VIP6 = "198.18.1.100", "2001:db8::64"
VIPS = [wire_address(ip_address(vip)) for vip in (VIP4, VIP6)]
DEADLINE_S = 30


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def namespaces(*names):
    made = []
    try:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)  # of a killed run
            ip("netns", "add", name)
            made.append(name)
            with inside(name):
                for key in ("all", "default"):  # no chatter of the kernel's own between our frames
                    Path(f"/proc/sys/net/ipv6/conf/{key}/accept_ra").write_text("0")
                    Path(f"/proc/sys/net/ipv6/conf/{key}/router_solicitations").write_text("0")
        yield
    finally:
        for name in made:
            ip("netns", "del", name)


@contextmanager
def packets(vips=VIPS, **ring):
    with inside(LB):
        opened = PacketSocket("e0", Interest(tuple(vips)), **ring)
    with opened:
        yield opened


def ipv4(payload=b"", destination=VIP4, mac=LB_MAC, tags=b""):
    head = (
        struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, 17, 0)
        + ip_address("198.18.0.2").packed
    )
    return mac + PEER_MAC + tags + b"\x08\x00" + head + ip_address(destination).packed + payload


def ipv6(payload=b"", following=17, destination=VIP6, mac=LB_MAC):
    head = struct.pack("!IHBB", 0x60000000, len(payload), following, 255) + ip_address("2001:db8::2").packed
    return mac + PEER_MAC + b"\x86\xdd" + head + ip_address(destination).packed + payload


def arp(target):
    head = bytes.fromhex("0001080006040001") + PEER_MAC + ip_address("198.18.1.1").packed
    return b"\xff" * 6 + PEER_MAC + b"\x08\x06" + head + bytes(6) + ip_address(target).packed


def solicitation(target, mac):
    body = bytes((135, 0, 0, 0, 0, 0, 0, 0)) + ip_address(target).packed
    return ipv6(body, 58, "ff02::1:ff00:64", mac)


def gather(packet_socket, count):
    """``count`` frames, and whatever came with them."""
    frames, deadline = [], time.monotonic() + DEADLINE_S
    while len(frames) < count and time.monotonic() < deadline:
        select.select([packet_socket], [], [], 0.05)
        frames += packet_socket.receive()
    return frames
