"""Does the in-kernel filter let through what concerns the VIPs, and nothing else?

The programs run in a small interpreter here (classic BPF, Linux's extensions as far as used); the lab test
puts them before the real kernel.
"""

import random
from ipaddress import ip_address

import pytest

from dsrlb.frameio.filter import INSTRUCTIONS_MAX, Interest, coarse, wanted
from dsrlb.model import wire_address

HOST, BROADCAST, MULTICAST, OTHERHOST, OUTGOING = range(5)
LB, ANY = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
VIPS = ["198.18.1.100", "198.18.1.200", "2001:db8::64", "2001:db8:1::64", "2001:db8::c8"]
TAGS = {"bare": b"", "tag": b"\x81\x00\x00\x0a", "two tags": b"\x88\xa8\x00\x14\x81\x00\x00\x0a"}


def run(program, frame, packet_type=HOST):
    a = x = at = 0
    scratch = [None] * 16
    size = {0x00: 4, 0x08: 2, 0x10: 1}
    for _ in range(len(program)):  # jumps go forward only, so this bounds the run
        code, jt, jf, k = program[at]
        at += 1
        if code & 0x07 == 0x00 and code & 0xE0 in (0x20, 0x40):
            if k == 0xFFFFF004:
                a = packet_type
                continue
            start, length = k + (x if code & 0xE0 == 0x40 else 0), size[code & 0x18]
            if start + length > len(frame):
                return 0
            a = int.from_bytes(frame[start : start + length], "big")
        elif code == 0x60:
            a = scratch[k]
        elif code == 0x02:
            scratch[k] = a
        elif code == 0x01:
            x = k
        elif code == 0x05:
            at += k
        elif code == 0x15:
            at += jt if a == k else jf
        elif code == 0x25:
            at += jt if a > k else jf
        elif code == 0x35:
            at += jt if a >= k else jf
        elif code == 0x06:
            return k
        elif code == 0x07:
            x = a
        elif code == 0x54:
            a &= k
        elif code == 0x64:
            a = a << k & 0xFFFFFFFF
        elif code == 0x0C:
            a = a + x & 0xFFFFFFFF
        else:
            raise AssertionError(f"unknown instruction {code:#x}")
    raise AssertionError("the program ran off its end")


def wire(*addresses):
    return tuple(wire_address(ip_address(address)) for address in addresses)


def ipv4(destination, protocol=6):
    head = bytes((0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0)) + ip_address("198.18.0.2").packed
    return b"\x08\x00", head + ip_address(destination).packed + bytes(20)


def ipv6(destination, payload=bytes(20), following=6):
    head = bytes((0x60, 0, 0, 0, 0, len(payload), following, 255)) + ip_address("2001:db8::2").packed
    return b"\x86\xdd", head + ip_address(destination).packed + payload


def neighbour(target, kind=135, destination="ff02::1:ff00:64"):
    return ipv6(destination, bytes((kind, 0, 0, 0, 0, 0, 0, 0)) + ip_address(target).packed, 58)


def arp(sender, target, head="0001080006040001"):
    sender, target = ip_address(sender).packed, ip_address(target).packed
    return b"\x08\x06", bytes.fromhex(head) + bytes(6) + sender + bytes(6) + target


WANTED = {
    "IPv4 to a VIP": ipv4("198.18.1.100"),
    "UDP to another VIP": ipv4("198.18.1.200", 17),
    "IPv6 to a VIP": ipv6("2001:db8::64"),
    "IPv6 to a VIP with the same last word": ipv6("2001:db8:1::64"),
    "ICMPv6 echo to a VIP": ipv6("2001:db8::64", bytes((128, 0)) + bytes(30), 58),
    "ARP for a VIP": arp("198.18.1.1", "198.18.1.100"),
    "ARP by a VIP": arp("198.18.1.200", "198.18.1.1"),
    "NS for a VIP": neighbour("2001:db8::64"),
    "NA by a VIP": neighbour("2001:db8::c8", 136, "ff02::1"),
    "unicast NS for a VIP": neighbour("2001:db8:1::64", 135, "2001:db8:1::64"),
}
UNWANTED = {
    "IPv4 to another address": ipv4("198.18.1.101"),
    "IPv6 to another address": ipv6("2001:db8:2::64"),
    "IPv6 that ends like a VIP": ipv6("2001:db8::1:0:0:64"),
    "ARP between others": arp("198.18.1.1", "198.18.1.2"),
    "ARP for something else than IPv4": arp("198.18.1.1", "198.18.1.100", "0001080106040001"),
    "ARP with other address lengths": arp("198.18.1.1", "198.18.1.100", "0001080006060001"),
    "NS for another": neighbour("2001:db8::65"),
    "router advertisement": neighbour("2001:db8::64", 134),
    "LLDP": (b"\x88\xcc", bytes(46)),
    "MPLS around a VIP": (b"\x88\x47", ipv4("198.18.1.100")[1]),
    "IPv4 cut in its destination": (b"\x08\x00", ipv4("198.18.1.100")[1][:19]),
    "IPv6 cut in its destination": (b"\x86\xdd", ipv6("2001:db8::64")[1][:39]),
    "NS cut in its target": (b"\x86\xdd", neighbour("2001:db8::64")[1][:63]),
}


