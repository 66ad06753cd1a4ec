"""L3 DSR by someone who has never seen dsrlb: what a server gets, and when a client is told.

``received`` takes what was sent to a server and returns the client's packet as the server's kernel has it in
the end; ``told`` says which size the sender of a packet that does not fit must hear.  Both know only RFCs:
2003, 2473 and 4213 (headers, sizes), 6040 (ECN), 768 and 8200 (UDP), draft-ietf-intarea-gue-09.
"""

from __future__ import annotations

from struct import unpack_from

from reassembly import ones_sum, reassembled_ipv4, reassembled_ipv6

OVERHEAD = {"ipip": 0, "gue": 12, "gue1": 8}


def told(packet: bytes, server: bytes, encap: str, mtu: int) -> int | None:
    """Return the size that the sender must be told; None: the packet must get there."""
    fits = mtu - (20 if len(server) == 4 else 40) - OVERHEAD[encap]
    if packet[0] >> 4 == 6:
        return max(fits, 1280) if len(packet) > max(fits, 1280) else None
    return fits if len(packet) > fits and packet[6] & 0x40 else None


def received(sent: list[bytes], own: bytes, server: bytes, encap: str, mtu: int, port: int = 6080) -> bytes:
    """Return the packet that a server gets from these packets; AssertionError if one of them is wrong."""
    assert all(len(packet) <= mtu for packet in sent)
    was_cut = sent[0][6] == 44 if len(server) == 16 else bool(unpack_from("!H", sent[0], 6)[0] & 0x2000)
    if was_cut:
        sent = [reassembled_ipv6(sent) if len(server) == 16 else reassembled_ipv4(sent)]
    inner = [unwrapped(packet, own, server, encap, port, was_cut) for packet in sent]
    return inner[0] if len(inner) == 1 else reassembled_ipv4(inner)


def unwrapped(outer: bytes, own: bytes, server: bytes, encap: str, port: int, was_cut: bool) -> bytes:
    """Return what is inside of a packet from the balancer to this server."""
    if len(server) == 4:
        version_ihl, tos, length, place, ttl, protocol = unpack_from("!BBH2xHBB", outer)
        assert (version_ihl, length, ttl) == (0x45, len(outer), 64)
        assert place == (0 if was_cut else 0x4000)
        assert ones_sum(outer[:20]) == 0xFFFF
        assert outer[12:20] == own + server
        payload = outer[20:]
    else:
        word, length, protocol, hops = unpack_from("!IHBB", outer)
        assert (word >> 28, length, hops) == (6, len(outer) - 40, 64)
        assert outer[8:40] == own + server
        tos, payload = word >> 20 & 0xFF, outer[40:]
    if encap != "ipip":
        assert protocol == 17
        sport, dport, length, total = unpack_from("!HHHH", payload)
        assert (dport, length) == (port, len(payload))
        assert sport >= 49_152
        pseudo = own + server + len(payload).to_bytes(4, "big") + b"\0\0\0\x11"
        assert total == 0 if len(server) == 4 else total and ones_sum(pseudo + payload) == 0xFFFF
        payload = payload[8:]
    if encap == "gue":
        assert payload[:2] + payload[2:4] == bytes((0, payload[1], 0, 0))
        protocol, payload = payload[1], payload[4:]
    version = payload[0] >> 4
    assert encap == "gue1" or protocol == {4: 4, 6: 41}[version]
    assert tos == (payload[1] if version == 4 else (payload[0] << 4 | payload[1] >> 4) & 0xFF)
    return payload
