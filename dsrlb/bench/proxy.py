"""What dsrlb's configuration of HAProxy costs, beside one that a person wrote for the same service.

::

    core 0: two wrk, and servers        core 1: both HAProxys, one thread each, at the same time

    wrk ──► 127.0.0.1 ──► dsrlb: as ``dsrlb serve`` writes it ──┐
    wrk ──► 127.0.0.1 ──► hand: as a person writes it ──────────┴──► 127.0.0.2: three servers

Both are asked at once, so that whatever else the machine does hits both alike; each round with new
processes, since where a process happens to lie in memory is worth a few percent.  Servers are a third
HAProxy, which answers by itself.  Nothing but free ports of loopback is touched.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess  # the programs run are HAProxy and wrk
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from statistics import median

from dsrlb.bench.ground import cores
from dsrlb.bench.packet import cpu_seconds
from dsrlb.bench.proxy_hand import hand_written
from dsrlb.config import config_in
from dsrlb.control.proxy_table import compiled
from dsrlb.engines.haproxy import render
from dsrlb.engines.haproxy.program import program
from dsrlb.errors import DsrlbError, HostError
from dsrlb.lab.proxies import make_certificate
from dsrlb.model import Service
from dsrlb.standing import ALL_UP

CONTENDERS = ("dsrlb", "hand")
KINDS = ("tcp", "http", "https", "no-retries")
SERVERS, CONNECTIONS, START_WITHIN_S = 3, 64, 10.0
BAR = 0.97
VIP, SERVER = IPv4Address("127.0.0.1"), IPv4Address("127.0.0.2")

_REQUESTS = re.compile(r"(\d+) requests in ([0-9.]+)(ms|s|m)\b")
_FAILED = re.compile(r"Socket errors: .*|Non-2xx or 3xx responses: .*")

SERVICE = """\
[[service]]
name = "web"
vip = "198.18.1.100:{port}"
mode = "proxy"
scheduler = "rr"
[service.proxy]
layer = {layer}
{more}
"""
BACKEND = '[[service.backend]]\nname = "rs{number}"\naddress = "198.18.1.11"\nport = {port}\n'
BEHIND = """\
defaults
    mode http
    timeout client 60s
    timeout http-keep-alive 60s
frontend servers
    bind {binds}
    http-request return status 200 content-type text/plain string "{body}"
