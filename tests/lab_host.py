"""A small network for the tests of dsrlb/host, and steps in it.  Its namespaces' names end so:

::

    hlb e0 -- [br0 in hsw] -- e0 hs1 (server)
       .1                       .21   198.18.40.0/24, 2001:db8:40::/64
"""

from __future__ import annotations

import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest
from lab_wire import TEST_PREFIX, inside

LB, SWITCH, SERVER = (f"{TEST_PREFIX}{name}" for name in ("hlb", "hsw", "hs1"))
ARP_REPLY_HEAD = bytes.fromhex("08060001080006040002")  # bytes 12 to 21 of the frame
LB_V4 = ip_address("198.18.40.1")
SERVER_V4, SERVER_V6 = ip_address("198.18.40.21"), ip_address("2001:db8:40::21")
VIP_V4, VIP_V6 = ip_address("198.18.40.100"), ip_address("2001:db8:40::100")
SERVERS = [SERVER_V4, SERVER_V6]  # one machine
VIPS = pytest.mark.parametrize("vip", [VIP_V4, VIP_V6], ids=["ipv4", "ipv6"])
LB_MAC, SERVER_MAC = bytes.fromhex("0200c6122801"), bytes.fromhex("0200c6122815")


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True, timeout=60)


def sysctl(namespace: str, **values: int) -> None:
    with inside(namespace):
        for key, value in values.items():
            Path("/proc/sys/net", *key.split("__")).write_text(str(value))