def framed(packet, tags=b""):
    return LB + ANY + tags + packet[0] + packet[1]


@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("name", WANTED)
def test_what_concerns_a_vip_comes_through_whole(name, tags):
    for packet_type in (HOST, BROADCAST, MULTICAST):
        assert run(wanted(Interest(wire(*VIPS))), framed(WANTED[name], TAGS[tags]), packet_type) == 0xFFFFFFFF


@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("name", UNWANTED)
def test_what_concerns_no_vip_stays_out(name, tags):
    assert run(wanted(Interest(wire(*VIPS))), framed(UNWANTED[name], TAGS[tags])) == 0


@pytest.mark.parametrize("packet_type", [OTHERHOST, OUTGOING, 5, 6, 7])
@pytest.mark.parametrize(
    "build", [lambda: wanted(Interest(wire(*VIPS))), lambda: coarse(Interest(wire(*VIPS)))]
)
def test_frames_for_others_and_our_own_stay_out(packet_type, build):
    assert run(build(), framed(WANTED["IPv4 to a VIP"]), packet_type) == 0


def test_three_tags_and_every_stump_stay_out():
    program = wanted(Interest(wire(*VIPS)))
    assert run(program, framed(ipv4("198.18.1.100"), TAGS["tag"] * 3)) == 0
    assert not any(run(program, framed(ipv4("198.18.1.100"))[:length]) for length in range(34))


@pytest.mark.parametrize("vips", [VIPS[:2], VIPS[2:]])
def test_vips_of_one_family_leave_the_other_out(vips):
    program = wanted(Interest(wire(*vips)))
    passed = {name for name, packet in WANTED.items() if run(program, framed(packet))}
    v6 = {name for name in WANTED if "v6" in name or name.startswith(("NS", "NA", "unicast"))}
    assert passed == (v6 if vips == VIPS[2:] else set(WANTED) - v6)


def test_without_vips_nothing_comes_through():
    assert not any(run(wanted(Interest()), framed(packet)) for packet in WANTED.values())


def same_end(count):
    return [f"2001:db8:{i:x}::64" for i in range(count)]


def scattered(count, seed):
    chosen = random.Random(seed)
    return [str(ip_address((0x20010DB8 << 96) + chosen.getrandbits(96))) for _ in range(count)]


@pytest.mark.parametrize("v6", [same_end(250), scattered(250, 1), same_end(125) + scattered(125, 2)])
def test_250_vips_of_each_family_are_told_apart_from_their_neighbours(v6):
    v4 = [str(ip_address("198.18.0.0") + 3 * i + i * i % 1000 * 7) for i in range(250)]
    program = wanted(Interest(wire(*v4, *v6)))
    assert len(program) <= INSTRUCTIONS_MAX
    assert all(0 <= jt <= 255 and 0 <= jf <= 255 for _, jt, jf, _ in program)
    for build, vips in ((ipv4, v4), (ipv6, v6), (neighbour, v6), (lambda a: arp(a, "198.19.0.1"), v4)):
        for vip in vips:
            assert run(program, framed(build(vip)))
            beside = str(ip_address(vip) + 1)
            assert bool(run(program, framed(build(beside)))) == (beside in vips)


def test_more_vips_than_fit_get_the_coarse_filter_of_their_family():
    many = Interest(wire(*(str(ip_address("198.18.0.0") + i) for i in range(3000))))
    assert wanted(many) == coarse(many) == coarse(Interest(wire("198.18.0.1")))


