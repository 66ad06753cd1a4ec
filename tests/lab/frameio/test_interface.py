"""Does the packet socket outlive what happens to its interface, and give everything back?"""

import select
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest
from lab_packets import DEADLINE_S, LB, VIPS, gather, ip, ipv4, packets
from lab_wire import inside

from dsrlb.errors import ConfigError
from dsrlb.frameio.af_packet import PacketSocket
from dsrlb.frameio.filter import Interest
from dsrlb.frameio.vnet import NO_VNET
from dsrlb.model import wire_address


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
        PacketSocket(interface, Interest(tuple(VIPS)))
    assert taps_and_descriptors() == before
