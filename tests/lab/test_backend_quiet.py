"""Does a server that was set up answer for the VIP, without telling the link that it has it?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from lab_server import CLIENT, CLIENT_MAC, SERVER, SERVER_MAC, called, run, server, two_namespaces
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="root is missing: network namespaces need it"),
]

VIP, VIP6 = "198.18.0.10", "2001:db8::10"


@pytest.fixture(autouse=True)
def link() -> Iterator[None]:
    with two_namespaces():
        yield


def set_up(name: str, vip: str) -> None:
    called(name, "setup", "--mode", "l2dsr", "--vip", vip)


ASK = """
import socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.bind(("c0", 0)); link.settimeout(30)
for frame in sys.argv[2:]: link.send(bytes.fromhex(frame))
while True:
    frame, where = link.recvfrom(2000)
    reply = frame[12:14] == b"\\x08\\x06" and frame[20:22] == b"\\0\\2" and frame[28:32]
    reply = reply or frame[12:14] == b"\\x86\\xdd" and frame[20] == 58 and frame[54] == 136 and frame[62:78]
    if reply and where[2] != socket.PACKET_OUTGOING: print(reply.hex(), flush=True)
    if reply and reply.hex() == sys.argv[1]: break
"""


def who_answers(vip: str, own: str) -> set[str]:
    """Ask for the VIP, then for the server's own address; the second answer ends the waiting."""
    frames = [bytes(_question(target)).hex() for target in (vip, own)]
    answers = run(
        "ip", "netns", "exec", CLIENT, sys.executable, "-c", ASK, ip_address(own).packed.hex(), *frames
    )
    return {str(ip_address(bytes.fromhex(line))) for line in answers.split()}


def _question(target: str) -> Ether:
    ether = Ether(src=CLIENT_MAC, dst=SERVER_MAC)
    if ":" not in target:
        return ether / ARP(op=1, hwsrc=CLIENT_MAC, psrc="198.18.0.1", pdst=target)
    solicitation = ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=CLIENT_MAC)
    return ether / IPv6(src="2001:db8::1", dst=target, hlim=255) / solicitation


def test_a_server_with_the_vip_and_nothing_else_answers_arp_for_it() -> None:
    server("ip", "address", "add", f"{VIP}/32", "dev", "lo")
    assert who_answers(VIP, "198.18.0.2") == {VIP, "198.18.0.2"}


@pytest.mark.parametrize("name", ["python", "sh"])
@pytest.mark.parametrize(("vip", "own"), [(VIP, "198.18.0.2"), (VIP6, "2001:db8::2")])
def test_a_server_that_is_set_up_never_answers_for_the_vip(name: str, vip: str, own: str) -> None:
    set_up(name, vip)
    assert who_answers(vip, own) == {own}


SERVE = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.create_server((sys.argv[1], 80), family=family)
print("ready", flush=True)
connection, _ = listener.accept()
connection.sendall(connection.recv(100) + b" from " + connection.getsockname()[0].encode())
"""
CONNECT = """
import socket, sys
client = socket.create_connection((sys.argv[1], 80), timeout=30)
client.sendall(b"hello"); print(client.makefile("rb").read().decode())
"""


@pytest.mark.parametrize("name", ["python", "sh"])
@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_a_client_whose_frames_are_sent_to_the_server_is_answered_from_the_vip(name: str, vip: str) -> None:
    set_up(name, vip)
    run(*f"ip -n {CLIENT} neigh replace {vip} lladdr {SERVER_MAC} dev c0 nud permanent".split())
    enter = ["ip", "netns", "exec", SERVER, sys.executable, "-c", SERVE, vip]
    with subprocess.Popen(enter, stdout=subprocess.PIPE, text=True) as listening:
        try:
            assert listening.stdout is not None and listening.stdout.readline() == "ready\n"
            answer = run("ip", "netns", "exec", CLIENT, sys.executable, "-c", CONNECT, vip)
        finally:
            listening.kill()
    assert answer == f"hello from {vip}\n"


@pytest.mark.parametrize("name", ["python", "sh"])
def test_a_server_never_picks_the_ipv6_vip_as_the_source_of_its_own_connections(name: str) -> None:
    server("ip", "-6", "route", "add", "2001:db8:ff::/48", "via", "2001:db8::1")
    longest_match = "2001:db8:ff::10"  # by RFC 6724 rule 8 alone this VIP would be the source
    set_up(name, longest_match)
    assert " src 2001:db8::2 " in server("ip", "-6", "route", "get", "2001:db8:ff::1")
