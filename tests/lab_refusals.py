"""What tests of refusals share: a command line that works as long as nothing in it is replaced, and its end.

Refusals run in a fork of this process, inside the balancer's namespace: the same command from its first
line to its exit code, without importing everything anew some hundred times.
"""

from __future__ import annotations

import codecs
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import scapy.utils  # noqa: F401  replay imports it late: once here, not in each fork
from lab_wire import enter

from dsrlb.cli import main
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


def in_a_fork(namespace: str, arguments: list[str], uid: int, out: int, err: int) -> None:
    """Become the dsrlb command; never returns."""
    try:
        with Path("/run/netns", namespace).open() as there:
            enter(there)
        codecs.lookup("ascii")  # a file, which nobody might not be allowed to read here
        if uid:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        logging.getLogger().handlers.clear()  # pytest's own
        sys.argv = ["dsrlb", *arguments]
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # what python itself would print
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


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