"""


@dataclass(frozen=True)
class Turn:
    """One contender in one round."""

    requests: int
    seconds: float
    cpu_s: float

    @property
    def per_cpu_s(self) -> float:
        """Requests in a second of its own CPU time."""
        return self.requests / self.cpu_s


Turns = dict[str, list[Turn]]  # by contender


def run(kind: str, rounds: int, window_s: int) -> Turns:
    """Measure both contenders.  DsrlbError: a request failed."""
    if shutil.which("wrk") is None:
        raise HostError("The benchmark asks by wrk, which is not on this host: apt install wrk.")
    turns: Turns = {name: [] for name in CONTENDERS}
    near, far = cores()
    with tempfile.TemporaryDirectory(prefix="dsrlb-bench-") as folder:
        for _ in range(rounds):
            for name, turn in _round(kind, Path(folder), window_s, near, far).items():
                turns[name].append(turn)
    return turns


def _round(kind: str, folder: Path, window_s: int, near: int, far: int) -> dict[str, Turn]:
    ports = _free_ports(len(CONTENDERS) + SERVERS)
    ours, behind = dict(zip(CONTENDERS, ports, strict=False)), ports[len(CONTENDERS) :]
    with contextlib.ExitStack() as undo:
        undo.enter_context(_haproxy(folder / "servers.cfg", _servers(behind), near, behind))
        running = {
            name: undo.enter_context(_haproxy(folder / f"{name}.cfg", text, far, [ours[name]]))
            for name, text in _texts(kind, ours, behind, folder).items()
        }
        before_s = {name: cpu_seconds(pid) for name, pid in running.items()}
        with ThreadPoolExecutor(len(ours)) as pool:
            asked = pool.map(lambda port: _asked(kind, port, window_s, near), ours.values())
            answered = dict(zip(ours, asked, strict=True))
        return {
            name: Turn(*answered[name], cpu_seconds(running[name]) - before_s[name]) for name in CONTENDERS
        }


def _texts(kind: str, ours: Mapping[str, int], behind: Sequence[int], folder: Path) -> dict[str, str]:
    """Return the configurations of both contenders."""
    certificate = make_certificate(folder, "IP:127.0.0.1") if kind == "https" else None
    layer = 4 if kind == "tcp" else 7
    more = f'certificates = "{certificate}"\n' if certificate else ""
    more += "retries = 0\n" if kind == "no-retries" else ""
    toml = SERVICE.format(port=ours["dsrlb"], layer=layer, more=more)
    toml += "".join(BACKEND.format(number=number, port=port) for number, port in enumerate(behind, 1))
    services = [_on_loopback(one) for one in config_in(toml.encode(), "dsrlb.toml").proxied]
    states = render.states(services, compiled(services, ALL_UP))
    written = render.configuration(services, states, folder / "runtime.sock")
    return {"dsrlb": written, "hand": hand_written(kind, ours["hand"], behind, certificate)}


def _on_loopback(service: Service) -> Service:
    """Return a service at addresses that no configuration may have: those of this host to itself."""
    here = tuple(replace(one, address=SERVER) for one in service.backends)
    return replace(service, vip=VIP, backends=here)


def _servers(ports: Sequence[int]) -> str:
    binds = ",".join(f"127.0.0.2:{port}" for port in ports)
    return BEHIND.format(binds=binds, body="x" * 1024)


@contextlib.contextmanager
def _haproxy(file: Path, text: str, core: int, ports: Sequence[int]) -> Iterator[int]:
    """Run HAProxy on a core for the length of a block, and say its number; one core is one thread."""
    file.write_text(text)
    words = ["taskset", "-c", str(core), program(), "-db", "-f", str(file)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)  # noqa: S603  fixed words, and a found path
    try:
        until = time.monotonic() + START_WITHIN_S
        while not all(map(_listens, ports)):
            if process.poll() is not None or time.monotonic() > until:
                raise DsrlbError(f"HAProxy does not start with {file.name}; its own words are above.")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as one, socket.socket() as other:
        places = ((one, "127.0.0.1"), (other, "127.0.0.2"))
        return any(sock.connect_ex((host, port)) == 0 for sock, host in places)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as undo:
        sockets = [undo.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _asked(kind: str, port: int, window_s: int, core: int) -> tuple[int, float]:
    """Have wrk ask for so long, and return how many requests were answered, in how many seconds."""
    scheme = "https" if kind == "https" else "http"
    words = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{window_s}s"]
    words.append(f"{scheme}://127.0.0.1:{port}/")
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  fixed words
    found = _REQUESTS.search(done.stdout)
    if done.returncode or found is None:
        raise DsrlbError(f"wrk could not ask: {(done.stderr or done.stdout).strip()[-200:]}")
    if failed := _FAILED.search(done.stdout):
        raise DsrlbError(f"Requests failed: {failed.group()}.")
    seconds = float(found[2]) * {"ms": 0.001, "s": 1, "m": 60}[found[3]]
    return int(found[1]), seconds


def ratio(turns: Turns, of: Callable[[Turn], float] = lambda one: one.requests) -> float:
    """Return dsrlb's throughput by the hand-written one's: the median of the rounds."""
    pairs = zip(turns["dsrlb"], turns["hand"], strict=True)
    return median(of(ours) / of(theirs) for ours, theirs in pairs)


def report(kind: str, turns: Turns) -> Iterator[str]:
    """Yield the lines of one kind of service."""
    for name, each in turns.items():
        yield (
            f"{kind:<10} {name:<6} {median(one.requests / one.seconds for one in each):>10,.0f} requests/s"
            f" {median(one.per_cpu_s for one in each):>10,.0f} a CPU second"
        )
    by_cpu = ratio(turns, lambda one: one.per_cpu_s)
    verdict = "met" if is_met(turns) else "NOT met"
    found = f"{ratio(turns):.3f} (by CPU time {by_cpu:.3f})"
    yield f"{kind:<10} dsrlb / hand {found}, at least {BAR:g}: {verdict}"


def is_met(turns: Turns) -> bool:
    """Return whether dsrlb's is slower by no more than promised."""
    return ratio(turns) >= BAR
