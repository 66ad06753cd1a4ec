"""Is the answer to a translated packet, translated back, the answer to the packet that the client sent?"""

from __future__ import annotations

from ipaddress import ip_address

import balancer
import packets as p
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.datapath import process
from dsrlb.model import Action, ModeOptions, Reason
from dsrlb.state import State
from dsrlb.wire import ipv4, ipv6
from dsrlb.wire.packet import Packet

TABLES = {
    (vip, snat): balancer.table(
        [f"{host}:*", f"{host}:*/udp"],
        [f"{server},mac={p.SERVER_MACS[0]}"],
        "rr",
        mode="inline",
        options=ModeOptions(snat=snat),
    )
    for vip, host, server in ((p.VIP, p.VIP, p.SERVERS[0]), (p.VIP6, f"[{p.VIP6}]", p.SERVERS6[0]))
    for snat in (False, True)
}


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    is_v6 = draw(st.booleans())
    number = draw(st.integers(1, 2**16))
    client = (
        str(ip_address("2001:db8:9::") + number) if is_v6 else str(ip_address("198.19.0.0") + number % 65_000)
    )
    ports = {"sport": draw(st.integers(1, 65_535)), "dport": draw(st.integers(1, 65_535))}
    life = {"hlim" if is_v6 else "ttl": draw(st.integers(3, 255))}
    l4 = draw(st.sampled_from([p.TCP(flags="PA", **ports), p.UDP(**ports), p.UDP(chksum=0, **ports)]))
    head = p.ip(client, p.VIP6 if is_v6 else p.VIP, **life)
    return bytes(p.ether() / head / l4 / p.Raw(draw(st.binary(max_size=40))))


def parsed(frame: bytes) -> Packet:
    packet = (ipv4 if frame[14] >> 4 == 4 else ipv6).parse(frame, 14)
    assert isinstance(packet, Packet)
    return packet


def turned(frame: bytes, link: bytes) -> bytes:
    """Return a frame back: source and destination change places, which no checksum minds."""
    at, size = (26, 4) if frame[14] >> 4 == 4 else (22, 16)
    l4 = parsed(frame).l4_at
    ends = frame[at + size : at + 2 * size] + frame[at : at + size]
    ports = frame[l4 + 2 : l4 + 4] + frame[l4 : l4 + 2]
    return link + frame[12:at] + ends + frame[at + 2 * size : l4] + ports + frame[l4 + 4 :]


def without_life(frame: bytes) -> bytes:
    """Return the IP packet in a frame without its TTL, and the header checksum that goes with it."""
    ttl_at = 22 if frame[14] >> 4 == 4 else 21
    return frame[14:ttl_at] + (frame[23:24] + frame[26:] if ttl_at == 22 else frame[22:])


@given(requests(), st.booleans())
def test_reply_after_request_is_identity(frame: bytes, snat: bool) -> None:
    table, state = TABLES[p.VIP6 if frame[14] >> 4 == 6 else p.VIP, snat], State()
    action, reason, ifindex, out = process(frame, p.IFINDEX, table, state, 0)
    assert (action, reason, ifindex) == (Action.REDIRECT, Reason.FORWARDED, p.OTHER_IFINDEX)
    answer = turned(out, out[6:12] + out[:6])
    action, reason, ifindex, back = process(answer, p.OTHER_IFINDEX, table, state, 0)
    assert (action, reason, ifindex) == (Action.REDIRECT, Reason.REPLY_FORWARDED, p.IFINDEX)
    assert without_life(back) == without_life(turned(frame, bytes(12)))
    assert back[:12] == frame[6:12] + frame[:6]
    assert parsed(back)  # its header checksum is right
    life = 21 if frame[14] >> 4 == 6 else 22
    assert back[life] == frame[life] - 2
