"""Another kernel as a real server: Debian's Linux in user mode (UML), in the place of a server of the lab.

::

    router s1 ═══ TAP device, in place of the cable ═══ e0 of the UML, addresses and MAC of rs1

Unlike many a machine's kernel this one has tunnel devices (``ipip``, ``sit``, ``ip6_tunnel``), VLAN, bonding
and dummy, as modules. Its root is this machine's, read only (``tests/uml_guest.py``): all programs are there.

*Source*: Documentation/virt/uml/user_mode_linux_howto_64.rst.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lab_wire import eventually

from dsrlb.lab.servers import ECHO_PORT, HTTP_PORT, UPLOAD_PORT
from dsrlb.lab.topologies.base import End
from dsrlb.lab.topology import Lab, run

PROGRAM, MODULES = "linux.uml", Path("/usr/lib/uml/modules")
TESTS = Path(__file__).parent
SCRIPT = TESTS.parent / "scripts/backend-setup"
TUNNELS = {
    "tunl0": "ipip",
    "sit0": "sit",
    "ip6tnl0": "ip6_tunnel",
}  # devices, and their modules
MEMORY, DEADLINE_S, SAYS_MAX = "256M", 90.0, 2000


class Machine:
    """A running UML."""

    def __init__(self, process: subprocess.Popen[bytes], told: int, said: int, console: Path) -> None:
        self._process, self._told, self._said, self._console = process, told, said, console
        self._unread = b""

    def run(self, *words: str, code: int | None = 0, text: str = "") -> str:
        """Run a command to its end; return what it printed."""
        answer = self._answer({"run": words, "text": text})
        assert code is None or answer["code"] == code, (words, answer)
        return str(answer["said"])

    def start(self, *words: str) -> None:
        """Start a command, and let it go on."""
        self._answer({"start": words})

    def _answer(self, what: dict[str, Any]) -> dict[str, Any]:
        os.write(self._told, json.dumps(what).encode() + b"\n")
        return self.hear()

    def hear(self) -> dict[str, Any]:
        """Return what it says next."""
        end = time.monotonic() + DEADLINE_S
        while b"\n" not in self._unread:
            ready = select.select([self._said], [], [], max(0.0, end - time.monotonic()))[0]
            more = os.read(self._said, 1 << 16) if ready else b""
            if not more:
                console = self._console.read_text(errors="replace")[-SAYS_MAX:]
                raise AssertionError(f"the UML is silent, or has ended; its console: {console}")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


def is_here() -> bool:
    """Whether this machine has UML, and what brings its modules in."""
    return all(map(shutil.which, (PROGRAM, "modprobe"))) and MODULES.is_dir()


@contextmanager
def server_of(lab: Lab, role: str = "rs1") -> Iterator[Machine]:
    """Have a UML in the place of a server, which serves as the other ones do, but has no VIP."""
    (end,) = lab.network.ends(role)
    there = lab.network.beyond(end)
    _lay(lab, there)
    with tempfile.TemporaryDirectory() as scratch, _booted(lab, end, there, Path(scratch)) as machine:
        _address(machine, lab, end)
        _serve(machine, lab, role)
        yield machine


def _lay(lab: Lab, end: End) -> None:
    """Put a TAP device in the place of an end of a cable."""
    ip = ("ip", "-n", lab.namespace(end.role))
    run([*ip, "link", "del", end.device])
    mtu = str(lab.mtu_bytes)
    run([*ip, "tuntap", "add", end.device, "mode", "tap", "vnet_hdr"])
    run([*ip, "link", "set", end.device, "mtu", mtu, *(("address", end.mac) if end.mac else ()), "up"])
    if end.role in lab.network.switches:
        run([*ip, "link", "set", end.device, "master", "br0"])
    for one in end.addresses:
        run([*ip, "addr", "add", str(one), "dev", end.device, *(("nodad",) if one.version == 6 else ())])


@contextmanager
def _booted(lab: Lab, end: End, there: End, scratch: Path) -> Iterator[Machine]:
    told, said, console = os.pipe(), os.pipe(), scratch / "console"
    command = ["ip", "netns", "exec", lab.namespace(there.role), PROGRAM, f"mem={MEMORY}"]
    command += ["rootfstype=hostfs", "rootflags=/", "ro", f"init={sys.executable}", "quiet", "panic=-1"]
    command += ["con=null", "con0=null,fd:1", "ssl=null", f"ssl0=fd:{told[0]},fd:{said[1]}"]
    command += [f"vec0:transport=tap,ifname={there.device},depth=128,gro=1,mac={end.mac}"]
    command += [f"uml_dir={scratch}", "--", "-B", str(TESTS / "uml_guest.py")]  # what follows -- is for init
    with console.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(told[0], said[1]),
            start_new_session=True,
        )
    os.close(told[0])
    os.close(said[1])
    try:
        machine = Machine(process, told[1], said[0], console)
        machine.hear()
        yield machine
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(told[1])
        os.close(said[0])


def _address(machine: Machine, lab: Lab, end: End) -> None:
    machine.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
    mtu = lab.link_mtu_bytes(end.role)
    lines = ["link set lo up", f"link set vec0 name {end.device} mtu {mtu}", f"link set {end.device} up"]
    lines += [f"addr add {one} dev {end.device}" + " nodad" * (one.version == 6) for one in end.addresses]
    routes = [one for one in lab.network.routes if one.role == end.role]
    lines += [f"route add {one.network} via {one.gateway}" for one in routes]
    machine.run("ip", "-batch", "-", text="\n".join(lines))


def _serve(machine: Machine, lab: Lab, role: str) -> None:
    ports = (ECHO_PORT, HTTP_PORT, UPLOAD_PORT)
    machine.start(sys.executable, "-m", "dsrlb.lab.httpd", role, "/run/tmp", *map(str, ports))
    listens = ("ss", "-Hltn", f"sport = :{UPLOAD_PORT}")
    assert eventually(lambda: machine.run(*listens), DEADLINE_S)


def tool(machine: Machine, name: str, verb: str, *words: str, code: int | None = 0) -> str:
    """What a tool that sets servers up says there: ``python`` or ``sh``."""
    tools = {"python": (sys.executable, "-m", "dsrlb", "backend"), "sh": ("sh", str(SCRIPT))}
    return machine.run(*tools[name], verb, *words, code=code)


def have_tunnels(machine: Machine) -> None:
    """Load the modules, which stay after an undo, and have their devices been on once.

    Of that they keep a queue, and settings of IPv6, whoever it was that switched them on.
    """
    machine.run("modprobe", "-a", *TUNNELS.values())
    lines = [f"link set {name} {state}" for state in ("up", "down") for name in TUNNELS]
    machine.run("ip", "-batch", "-", text="\n".join(lines))


def snapshot(machine: Machine) -> list[str]:
    """All that a setup may change, as the tools of the system show it."""
    assert eventually(lambda: "tentative" not in machine.run("ip", "address"), DEADLINE_S)
    sysctls = ["grep", "-r", "", "/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf"]
    return [
        *machine.run("ip", "-d", "address").splitlines(),
        *machine.run("ip", "-4", "route", "show", "table", "all").splitlines(),
        *machine.run("ip", "-6", "route", "show", "table", "all").splitlines(),
        *machine.run("ip", "-6", "tunnel").splitlines(),
        *sorted(machine.run(*sysctls, code=None).splitlines()),  # a few are for nobody to read
    ]
