"""Is every checksum right whatever the packet, and does translating back give what there was?"""

from __future__ import annotations

from struct import pack, unpack_from

from hypothesis import given
from hypothesis import strategies as st

from dsrlb.wire import ipv4, ipv6
from dsrlb.wire.packet import Packet
from dsrlb.wire.readdress import Ends, ends_of_reply, ends_of_request, readdressed

LINK, OTHER_LINK = bytes(range(12)), bytes(range(20, 32))
TCP, UDP = 6, 17
SUM_AT = {TCP: 16, UDP: 6}
MAPPED = bytes(10) + b"\xff\xff"


def total(*blocks: bytes) -> int:
    """Return the one's complement sum of blocks, added up word by word."""
    words = b"".join(block + b"\0" * (len(block) % 2) for block in blocks)
    added: int = sum(unpack_from(f"!{len(words) // 2}H", words))
    while added >> 16:
        added = (added & 0xFFFF) + (added >> 16)
    return added


def pseudo(src: bytes, dst: bytes, protocol: int, segment: bytes) -> bytes:
    return src + dst + pack("!IHH", len(segment), 0, protocol)


def finished(segment: bytes, protocol: int, head: bytes, is_partial: bool = False) -> bytes:
    """Return a segment with the checksum that its sender, or its sender's hardware, writes."""
    at = SUM_AT[protocol]
    blank = segment[:at] + b"\0\0" + segment[at + 2 :]
    number = total(head) if is_partial else total(head, blank) ^ 0xFFFF
    if protocol == UDP and not is_partial:
        number = number or 0xFFFF
    return blank[:at] + pack("!H", number) + blank[at + 2 :]


def packet_of(
    version: int, protocol: int, src: bytes, dst: bytes, ports: bytes, ttl: int, filling: bytes, kind: str
) -> bytes:
    """Return a frame; ``kind``: how its transport checksum is (``right``, ``none``, ``partial``)."""
    rest = filling[8:20] if protocol == TCP else pack("!H", 8 + len(filling)) + b"\0\0"
    segment = ports + rest.ljust(16 if protocol == TCP else 4, b"\0") + filling
    if kind != "none" or protocol == TCP:
        segment = finished(segment, protocol, pseudo(src, dst, protocol, segment), kind == "partial")
    if version == 6:
        head = b"\x60" + filling[:3].ljust(3, b"\0") + pack("!HBB", len(segment), protocol, ttl) + src + dst
        return LINK + b"\x86\xdd" + head + segment
    options = filling[:4].ljust(4, b"\x01")
    head = b"\x46\0" + pack("!H", 24 + len(segment)) + filling[:4].ljust(4, b"\0") + bytes((ttl, protocol))
    head = head[:6] + b"\x40\0" + head[8:]  # never a piece
    head += b"\0\0" + src[12:] + dst[12:] + options
    head = head[:10] + pack("!H", total(head) ^ 0xFFFF) + head[12:]
    return LINK + b"\x08\0" + head + segment


def parsed(frame: bytes) -> Packet:
    packet = (ipv4 if frame[14] >> 4 == 4 else ipv6).parse(frame, 14)
    assert isinstance(packet, Packet), packet
    return packet


def is_right(frame: bytes) -> bool:
    """Return whether all checksums of a frame add up."""
    packet = parsed(frame)  # which looks at the IPv4 header's
    segment = frame[packet.l4_at : packet.end]
    if packet.protocol == UDP and segment[6:8] == b"\0\0":
        return True
    return total(pseudo(packet.src, packet.dst, packet.protocol, segment), segment) == 0xFFFF


V4 = st.binary(min_size=4, max_size=4).map(lambda tail: MAPPED + tail)
V6 = st.binary(min_size=15, max_size=15).map(lambda tail: b"\x20" + tail)
PORTS = st.binary(min_size=4, max_size=4)
FILLING = st.binary(max_size=60)


@st.composite
def cases(draw: st.DrawFn, kinds: tuple[str, ...] = ("right",)) -> tuple[bytes, Ends]:
    version, protocol = draw(st.sampled_from([(4, TCP), (4, UDP), (6, TCP), (6, UDP)]))
    address = V4 if version == 4 else V6
    fields = draw(st.tuples(address, address, PORTS, st.integers(3, 255), FILLING, st.sampled_from(kinds)))
    return packet_of(version, protocol, *fields), draw(st.builds(Ends, address, address, PORTS))


