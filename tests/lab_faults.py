"""What can be wrong with the server rs1 at a VIP, each as a block in which it is so; that it is noticed."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from lab_clients import LONG_S, PORT, Clients
from lab_reload import service
from lab_wire import eventually, inside, soon

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import Lab, run

INTERVAL_S, FALL, RISE, SLACK_S = 0.3, 3, 2, 0.5
TCP = f"[service.check]\nkind = 'tcp'\ninterval = {INTERVAL_S}\nfall = {FALL}\nrise = {RISE}\n"
LISTENER = "import socket, sys; s = socket.create_server(('', int(sys.argv[1]))); sys.stdin.read()"
Fault = Callable[[Clients], AbstractContextManager[None]]


def config(lab: Lab, folder: Path, check: str = TCP, servers: int = 3) -> list[str]:
    """Write a file that has servers at the VIP checked; return the flags for it."""
    addresses = map(str, lab.server_addresses(4)[:servers])
    about = service(*addresses, vip=lab.vips[0], port=PORT, mode=lab.mode, more=check)
    file = folder / "dsrlb.toml"
    file.write_text(f'interfaces = ["e0"]\n{about}')
    return ["--config", str(file)]


@contextmanager
def process_killed(clients: Clients) -> Iterator[None]:
    clients.listeners.pop("rs1").socket.close()
    command = ["ip", "netns", "exec", clients.lab.namespace("rs1"), sys.executable, "-c", LISTENER, str(PORT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert eventually(lambda: _is_open(clients.lab), LONG_S)
        process.send_signal(signal.SIGKILL)
        process.wait()
    try:
        yield
    finally:
        clients.listeners["rs1"] = clients.listen("rs1")


def _is_open(lab: Lab) -> bool:
    with inside(lab.namespace("rs1")), socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", PORT)) == 0


@contextmanager
def own_address_only(clients: Clients) -> Iterator[None]:
    clients.listeners.pop("rs1").socket.close()
    own = clients.listen("rs1", str(clients.lab.server_addresses(4)[0]))
    try:
        yield
    finally:
        own.socket.close()
        clients.listeners["rs1"] = clients.listen("rs1")


@contextmanager
def network_gone(clients: Clients) -> Iterator[None]:
    port = ["ip", "-n", clients.lab.namespace("switch"), "link", "set", "p-rs1"]
    run([*port, "down"])
    try:
        yield
    finally:
        run([*port, "up"])


@contextmanager
def vip_gone(clients: Clients) -> Iterator[None]:
    address = ["ip", "-n", clients.lab.namespace("rs1"), "addr"]
    run([*address, "del", f"{clients.lab.vips[0]}/32", "dev", "lo"])
    try:
        yield
    finally:
        run([*address, "add", f"{clients.lab.vips[0]}/32", "dev", "lo"])


@contextmanager
def vip_gone_and_forwarding(clients: Clients) -> Iterator[None]:
    """What is for the VIP goes back to the balancer, which would give it to another server."""
    sysctl = ["ip", "netns", "exec", clients.lab.namespace("rs1"), "sysctl", "-qw"]
    run([*sysctl, "net.ipv4.ip_forward=1"])
    try:
        with vip_gone(clients):
            yield
    finally:
        run([*sysctl, "net.ipv4.ip_forward=0"])


@contextmanager
def decapsulation_gone(clients: Clients) -> Iterator[None]:
    there = ["ip", "netns", "exec", clients.lab.namespace("rs1")]
    run([*there, "tc", "qdisc", "del", "dev", "e0", "clsact"])
    try:
        yield
    finally:
        vips = [word for vip in clients.lab.vips for word in ("--vip", str(vip))]
        setup = ["backend", "setup", "--mode", "l3dsr", "--decap", "bpf", "--device", "e0", *vips]
        run([*there, sys.executable, "-m", "dsrlb", *setup])


def require_left_in_time(clients: Clients, running: Balancer, fault: Fault, word: str) -> None:
    """Break rs1 and mend it: it is left in time, by this name, and comes back."""
    rs1, others = clients.lab.server_addresses(4)[0], set(clients.lab.server_names) - {"rs1"}

    def times(words: str) -> int:
        return len(re.findall(rf"backend {rs1} of \S+ is {words}", running.stderr))

    def took_s(_: int) -> float:
        downs, ups = times("down"), times("up again")
        with fault(clients):
            began = time.monotonic()
            assert eventually(lambda: times("down") > downs, LONG_S), running.stderr
            took = time.monotonic() - began
            assert re.findall(rf"backend {rs1} of \S+ is down: {word}\b", running.stderr), running.stderr
            assert eventually(lambda: {clients.connect()[0] for _ in range(4)} <= others, LONG_S)
        assert eventually(lambda: times("up again") > ups, LONG_S), running.stderr
        assert eventually(lambda: "rs1" in {clients.connect()[0] for _ in range(6)}, LONG_S)
        return took

    soon(took_s, FALL * INTERVAL_S + SLACK_S)
