"""What tests of a running balancer share: its flags, what it printed, what it set, what the wire carried."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from lab_wire import ETH_P_ALL, PACKET_OUTGOING, inside

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import VIP, VIP6, Lab, run

Serve = Callable[..., Balancer]
RS1, RS2, RS3 = "198.18.1.11", "198.18.1.12", "198.18.1.13"
RS1_6 = "2001:db8:1::11"
NEW_MAC = "02:00:c6:12:01:e1"
ARP_LOCKTIME_S = 1.2  # the kernel lets no MAC change within a second of the last change, and some
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


@contextlib.contextmanager
def tap(namespace: str, device: str) -> Iterator[socket.socket]:
    """Hear every frame on a device, from now on."""
    with inside(namespace):
        hearing = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        hearing.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        hearing.bind((device, ETH_P_ALL))
    with hearing:
        hearing.setblocking(False)
        yield hearing


def heard(hearing: socket.socket, outgoing: bool = False) -> Iterator[bytes]:
    """Yield the frames that have come so far (or that have left, with ``outgoing``)."""
    with contextlib.suppress(BlockingIOError):
        while True:
            frame, origin = hearing.recvfrom(1 << 16)
            if (origin[2] == PACKET_OUTGOING) == outgoing:
                yield frame


def ours(lab: Lab) -> str:
    """Return the policy rules of dsrlb on the balancer's host."""
    namespace = lab.namespace("lb")
    rules = run(["ip", "-n", namespace, "rule"]) + run(["ip", "-n", namespace, "-6", "rule"])
    return "\n".join(line for line in rules.splitlines() if "blackhole" in line)


def is_claimed(lab: Lab, vip: object = VIP) -> bool:
    """Tell whether a running dsrlb holds the VIP on the balancer's host."""
    with inside(lab.namespace("lb")):
        return f"@dsrlb/vip/{vip}" in Path("/proc/thread-self/net/unix").read_text()


def to(
    *backends: str, vip: object = VIP, interfaces: Sequence[str] = ("e0",), more: Sequence[str] = ()
) -> list[str]:
    """Return the flags for a service of these backends."""
    host = f"[{vip}]" if ":" in str(vip) else vip
    line = ["--mode", "l2dsr", "--vip", f"{host}:80"]
    line += [word for name in interfaces for word in ("--interface", name)]
    return [*line, *(word for one in backends for word in ("--backend", one)), *more]


def both_versions(lab: Lab) -> list[str]:
    """Return the flags for the IPv6 VIP as well, where there is IPv6."""
    return ["--vip", f"[{VIP6}]:80"] if lab.ipv6 else []


def connects(lab: Lab, host: object = VIP, timeout_s: float = 0.2, port: int = 80) -> bool:
    """Tell whether a client gets a connection to a port within a moment."""
    with inside(lab.namespace("client")):
        sock = socket.socket(socket.AF_INET6 if ":" in str(host) else socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        sock.settimeout(timeout_s)
        return sock.connect_ex((str(host), port)) == 0


def reasons(printed: str) -> dict[str, int]:
    """Return the counters by reason of the last report in what was printed."""
    report = printed.rpartition("reason  ")[2].partition("\n\n")[0]
    return {word: int(count) for word, count in re.findall(r"^(\w+) +(\d+)$", report, re.MULTILINE)}


def backends(printed: str) -> dict[str, tuple[int, int, int]]:
    """Return packets, bytes and flows (0 where they are not counted) by backend, of the last report."""
    rows = re.findall(
        r"^\S+/(?:tcp|udp) +(\S+) +(\d+) +(\d+) +(\d+|-)", printed.rpartition("reason  ")[2], re.MULTILINE
    )
    total: dict[str, tuple[int, int, int]] = {}
    for where, *counts in rows:
        before = total.get(where, (0, 0, 0))
        total[where] = tuple(  # type: ignore[assignment]
            a + int(b.replace("-", "0")) for a, b in zip(before, counts, strict=True)
        )
    return total


def flows_of(running: Balancer) -> list[int]:
    """Return the flows of each backend by the last report."""
    return [flows for _, _, flows in backends(running.stdout).values()]


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """Return how long a process has computed so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share_of_a_second(process: subprocess.Popen[bytes]) -> float:
    """Return how much of the next second a process computes; it must live through it."""
    before = cpu_s(process)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    return cpu_s(process) - before


def concerns(frame: bytes, vips: Sequence[Any]) -> bool:
    """Tell whether a frame is one that dsrlb takes: to a VIP, or ARP or neighbour discovery about one."""
    kind = frame[12:14]
    if kind == b"\x08\x00":
        return frame[30:34] in vips
    if kind == b"\x08\x06":
        return frame[28:32] in vips or frame[38:42] in vips
    if kind == b"\x86\xdd":
        return frame[38:54] in vips or (frame[20] == 58 and frame[54] in (135, 136) and frame[62:78] in vips)
    return False


def forget_neighbours(lab: Lab) -> None:
    """Let the router ask anew who has the VIP."""
    run(["ip", "-n", lab.namespace("router"), "neigh", "flush", "dev", "e0"])
