"""``wire``: one cable between two namespaces, for the tests of the packet socket."""

import socket

import pytest
from lab_packets import LB, LB_MAC, PEER, PEER_MAC, ip, namespaces
from lab_wire import inside

from dsrlb.frameio import af_packet


@pytest.fixture
def wire():
    """One cable: PEER e0 -- e0 LB; gives a raw socket at the peer's end."""
    with namespaces(PEER, LB):
        peer = ["peer", "name", "e0", "netns", PEER, "address", PEER_MAC.hex(":")]
        ip("link", "add", "e0", "netns", LB, "address", LB_MAC.hex(":"), "type", "veth", *peer)
        for name in (PEER, LB):
            ip("-n", name, "link", "set", "e0", "up")
        with inside(PEER), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
            raw.setsockopt(af_packet.SOL_PACKET, af_packet.PACKET_VNET_HDR, 1)
            raw.bind(("e0", 0))
            yield raw
