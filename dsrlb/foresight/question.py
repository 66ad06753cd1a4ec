"""The packet that is asked about, where nobody has one to show.

TCP with a SYN announces an MSS; IPv4 must not be cut (DF), as Linux sends it.
"""

from __future__ import annotations

from dataclasses import dataclass

from dsrlb.model import PROTOCOL_NUMBERS, V4_MAPPED, Address, wire_address
from dsrlb.wire import ipv4, ipv6, l4
from dsrlb.wire.checksum import checksum, pseudo_header
from dsrlb.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6

MOST_PAYLOAD_BYTES = 9000
_MSS_OPTION = bytes((2, 4))
_WINDOW = b"\xff\xff"


@dataclass(frozen=True)
class Question:
    """A client's packet."""

    client: Address
    sport: int
    vip: Address
    dport: int
    protocol: str  # "tcp", "udp"
    flags: int = l4.SYN
    payload_bytes: int = 0


def frame_of(asked: Question, link: bytes) -> bytes:
    """Return the frame of a packet behind the two MACs of a link header, to the balancer and from there."""
    src, dst, protocol = wire_address(asked.client), wire_address(asked.vip), PROTOCOL_NUMBERS[asked.protocol]
    ports = asked.sport.to_bytes(2, "big") + asked.dport.to_bytes(2, "big")
    is_v4 = src.startswith(V4_MAPPED)
    made = _tcp(ports, asked, is_v4=is_v4) if protocol == l4.TCP else _udp(ports, asked)
    sum_at = 16 if protocol == l4.TCP else 6
    total = checksum(pseudo_header(src, dst, len(made), protocol) + made)
    made = made[:sum_at] + total + made[sum_at + 2 :]
    if not is_v4:
        return link + ETHERTYPE_IPV6 + ipv6.header(src, dst, protocol, len(made)) + made
    head = ipv4.header(src, dst, protocol, len(made))
    return link + ETHERTYPE_IPV4 + head[:10] + checksum(head) + head[12:] + made


def _tcp(ports: bytes, asked: Question, *, is_v4: bool) -> bytes:
    mss = 1460 if is_v4 else 1440
    options = _MSS_OPTION + mss.to_bytes(2, "big") if asked.flags & l4.SYN else b""
    offset = (l4.TCP_HEADER_BYTES + len(options)) << 2
    acknowledged = b"\0\0\0\1" if asked.flags & l4.ACK else bytes(4)
    front = ports + b"\0\0\0\1" + acknowledged + bytes((offset, asked.flags)) + _WINDOW + bytes(4)
    return front + options + bytes(asked.payload_bytes)


def _udp(ports: bytes, asked: Question) -> bytes:
    length = l4.UDP_HEADER_BYTES + asked.payload_bytes
    return ports + length.to_bytes(2, "big") + bytes(2 + asked.payload_bytes)