def test_the_coarse_filter_takes_all_ip_and_arp_of_its_families():
    frames = [framed(packet) for packet in WANTED.values()]
    assert all(run(coarse(Interest(wire(*VIPS))), frame) for frame in frames)
    assert run(coarse(Interest(wire(*VIPS))), framed(UNWANTED["IPv4 to another address"], TAGS["two tags"]))
    assert not run(coarse(Interest(wire("2001:db8::64"))), framed(WANTED["ARP for a VIP"]))
    assert not run(coarse(Interest(wire(*VIPS))), framed(UNWANTED["LLDP"]))


OWN = wire("198.18.1.10", "2001:db8:1::10", "198.18.2.10", "2001:db8:2::10")


def icmp(destination, kind, head=None):
    ethertype, packet = ipv4(destination, 1)
    return ethertype, (head or packet[:20]) + bytes((kind,)) + bytes(30)


def icmpv6(destination, kind):
    return ipv6(destination, bytes((kind,)) + bytes(30), 58)


ERRORS = {
    "unreachable": icmp("198.18.1.10", 3),
    "time exceeded to another own address": icmp("198.18.2.10", 11),
    "parameter problem": icmp("198.18.1.10", 12),
    "with options": icmp("198.18.1.10", 0, b"\x46" + icmp("198.18.1.10", 0)[1][1:20]),
    "IPv6 unreachable": icmpv6("2001:db8:1::10", 1),
    "IPv6 too big to another own address": icmpv6("2001:db8:2::10", 2),
}
NO_ERRORS = {
    "echo request": icmp("198.18.1.10", 8),
    "error to another address": icmp("198.18.1.11", 3),
    "TCP": ipv4("198.18.1.10"),
    "IPv6 echo request": icmpv6("2001:db8:1::10", 128),
    "IPv6 error to another address": icmpv6("2001:db8:1::11", 1),
    "IPv6 TCP": ipv6("2001:db8:1::10"),
    "neighbour solicitation": neighbour("2001:db8:1::10"),
}


@pytest.mark.parametrize("vips", [(), wire(*VIPS), wire(*VIPS[:2]), wire(*VIPS[2:])])
@pytest.mark.parametrize("tags", TAGS)
def test_errors_to_own_addresses_come_through_and_nothing_else_to_them(vips, tags):
    program = wanted(Interest(vips, OWN))
    assert all(run(program, framed(packet, TAGS[tags])) for packet in ERRORS.values())
    assert not any(run(program, framed(packet, TAGS[tags])) for packet in NO_ERRORS.values())
    assert not any(run(wanted(Interest(vips)), framed(packet, TAGS[tags])) for packet in ERRORS.values())


def test_errors_to_own_addresses_change_nothing_for_vips():
    program = wanted(Interest(wire(*VIPS), OWN))
    for packet in (*WANTED.values(), icmp("198.18.1.100", 3), icmpv6("2001:db8::64", 2)):
        assert run(program, framed(packet))
    assert not any(run(program, framed(packet)) for packet in UNWANTED.values())


def test_many_own_addresses_are_told_apart():
    own = wire(*same_end(60), *(str(ip_address("198.18.3.0") + 2 * i) for i in range(60)))
    program = wanted(Interest((), own))
    assert all(0 <= jt <= 255 and 0 <= jf <= 255 for _, jt, jf, _ in program)
    for i in range(60):
        assert run(program, framed(icmpv6(f"2001:db8:{i:x}::64", 1)))
        assert not run(program, framed(icmpv6(f"2001:db8:{i:x}::65", 1)))
        assert run(program, framed(icmp(str(ip_address("198.18.3.0") + 2 * i), 3)))
        assert not run(program, framed(icmp(str(ip_address("198.18.3.1") + 2 * i), 3)))


SERVERS = wire("198.18.2.11", "198.18.2.12", "2001:db8:2::11", "2001:db8:3::11", "2001:db8:2::12")


def sent_by(source, packet):
    """Return the packet with another source."""
    (ethertype, content), address = packet, ip_address(source).packed
    at = 12 if len(address) == 4 else 8
    return ethertype, content[:at] + address + content[at + len(address) :]


