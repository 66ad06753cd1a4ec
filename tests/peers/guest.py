"""The virtual machine's side: it has IPVS forward, or dsrlb, and says how busy that keeps its processor."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kernels.guest import say, say_what_breaks

from peers.rows import LB, NEAR, ROUTER, ROUTER_MAC, VIP

READY_S, STOP_S = 600, 60
TICKS = os.sysconf("SC_CLK_TCK")
DUMP, TOML, LOG = Path("/tmp/ipvs"), Path("/tmp/dsrlb.toml"), Path("/tmp/err")
ENGINES = {
    "xdp": ("--engine", "xdp", "--xdp-mode", "native"),
    "xdp generic": ("--engine", "xdp", "--xdp-mode", "generic"),
    "packet": ("--engine", "packet"),
}


def run(*words: str, stdin: str = "") -> str:
    """Run a command; return what it prints."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr or done.stdout}")
    return done.stdout


def set_up() -> None:
    """Name the interface and its neighbours; no address of the host's own is announced."""
    run("ip", "link", "set", "eth0", "name", "e0")
    for words in (
        "net.ipv4.ip_forward=1",
        "net.ipv6.conf.all.disable_ipv6=1",
        "net.ipv4.conf.all.send_redirects=0",
        "net.ipv4.conf.e0.send_redirects=0",
    ):
        run("sysctl", "-qw", words)
    lines = [
        "link set lo up",
        "link set e0 up",
        f"addr add {LB}/24 dev e0",
        f"route add default via {ROUTER}",
    ]
    for address, mac in {ROUTER: ROUTER_MAC, **NEAR}.items():
        lines.append(f"neigh replace {address} lladdr {mac} dev e0 nud permanent")
    for line in lines:
        run("ip", *line.split())


class Forwarder:
    """What forwards at present."""

    def __init__(self) -> None:
        self._dsrlb: subprocess.Popen[bytes] | None = None

    def start(self, contender: str, rules: str = "") -> str:
        """Have a contender forward; return what it says of itself."""
        if contender == "ipvs":
            run("ip", "addr", "add", f"{VIP}/32", "dev", "lo")
            run("ipvsadm", "-R", stdin=rules)
            dump = run("ipvsadm", "-S", "-n")
            DUMP.write_text(dump)
            return dump
        return self._serve(ENGINES[contender])

    def _serve(self, engine: tuple[str, ...]) -> str:
        """Serve what ``dsrlb import`` makes of the services that IPVS had."""
        imported = [sys.executable, "-m", "dsrlb", "import", "ipvsadm", str(DUMP)]
        done = subprocess.run(imported, capture_output=True, text=True, check=False)
        TOML.write_text(done.stdout)
        command = [sys.executable, "-m", "dsrlb", "serve", "--config", str(TOML), *engine]
        command += ["--admin", "off", "--state-dir", "/tmp/state"]
        command += ["--bpffs", "/bpf"] if "xdp" in engine else []
        with LOG.open("wb") as log:
            self._dsrlb = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + READY_S
        while not re.search(r"\bready\b", LOG.read_text()):
            if self._dsrlb.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"dsrlb does not start: {LOG.read_text()}")
            time.sleep(0.05)
        return f"{done.stderr}{LOG.read_text()}"

    def stop(self) -> str:
        """End it; return what it had to say."""
        if self._dsrlb is not None:
            self._dsrlb.terminate()
            self._dsrlb.wait(STOP_S)
            self._dsrlb = None
            return LOG.read_text()
        said = run("ipvsadm", "-L", "-n", "--stats")
        run("ipvsadm", "-C")
        run("ip", "addr", "del", f"{VIP}/32", "dev", "lo")
        return said


def measure(seconds: float) -> dict[str, float]:
    """Return what the processor did in a window: frames sent, seconds in all, idle, and in user space."""
    before = _now()
    time.sleep(seconds)
    return {name: value - before[name] for name, value in _now().items()}


def _now() -> dict[str, float]:
    user, nice, _, idle, waiting = map(int, Path("/proc/stat").read_text().split()[1:6])
    sent = int(Path("/sys/class/net/e0/statistics/tx_packets").read_text())
    return {
        "frames": sent,
        "seconds": time.monotonic(),
        "idle": (idle + waiting) / TICKS,
        "user": (user + nice) / TICKS,
    }


def main() -> None:
    """Obey, a line at a time."""
    say(kernel=os.uname().release)
    set_up()
    forwarder = Forwarder()
    for line in sys.stdin:
        words: dict[str, Any] = json.loads(line)
        match words.pop("do"):
            case "start":
                say(started=forwarder.start(**words))
            case "stop":
                say(stopped=forwarder.stop())
            case "measure":
                say(measured=measure(**words))
            case _:
                return


if __name__ == "__main__":
    say_what_breaks(main)
