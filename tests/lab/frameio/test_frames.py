"""Do exactly the frames that are wanted arrive, whole and in order, by the real kernel?"""

import struct
from ipaddress import ip_address

import pytest
from lab_packets import (
    LB_MAC,
    PEER,
    PEER_MAC,
    VIP4,
    VIP6,
    VIPS,
    arp,
    gather,
    ipv4,
    ipv6,
    packets,
    solicitation,
)
from lab_wire import inside

from dsrlb.frameio import af_packet
from dsrlb.frameio.af_packet import PacketSocket
from dsrlb.frameio.filter import Interest, coarse
from dsrlb.frameio.vnet import NO_VNET, VNET
from dsrlb.model import wire_address


def test_only_frames_that_concern_a_vip_arrive(wire):
    wanted = [
        ipv4(b"a"),
        ipv6(b"b"),
        arp(VIP4),
        solicitation(VIP6, bytes.fromhex("3333ff000064")),
        ipv4(b"c", tags=b"\x88\xa8\x00\x14\x81\x00\x00\x0a"),
    ]
    unwanted = [
        ipv4(b"d", destination="198.18.1.101"),
        ipv4(b"e", mac=bytes.fromhex("020000000009")),
        ipv6(b"f", destination="2001:db8::65"),
        arp("198.18.1.101"),
        solicitation("2001:db8::65", bytes.fromhex("3333ff000065")),
        ipv4(b"g")[:20],
    ]
    with packets() as lb:
        lb.send_all([(NO_VNET, ipv4(b"h"))])  # its own frames are none of its business
        for frame in [*unwanted, *wanted]:
            wire.send(NO_VNET + frame)
        assert gather(lb, len(wanted)) == [(NO_VNET, frame) for frame in wanted]
        assert lb.receive() == []


def test_250_vips_of_each_family_fit_the_kernel(wire):
    v4 = [ip_address("198.18.4.0") + i for i in range(250)]
    v6 = [ip_address("2001:db8:1::") + i for i in range(250)]
    with packets([wire_address(vip) for vip in (*v4, *v6)]) as lb:
        for last in (250, 249):
            wire.send(NO_VNET + ipv4(destination=str(v4[0] + last)))
            wire.send(NO_VNET + ipv6(destination=str(v6[0] + last)))
        assert [frame for _, frame in gather(lb, 2)] == [ipv4(destination=v4[249]), ipv6(destination=v6[249])]


def test_the_vips_can_be_changed_while_it_runs(wire):
    with packets() as lb:
        lb.set_interest(Interest((wire_address(ip_address("198.18.1.101")),)))
        wire.send(NO_VNET + ipv4())
        wire.send(NO_VNET + ipv4(destination="198.18.1.101"))
        assert gather(lb, 1) == [(NO_VNET, ipv4(destination="198.18.1.101"))]


def test_a_kernel_that_has_no_room_for_the_exact_filter_gets_the_coarse_one(wire, monkeypatch):
    attach, attached = af_packet.attach_filter, []

    def attach_small(target, program):
        if len(program) > 60:
            raise OSError(12, "Cannot allocate memory")
        attached.append(program)
        attach(target, program)

    monkeypatch.setattr(af_packet, "attach_filter", attach_small)
    with packets() as lb:
        assert attached == [coarse(Interest(tuple(VIPS)))]
        wire.send(NO_VNET + ipv4(destination="198.18.1.101"))
        assert len(gather(lb, 1)) == 1


@pytest.mark.parametrize("tags", ["8100000a", "88a80014", "81004fff", "88a800148100000a"])
def test_vlan_tags_are_back_in_the_frame(wire, tags):
    frame = ipv4(b"payload", tags=bytes.fromhex(tags))
    with packets() as lb:
        wire.send(NO_VNET + frame)
        assert gather(lb, 1) == [(NO_VNET, frame)]