def sent(frame: bytes, ends: Ends, is_partial: bool = False) -> bytes:
    return readdressed(frame, 14, parsed(frame), OTHER_LINK + frame[12:14], ends, is_partial=is_partial)


@given(cases(("right", "none")))
def test_every_checksum_is_right_again(case: tuple[bytes, Ends]) -> None:
    frame, ends = case
    out = sent(frame, ends)
    packet = parsed(out)
    assert is_right(frame)
    assert is_right(out)
    assert Ends(packet.src, packet.dst, out[packet.l4_at : packet.l4_at + 4]) == ends
    assert out[:12] == OTHER_LINK


@given(cases())
def test_a_checksum_by_difference_is_the_one_computed_from_scratch(case: tuple[bytes, Ends]) -> None:
    frame, ends = case
    packet, out = parsed(frame), sent(frame, ends)
    at, version = packet.l4_at, frame[14] >> 4
    segment = ends.ports + frame[at + 4 : packet.end]
    whole = finished(segment, packet.protocol, pseudo(ends.src, ends.dst, packet.protocol, segment))
    assert out[at : packet.end] == whole
    if version == 4:
        assert total(out[14:24], out[26:at]) ^ 0xFFFF == int.from_bytes(out[24:26], "big")


@given(cases(("none",)))
def test_udp_without_a_checksum_stays_without(case: tuple[bytes, Ends]) -> None:
    frame, ends = case
    packet = parsed(frame)
    if packet.protocol == UDP:
        assert sent(frame, ends)[packet.l4_at + 6 : packet.l4_at + 8] == b"\0\0"


@given(cases(("partial",)))
def test_a_checksum_left_to_the_hardware_is_right_when_the_hardware_has_finished_it(
    case: tuple[bytes, Ends],
) -> None:
    frame, ends = case
    packet, out = parsed(frame), sent(frame, ends, is_partial=True)
    segment = out[packet.l4_at : packet.end]
    done = pack("!H", total(segment) ^ 0xFFFF or 0xFFFF)  # from csum_start to the end, as virtio says
    at = packet.l4_at + SUM_AT[packet.protocol]
    assert is_right(out[:at] + done + out[at + 2 :])


@given(cases(("right", "none")))
def test_translating_back_gives_the_packet_that_came_two_hops_older(case: tuple[bytes, Ends]) -> None:
    frame, ends = case
    packet = parsed(frame)
    own = Ends(packet.src, packet.dst, frame[packet.l4_at : packet.l4_at + 4])
    back = sent(sent(frame, ends), own)
    ttl_at = 22 if frame[14] >> 4 == 4 else 21
    assert (back[ttl_at], back[packet.l4_at :]) == (frame[ttl_at] - 2, frame[packet.l4_at :])
    assert back[14:ttl_at] == frame[14:ttl_at]
    assert (
        back[26 if frame[14] >> 4 == 4 else 22 : packet.l4_at]
        == (frame[26 if frame[14] >> 4 == 4 else 22 : packet.l4_at])
    )


@given(cases(("right",)), st.integers(0, 2**16), st.integers(1, 255))
def test_damage_on_the_way_here_is_not_mended(case: tuple[bytes, Ends], place: int, change: int) -> None:
    frame, ends = case
    packet = parsed(frame)
    at = packet.l4_at + place % (packet.end - packet.l4_at)
    if packet.protocol == UDP and 4 <= at - packet.l4_at < 8:
        return  # a length of its own, or a checksum that may become "none"
    damaged = frame[:at] + bytes((frame[at] ^ change,)) + frame[at + 1 :]
    assert not is_right(damaged)
    assert not is_right(sent(damaged, ends))


@given(st.binary(min_size=40, max_size=40))
def test_the_two_names_of_a_flow_say_the_ends_of_its_packets(key: bytes) -> None:
    request = ends_of_request(key)
    assert request.dst + request.src + request.ports[2:] + request.ports[:2] == key[:36]
    reply = ends_of_reply(key)
    assert reply.dst + reply.src + reply.ports[2:] + reply.ports[:2] == key[:36]
