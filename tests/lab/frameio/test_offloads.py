"""Do an upload's large frames and partial checksums cross the packet socket intact?"""

import hashlib
import os
import select
import socket
import threading
from pathlib import Path

import pytest
from lab_packets import CLIENT, DEADLINE_S, LB, SERVER, SWITCH, VIP4, VIP6, ip, namespaces, packets
from lab_wire import inside


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
