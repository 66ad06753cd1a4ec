"""For each test of dsrlb/host: ``lab`` is its own small network, see tests/lab_host.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab_host import LB, LB_MAC, SERVER, SERVER_MAC, SWITCH, ip, sysctl

from dsrlb.model import person_mac


def tear_down() -> None:
    for namespace in (LB, SWITCH, SERVER):
        ip("netns", "del", namespace, check=False)


@pytest.fixture
def lab() -> Iterator[None]:
    tear_down()
    try:
        ip("netns", "add", SWITCH)
        ip("-n", SWITCH, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        ip("-n", SWITCH, "link", "set", "br0", "up")
        for namespace, mac, last in ((LB, LB_MAC, "1"), (SERVER, SERVER_MAC, "21")):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
            port = f"p-{last}"
            ip("link", "add", "e0", "netns", namespace, "address", person_mac(mac), "type", "veth",
               "peer", "name", port, "netns", SWITCH)  # fmt: skip
            sysctl(namespace, ipv6__conf__e0__accept_dad=0, ipv6__conf__e0__keep_addr_on_down=1)
            ip("-n", SWITCH, "link", "set", port, "master", "br0", "up")
            ip("-n", namespace, "addr", "add", f"198.18.40.{last}/24", "dev", "e0")
            ip("-n", namespace, "addr", "add", f"2001:db8:40::{last}/64", "dev", "e0", "nodad")
            ip("-n", namespace, "link", "set", "e0", "up")
        sysctl(SERVER, ipv4__conf__all__arp_ignore=1, ipv4__conf__all__arp_announce=2)
        yield
    finally:
        tear_down()
