"""HAProxy and nginx, as proxies of TCP, beside ``inline``: in the lab, on this machine's own kernel.

::

    client ── router ── switch ── lb: dsrlb at the VIP, or a proxy at lb's own address ── three servers

Each round asks each of them, one after the other; what is compared is of one round.  The processor's time is
that of the whole machine, client and servers included: softirqs are nobody's, and a proxy's are many.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lab_wire import eventually, inside

from dsrlb.errors import DsrlbError, HostError
from dsrlb.lab import xdp
from dsrlb.lab.balancer import serve, serve_flags
from dsrlb.lab.commands import inside as command_inside
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import Lab

CONTENDERS = ("xdp", "packet", "haproxy", "nginx")
KINDS = {"keep-alive": (), "close": ("-H", "Connection: close")}
PORT, CONNECTIONS, SERVERS, START_S = 8080, 32, 3, 15.0
PREFIX = "dsrlb-peers-"
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
TICKS = os.sysconf("SC_CLK_TCK")

HAPROXY = """\
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen web
    bind :{port}
    balance roundrobin
{servers}
"""
NGINX = """\
load_module {module};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
stream {{
    upstream web {{ {servers} }}
    server {{ listen {port}; proxy_pass web; }}
}}
"""


@dataclass(frozen=True)
class Turn:
    """One contender in one round: requests answered, the time they took, and the machine's work meanwhile."""

    requests: int
    seconds: float
    busy_s: float


Turns = dict[tuple[str, str], list[Turn]]  # by kind and contender


def run(rounds: int, window_s: int) -> Turns:
    """Measure all.  DsrlbError: a request failed."""
    if shutil.which("wrk") is None or not STREAM.exists():
        raise HostError("wrk and nginx's module for streams are needed: apt install wrk libnginx-mod-stream.")
    turns: Turns = {(kind, name): [] for kind in KINDS for name in CONTENDERS}
    lab = Lab(PREFIX, SERVERS, mode="inline", ipv6=False, xdp=True)
    with standing(lab):
        for number in range(rounds):
            for at in range(len(CONTENDERS)):
                name = CONTENDERS[(number + at) % len(CONTENDERS)]
                with _contender(lab, name) as place:
                    for kind, words in KINDS.items():
                        turns[kind, name].append(_asked(lab, place, words, window_s))
    return turns


@contextmanager
def _contender(lab: Lab, name: str) -> Iterator[str]:
    """Have one at work for the length of a block, and say where it is asked."""
    if name in ("xdp", "packet"):
        more = xdp.flags(lab) if name == "xdp" else ["--engine", "packet"]
        balancer = serve(lab, serve_flags(lab, *more))
        try:
            yield f"{lab.vips[0]}:80"
        finally:
            balancer.stop()
        return
    with ExitStack() as undo:
        process = subprocess.Popen(command_inside(lab.namespace("lb"), *_command(lab, name)))
        undo.callback(process.wait)
        undo.callback(process.terminate)
        if not eventually(lambda: _listens(lab), START_S):
            raise DsrlbError(f"{name} does not start.")
        yield f"{lab.address('lb')}:{PORT}"


def _command(lab: Lab, name: str) -> list[str]:
    file = lab.run_directory / f"{name}.cfg"
    if name == "haproxy":
        lines = [f"    server rs{n} {one}:80" for n, one in enumerate(lab.server_addresses())]
        file.write_text(HAPROXY.format(port=PORT, servers="\n".join(lines)))
        return ["haproxy", "-db", "-f", str(file)]
    servers = " ".join(f"server {one}:80;" for one in lab.server_addresses())
    file.write_text(NGINX.format(module=STREAM, folder=lab.run_directory, port=PORT, servers=servers))
    return ["nginx", "-c", str(file), "-e", str(lab.run_directory / "nginx.log")]


def _listens(lab: Lab) -> bool:
    with inside(lab.namespace("lb")), socket.socket() as one:
        return one.connect_ex(("127.0.0.1", PORT)) == 0


def _asked(lab: Lab, place: str, words: tuple[str, ...], window_s: int) -> Turn:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{window_s}s", *words, f"http://{place}/"]
    before = _busy_s()
    done = subprocess.run(
        command_inside(lab.namespace("client"), *command), capture_output=True, text=True, check=False
    )
    busy_s = _busy_s() - before
    found = re.search(r"(\d+) requests in ([0-9.]+)s", done.stdout)
    if done.returncode or found is None or "Socket errors" in done.stdout or "Non-2xx" in done.stdout:
        raise DsrlbError(f"wrk at {place}: {(done.stderr + done.stdout).strip()[-300:]}")
    return Turn(int(found[1]), float(found[2]), busy_s)


def _busy_s() -> float:
    """Return for how long the processors have had something to do."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def report(turns: Turns) -> Iterator[str]:
    """Yield the lines of the table; ratios are to XDP's in the same round."""
    yield f"{'':<10} {'contender':<10} {'requests/s':>10} {'by xdp':>7}  {'(spread)':<16} {'CPU us':>8}"
    for (kind, name), each in turns.items():
        ratios = [
            (one.requests / one.seconds) / (ours.requests / ours.seconds)
            for one, ours in zip(each, turns[kind, "xdp"], strict=True)
        ]
        rate = median(one.requests / one.seconds for one in each)
        cost_us = median(1e6 * one.busy_s / one.requests for one in each)
        spread = f"{min(ratios):.2f}..{max(ratios):.2f}"
        yield f"{kind:<10} {name:<10} {rate:>10,.0f} {median(ratios):>7.2f}  {spread:<16} {cost_us:>8.1f}"
