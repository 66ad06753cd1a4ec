"""What checking many servers costs the process that does it, and whether the checks come in time.

::

    dsrlbb-lb                               dsrlbb-wire
    e0 198.18.0.2: dsrlb serve, engine ──── w0: the servers' addresses, all of them; the VIP on lo;
       packet, without traffic                  one process that answers for all

Each second every server is asked once, or a little more often: a check may be up to a tenth early.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from dsrlb.bench.ground import LB, LB_DEVICE, WIRE, WIRE_DEVICE, cores, ends, inside
from dsrlb.errors import DsrlbError

VIP, OWN, FIRST, PREFIX, PORT = "198.18.0.100", "198.18.0.2", IPv4Address("198.18.4.1"), 15, 80
KINDS = ("tcp", "http")
MOST_PERCENT, JUDGED = 25.0, ("tcp", "by the path")
SETTLE_S, READY_WITHIN_S = 3.0, 30.0


@dataclass(frozen=True)
class Turn:
    """One kind of check, asked one way."""

    kind: str
    way: str
    servers: int
    percent: float  # of one core, of the whole process
    asked_a_second: float
    is_late: bool  # the log says so

    @property
    def is_met(self) -> bool:
        """Whether it is as cheap and as regular as promised."""
        is_cheap = (self.kind, self.way) != JUDGED or self.percent <= MOST_PERCENT
        return is_cheap and not self.is_late and self.asked_a_second >= self.servers


def run(servers: int, window_s: float) -> list[Turn]:
    """Measure every kind both ways."""
    serving, answering = cores()
    with (
        ends(_network(servers)),
        _started(["-m", "dsrlb.bench.answering", str(PORT)], WIRE, answering) as them,
    ):
        return [
            _turn(kind, way, servers, window_s, serving, them)
            for kind in KINDS
            for way in ("by the path", "directly")
        ]


def report(turns: Sequence[Turn]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"{'check':<6} {'way':<12} {'servers':>7} {'checks/s':>9} {'of a core':>10}"
    for one in turns:
        late = "" if one.asked_a_second >= one.servers and not one.is_late else "  late"
        share = f"{one.percent:.1f} %"
        yield f"{one.kind:<6} {one.way:<12} {one.servers:>7} {one.asked_a_second:>9.0f} {share:>10}{late}"
    yield f"bar: {' '.join(JUDGED)} takes no more than {MOST_PERCENT:g} %, and no check is late"


def _network(servers: int) -> list[str]:
    """Return the commands of ``ip -batch`` for both ends, as NAMESPACE and command."""
    addresses = [f"{FIRST + number}/{PREFIX} dev {WIRE_DEVICE}" for number in range(servers)]
    own = f"{OWN}/{PREFIX} dev {LB_DEVICE}"
    return [f"{WIRE} addr add {one}" for one in (*addresses, f"{VIP}/32 dev lo")] + [f"{LB} addr add {own}"]


def _turn(kind: str, way: str, servers: int, window_s: float, core: int, them: subprocess.Popen[str]) -> Turn:
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder, "dsrlb.toml"), Path(folder, "log")
        file.write_text(_config(kind, way, servers), encoding="utf-8")
        own = ["--admin", "off", "--state-dir", folder]
        words = ["-m", "dsrlb", "serve", "--engine", "packet", *own, "--config", str(file)]
        with log.open("w", encoding="utf-8") as said, _started(words, LB, core, said) as serving:
            _wait_for_ready(serving, log)
            time.sleep(SETTLE_S)
            began, came, cpu_s = time.monotonic(), _came(them), _cpu_s(serving)
            time.sleep(window_s)
            took_s, cpu_s, came = time.monotonic() - began, _cpu_s(serving) - cpu_s, _came(them) - came
        is_late = "late" in log.read_text(encoding="utf-8")
    return Turn(kind, way, servers, 100 * cpu_s / took_s, came / took_s, is_late)


def _config(kind: str, way: str, servers: int) -> str:
    direct = str(way == "directly").lower()
    lines = [f'interfaces = ["{LB_DEVICE}"]', "[[service]]", f'vip = "{VIP}:{PORT}"', 'mode = "l2dsr"']
    lines += ["[service.check]", f'kind = "{kind}"', "interval = 1", f"direct = {direct}"]
    lines += [f'[[service.backend]]\naddress = "{FIRST + number}"' for number in range(servers)]
    return "\n".join(lines)


@contextlib.contextmanager
def _started(
    words: Sequence[str], namespace: str, core: int, log: object = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    command = inside(namespace, "taskset", "-c", str(core), sys.executable, *words)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True) as process:  # type: ignore[call-overload]  # noqa: S603  fixed words
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()


def _wait_for_ready(serving: subprocess.Popen[str], log: Path) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while "ready: " not in log.read_text(encoding="utf-8"):
        if serving.poll() is not None or time.monotonic() > until:
            raise DsrlbError(f"dsrlb serve did not begin: {log.read_text(encoding='utf-8').strip()}")
        time.sleep(0.05)


def _came(them: subprocess.Popen[str]) -> int:
    assert them.stdin is not None and them.stdout is not None  # noqa: S101  both are pipes
    them.stdin.write("\n")
    them.stdin.flush()
    return int(them.stdout.readline())


def _cpu_s(process: subprocess.Popen[str]) -> float:
    """Return how long a process has computed: ``ip netns exec`` and ``taskset`` have become it."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