def error_about(packet, destination, kind=3, options=b""):
    """Return the error of some router about a packet, to whoever it is."""
    (_, quoted), to = packet, ip_address(destination).packed
    if len(to) == 16:
        return ipv6(destination, bytes((kind,)) + bytes(7) + quoted[:48], 58)
    _, head = ipv4(destination, 1)
    head = bytes((0x45 + len(options) // 4,)) + head[1:20] + options
    return b"\x08\x00", head + bytes((kind,)) + bytes(7) + quoted[:28]


FROM_SERVERS = {
    "TCP": sent_by("198.18.2.11", ipv4("198.18.0.2")),
    "UDP by another": sent_by("198.18.2.12", ipv4("198.18.0.2", 17)),
    "IPv6": sent_by("2001:db8:2::11", ipv6("2001:db8::2")),
    "IPv6 with the same last word": sent_by("2001:db8:3::11", ipv6("2001:db8::2")),
    "IPv6 to a VIP": sent_by("2001:db8:2::12", ipv6("2001:db8::64")),
    "unreachable": error_about(ipv4("198.18.2.11"), "198.18.0.2"),
    "time exceeded": error_about(ipv4("198.18.2.12"), "198.18.0.2", 11),
    "error with options": error_about(ipv4("198.18.2.12"), "198.18.0.2", 12, bytes(8)),
    "IPv6 too big": error_about(ipv6("2001:db8:2::11"), "2001:db8::2", 2),
}
NOT_FROM_SERVERS = {
    "to a server": ipv4("198.18.2.11"),
    "from another": sent_by("198.18.2.13", ipv4("198.18.0.2")),
    "echo request of a server": sent_by("198.18.2.11", ipv4("198.18.0.2", 1)),
    "IPv6 to a server": ipv6("2001:db8:2::11"),
    "IPv6 that ends like a server": sent_by("2001:db8:4::11", ipv6("2001:db8::2")),
    "error about a packet to another": error_about(ipv4("198.18.2.13"), "198.18.0.2"),
    "echo request": error_about(ipv4("198.18.2.11"), "198.18.0.2", 8),
    "IPv6 error about a packet to another": error_about(ipv6("2001:db8:2::13"), "2001:db8::2", 1),
    "IPv6 echo request": error_about(ipv6("2001:db8:2::11"), "2001:db8::2", 128),
    "ARP of a server": arp("198.18.2.11", "198.18.2.1"),
    "NS of a server": sent_by("2001:db8:2::11", neighbour("2001:db8:2::1")),
}


@pytest.mark.parametrize("errors_to", [(), OWN], ids=["", "errors"])
@pytest.mark.parametrize("vips", [(), wire(*VIPS), wire(*VIPS[:2])], ids=["none", "both", "v4"])
@pytest.mark.parametrize("tags", TAGS)
def test_what_servers_send_and_errors_about_what_they_were_sent_come_through(vips, errors_to, tags):
    program = wanted(Interest(vips, errors_to, SERVERS))
    passed = {name for name, one in FROM_SERVERS.items() if run(program, framed(one, TAGS[tags]))}
    assert passed == set(FROM_SERVERS)
    passed = {name for name, one in NOT_FROM_SERVERS.items() if run(program, framed(one, TAGS[tags]))}
    assert passed == set()
    without = wanted(Interest(vips, errors_to))
    v6_vip = {"IPv6 to a VIP"} if len(vips) > 2 else set()
    assert {name for name, one in FROM_SERVERS.items() if run(without, framed(one, TAGS[tags]))} == v6_vip


def test_servers_change_nothing_for_vips_and_own_addresses():
    program = wanted(Interest(wire(*VIPS), OWN, SERVERS))
    for packet in (*WANTED.values(), icmp("198.18.1.100", 3), *ERRORS.values()):
        assert run(program, framed(packet))
    assert not any(run(program, framed(packet)) for packet in (*UNWANTED.values(), *NO_ERRORS.values()))


@pytest.mark.parametrize("servers", [same_end(250), scattered(250, 4)])
def test_250_servers_of_each_family_are_told_apart_from_their_neighbours(servers):
    v4 = [str(ip_address("198.18.0.0") + 3 * i + i * i % 1000 * 7) for i in range(250)]
    program = wanted(Interest(wire(*VIPS), (), wire(*v4, *servers)))
    assert len(program) <= INSTRUCTIONS_MAX
    for build, addresses in ((ipv4("198.19.0.1"), v4), (ipv6("2001:db8:ffff::1"), servers)):
        for address in addresses:
            assert run(program, framed(sent_by(address, build)))
            beside = str(ip_address(address) + 1)
            assert bool(run(program, framed(sent_by(beside, build)))) == (beside in addresses)
    assert run(program, framed(WANTED["IPv4 to a VIP"]))
    assert run(program, framed(WANTED["IPv6 to a VIP"]))
