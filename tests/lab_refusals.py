"""What tests of refusals share: a command line that works until something in it is replaced, and its end."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from dsrlb.lab.topology import Lab, inside, mac, run

VIP, RS1, RS2 = "198.18.1.100", "198.18.1.11", "198.18.1.12"
VIP6, RS1_6 = "2001:db8:1::100", "2001:db8:1::11"
USAGE, CONFIG, HOST = 2, 3, 4
NOBODY = 65534
DEADLINE_S = 60
RS1_WITH_MAC = f"{RS1},mac={mac('rs1')}"

Run = Callable[..., "Refused"]


@dataclass(frozen=True)
class Refused:
    """What a command that ended has said."""

    code: int
    stdout: str
    stderr: str

    def because(self, code: int, *words: str) -> None:
        """Require an exit code and one sentence with these words on stderr, and nothing else anywhere."""
        assert self.code == code, self
        assert "Traceback" not in self.stderr and self.stdout == "", self
        told = self.stderr.splitlines()
        assert len(told) == 1 and told[0].startswith("dsrlb: "), self
        missing = [word for word in words if word not in told[0]]
        assert not missing, f"{missing} not said in: {told[0]}"


def flags(
    *more: str,
    vip: str = f"{VIP}:80",
    backends: tuple[str, ...] = (RS1,),
    interface: str = "e0",
    mode: str = "l2dsr",
) -> list[str]:
    """Return a command line of ``dsrlb serve`` that works as long as nothing in it is replaced."""
    behind = [word for backend in backends for word in ("--backend", backend)]
    return ["serve", "--mode", mode, "--interface", interface, "--vip", vip, *behind, *more]


LOOK = (
    "ip rule; ip -6 rule; ip addr; ip link; ip route; ip -6 route; grep dsrlb /proc/net/unix; "
    "grep -r . /proc/sys/net/ipv4 /proc/sys/net/ipv6 /proc/sys/net/core 2>/dev/null | sort"
)


def traces(lab: Lab, role: str = "lb") -> dict[str, str]:
    """Return everything on a node that a command could have left behind."""
    namespace = lab.namespace(role)
    done = subprocess.run(
        inside(namespace, "sh", "-c", LOOK), capture_output=True, text=True, check=True, timeout=DEADLINE_S
    )
    return {"host": done.stdout, "processes": run(["ip", "netns", "pids", namespace])}
