"""Does the packet socket keep its promises on the real kernel, over veth, in namespaces of its own?"""

import hashlib
import os
import select
import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from lab_wire import TEST_PREFIX, inside

from dsrlb.errors import ConfigError
from dsrlb.frameio import af_packet
from dsrlb.frameio.af_packet import PacketSocket
from dsrlb.frameio.filter import coarse_filter
from dsrlb.frameio.vnet import NO_VNET, VNET
from dsrlb.model import wire_address

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces"),
]

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


@contextmanager
def packets(vips=VIPS, **ring):
    with inside(LB):
        opened = PacketSocket("e0", vips, **ring)
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
        lb.set_vips([wire_address(ip_address("198.18.1.101"))])
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
        assert attached == [coarse_filter(True, True)]
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
    with packets() as lb, inside(PEER), PacketSocket("e0", VIPS) as peer:
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


def test_it_outlives_the_interface_going_down_and_up(wire):
    with packets() as lb:
        waiting = select.poll()
        waiting.register(lb, select.POLLIN)
        ip("-n", LB, "link", "set", "e0", "down")
        assert waiting.poll(1000 * DEADLINE_S) == [(lb.fileno(), select.POLLERR)]
        assert lb.receive() == []
        assert waiting.poll(0) == []
        assert lb.send_all([(NO_VNET, ipv4()), (NO_VNET, ipv4())]) == (0, 0, 2)
        assert lb.present()
        ip("-n", LB, "link", "set", "e0", "up")
        wire.send(NO_VNET + ipv4())
        assert gather(lb, 1) == [(NO_VNET, ipv4())]


def test_a_vanished_interface_is_told_by_present(wire):
    with packets() as lb:
        ip("-n", LB, "link", "del", "e0")
        assert not lb.present()
        assert lb.receive() == []
        assert lb.send_all([(NO_VNET, ipv4())]) == (0, 0, 1)
        assert lb.drops() == 0


def test_it_can_be_opened_while_the_interface_is_down(wire):
    ip("-n", LB, "link", "set", "e0", "down")
    with packets() as lb:
        ip("-n", LB, "link", "set", "e0", "up")
        wire.send(NO_VNET + ipv4())
        assert gather(lb, 1) == [(NO_VNET, ipv4())]


def taps_and_descriptors():
    with inside(LB):
        taps = Path("/proc/thread-self/net/packet").read_text().splitlines()
    return len(taps), len(list(Path("/proc/self/fd").iterdir()))


def test_closing_gives_everything_back(wire):
    before = taps_and_descriptors()
    with packets() as lb:
        with inside(LB):
            lb.join_solicited_node(VIPS[1])
        assert taps_and_descriptors() > before
    lb.close()
    assert taps_and_descriptors() == before


def addresses_listened_to():
    shown = subprocess.run(["ip", "-n", LB, "maddr", "show", "dev", "e0"], capture_output=True, text=True)
    return shown.stdout.split()


@pytest.mark.parametrize("ipv6_off", [False, True])
def test_neighbour_solicitations_are_asked_for_at_nic_and_switch(wire, ipv6_off):
    with inside(LB):
        Path("/proc/sys/net/ipv6/conf/e0/disable_ipv6").write_text(str(int(ipv6_off)))
    vip = wire_address(ip_address("2001:db8::12:3456"))
    with packets() as lb:
        with inside(LB):
            lb.join_solicited_node(vip)
        assert "33:33:ff:12:34:56" in addresses_listened_to()
        assert ipv6_off or "ff02::1:ff12:3456" in addresses_listened_to()
    assert "33:33:ff:12:34:56" not in addresses_listened_to()


@pytest.mark.parametrize(
    ("interface", "sentence"), [("none0", "There is no interface none0"), ("lo", "not an Ethernet interface")]
)
def test_an_interface_that_will_not_do_is_refused(wire, interface, sentence):
    before = taps_and_descriptors()
    with inside(LB), pytest.raises(ConfigError, match=sentence):
        PacketSocket(interface, VIPS)
    assert taps_and_descriptors() == before


@pytest.fixture
def segment():
    """client, balancer and real server on one switch; the VIPs on the server's lo."""
    hosts = {CLIENT: 2, LB: 10, SERVER: 11}
    with namespaces(SWITCH, *hosts):
        ip("-n", SWITCH, "link", "add", "br0", "up", "type", "bridge", "mcast_snooping", "0")
        for name, number in hosts.items():
            end = ["peer", "name", f"p{number}", "netns", SWITCH]
            ip(
                "link",
                "add",
                "e0",
                "netns",
                name,
                "address",
                f"02:00:00:00:00:{number}",
                "type",
                "veth",
                *end,
            )
            ip("-n", SWITCH, "link", "set", f"p{number}", "master", "br0", "up")
            ip("-n", name, "addr", "add", f"198.18.1.{number}/24", "dev", "e0")
            ip("-n", name, "addr", "add", f"2001:db8::{number}/64", "dev", "e0", "nodad")
            for device in ("lo", "e0"):
                ip("-n", name, "link", "set", device, "up")
        ip("-n", SERVER, "addr", "add", f"{VIP4}/32", "dev", "lo")
        ip("-n", SERVER, "addr", "add", f"{VIP6}/128", "dev", "lo")
        with inside(SERVER):
            Path("/proc/sys/net/ipv4/conf/all/arp_ignore").write_text("1")
            Path("/proc/sys/net/ipv4/conf/all/arp_announce").write_text("2")
        for vip in (VIP4, VIP6):
            ip("-n", CLIENT, "neigh", "add", vip, "lladdr", "02:00:00:00:00:10", "dev", "e0")
        yield


def forward(lb, seen, stop):
    macs = bytes.fromhex("020000000011020000000010")
    while not stop.is_set():
        select.select([lb], [], [], 0.05)
        while frames := lb.receive():
            seen += [(vnet, len(frame)) for vnet, frame in frames]
            lb.send_all([(vnet, macs + frame[12:]) for vnet, frame in frames])


def accept_and_hash(listener, digests):
    connection, _ = listener.accept()
    digest = hashlib.sha256()
    with connection:
        connection.settimeout(DEADLINE_S)
        while piece := connection.recv(1 << 16):
            digest.update(piece)
        digests.append(digest.digest())
        connection.sendall(b"done")


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_a_20_mb_upload_with_offloads_on_crosses_intact(segment, vip):
    family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    content = os.urandom(1 << 20) * 20
    seen, digests, stop = [], [], threading.Event()
    with inside(SERVER):
        listener = socket.create_server((vip, 8080), family=family)
    with inside(CLIENT):
        client = socket.socket(family, socket.SOCK_STREAM)
    listener.settimeout(DEADLINE_S)
    client.settimeout(DEADLINE_S)
    with packets() as lb, listener, client:
        workers = [
            threading.Thread(target=forward, args=(lb, seen, stop)),
            threading.Thread(target=accept_and_hash, args=(listener, digests)),
        ]
        for worker in workers:
            worker.start()
        try:
            client.connect((vip, 8080))
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(9) == b"done"
        finally:
            stop.set()
            for worker in workers:
                worker.join(DEADLINE_S)
    assert digests == [hashlib.sha256(content).digest()]
    assert any(vnet[0] == 1 and vnet[1] for vnet, _ in seen)  # partial checksums and GSO did occur
    assert max(length for _, length in seen) > 10_000
