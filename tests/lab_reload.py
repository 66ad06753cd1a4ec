"""What tests of reloading share: configuration files, the signal, and what a process has open."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lab_running import heard, tap
from lab_wire import eventually, inside
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import VIP, Lab, mac

DEADLINE_S = 30
Write = Callable[..., None]
Start = Callable[..., Balancer]


def service(
    *backends: str,
    vip: object = VIP,
    port: object = 80,
    mode: str = "l2dsr",
    scheduler: str = "rr",
    more: str = "",
) -> str:
    """Return the lines of a service; a backend is an address and perhaps ``,weight``."""
    host = f"[{vip}]" if ":" in str(vip) else vip
    lines = f'[[service]]\nvip = "{host}:{port}"\nmode = "{mode}"\nscheduler = "{scheduler}"\n{more}'
    for one in backends:
        address, _, weight = one.partition(",")
        lines += f'[[service.backend]]\naddress = "{address}"\nweight = {weight or 1}\n'
    return lines


def reload(running: Balancer, says: str = "reloaded") -> str:
    """Send SIGHUP and wait for its outcome; returns what was logged meanwhile."""
    before = len(running.stderr)
    running.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: says in running.stderr[before:], DEADLINE_S), running.stderr
    return running.stderr[before:]


def open_files(running: Balancer) -> int:
    """Return how many files a process has open, but for those that it opens for a moment."""
    seen: list[int] = []
    folder = Path(f"/proc/{running.process.pid}/fd")
    eventually(lambda: seen.append(len(list(folder.iterdir()))), 0.5)  # look again and again for so long
    return min(seen)


def packet_sockets(lab: Lab) -> int:
    """Return how many packet sockets there are in the balancer's namespace."""
    with inside(lab.namespace("lb")):
        return len(Path("/proc/thread-self/net/packet").read_text().splitlines()) - 1


def answers_for(lab: Lab, vip: object) -> bool:
    """Ask the segment who has a VIP; whether the balancer says that it has."""
    source, target = mac("router"), str(vip)
    if ":" in target:
        ask = Ether(src=source, dst="33:33:ff:00:01:00") / IPv6(src="2001:db8:1::1", dst=target)
        ask /= ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=source)
    else:
        ask = Ether(src=source, dst="ff:ff:ff:ff:ff:ff") / ARP(
            op=1, hwsrc=source, psrc="198.18.1.1", pdst=target
        )
    with tap(lab.namespace("router"), "e0") as hearing:

        def answered() -> bool:
            hearing.send(bytes(ask))
            for frame in heard(hearing):
                packet = Ether(frame)
                if packet.src == mac("lb") and (
                    (ARP in packet and packet[ARP].psrc == target)
                    or (ICMPv6ND_NA in packet and packet[ICMPv6ND_NA].tgt == target)
                ):
                    return True
            return False

        return eventually(answered, 1.0)


REQUEST = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n"


class Held:
    """A connection that a client keeps open, and the server that it reached first."""

    def __init__(self, connection: socket.socket, host: object) -> None:
        self.connection = connection
        connection.settimeout(DEADLINE_S)
        connection.connect((str(host), 80))
        self.ask()
        self.server = self.answer()

    def ask(self) -> None:
        self.connection.sendall(REQUEST)

    def answer(self) -> str:
        """Return the server's name, which the body of its answer begins with."""
        got = b""
        while not got.endswith(b"\n") or b"\r\n\r\n" not in got:
            piece = self.connection.recv(4096)
            assert piece, "the connection was closed"
            got += piece
        return got.partition(b"\r\n\r\n")[2].split()[0].decode()


@contextmanager
def holding(lab: Lab, count: int) -> Iterator[list[Held]]:
    """Keep so many connections of a client to the lab's VIP open."""
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        with inside(lab.namespace("client")):
            sockets += [stack.enter_context(socket.socket()) for _ in range(count)]
        yield [Held(one, lab.vips[0]) for one in sockets]


def all_answer(held: list[Held]) -> None:
    """Every connection carries a request and its answer, from the server that it always had."""
    for one in held:
        one.ask()
    assert [one.answer() for one in held] == [one.server for one in held]