@pytest.mark.parametrize("tags", ["", "8100000a"])
def test_a_partial_checksum_stays_partial_and_points_at_the_same_place(wire, tags):
    tags = bytes.fromhex(tags)
    vnet = VNET.pack(1, 0, 0, 0, 34 + len(tags), 6)
    frame = ipv4(bytes(30), tags=tags)
    with packets() as lb:
        wire.send(vnet + frame)
        assert gather(lb, 1) == [(vnet, frame)]


def without_hdr_len(vnet):
    """The kernel gives the length of the linear part of its buffer: more than the headers."""
    return vnet[:2] + vnet[4:]


@pytest.mark.parametrize("tags", ["", "8100000a"])
def test_frames_larger_than_a_slot_arrive_whole_and_in_their_place(wire, tags):
    tags = bytes.fromhex(tags)
    segments = struct.pack("!HHIIBBHHH", 1, 2, 0, 0, 0x50, 0x10, 500, 0, 0)
    vnet = VNET.pack(1, 1, 54 + len(tags), 1448, 34 + len(tags), 16)  # GSO_TCPV4
    sent = []
    for i in range(40):
        sent.append((NO_VNET, ipv4(bytes((i,)))))
        large = ipv4(segments + bytes((i,)) * (1500 * (i + 1)), tags=tags)
        large = large[: 23 + len(tags)] + b"\x06" + large[24 + len(tags) :]
        sent.append((vnet, large))
    with packets(slots=128) as lb:
        for header, frame in sent:
            wire.send(header + frame)
        arrived = gather(lb, len(sent))
    assert [frame for _, frame in arrived] == [frame for _, frame in sent]
    for (arrived_vnet, _), (sent_vnet, _) in zip(arrived, sent, strict=True):
        assert without_hdr_len(arrived_vnet) == without_hdr_len(sent_vnet)


def test_the_ring_goes_round_and_counts_what_it_could_not_take(wire):
    with packets(slots=32) as lb:
        for start in range(0, 240, 24):
            frames = [ipv4(bytes((i,)) * 40) for i in range(start, start + 24)]
            for frame in frames:
                wire.send(NO_VNET + frame)
            assert [frame for _, frame in gather(lb, 24)] == frames
        assert lb.drops() == 0
        for i in range(100):
            wire.send(NO_VNET + ipv4(bytes((i,))))
        assert [frame[-1] for _, frame in gather(lb, 32)] == list(range(32))
        assert lb.drops() == 68
        assert lb.drops() == 68
        wire.send(NO_VNET + ipv4(b"again"))
        assert gather(lb, 1) == [(NO_VNET, ipv4(b"again"))]


def test_no_more_frames_than_asked_for_are_taken(wire):
    with packets() as lb:
        for i in range(5):
            wire.send(NO_VNET + ipv4(bytes((i,))))
        gathered = [lb.receive(2) for _ in range(4)]
        assert [len(frames) for frames in gathered] == [2, 2, 1, 0]


def test_a_frame_that_fails_does_not_hold_back_the_next(wire):
    with packets() as lb, inside(PEER), PacketSocket("e0", Interest(tuple(VIPS))) as peer:
        out = PEER_MAC + LB_MAC + ipv4()[12:]
        queue = []
        for i in range(600):
            queue.append((NO_VNET, out + i.to_bytes(2, "big")))
            if i % 100 == 0:
                queue.append((NO_VNET, out + bytes(1500)))  # larger than the MTU
                queue.append((NO_VNET, out[:9]))  # no Ethernet header
                queue.append((VNET.pack(0, 77, 0, 0, 0, 0), out))  # a kind of GSO that is not
        assert lb.send_all(queue) == (600, 6, 12)
        assert lb.send_all([]) == (0, 0, 0)
        arrived = [frame[-2:] for _, frame in gather(peer, 600)]
        assert arrived == [i.to_bytes(2, "big") for i in range(600)]
