"""What a churn run works on: a lab, hearts on its servers, a holder on its client, balancers to torment."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dsrlb
from dsrlb.errors import DsrlbError
from dsrlb.lab import xdp
from dsrlb.lab.balancer import READY_DEADLINE_S, Balancer, run_dsrlb, serve
from dsrlb.lab.commands import inside, run
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import Lab
from dsrlb.model import Address

PREFIX, SERVERS, PORT, CHECK_PORT = "dsrlb-churn-", 4, 7000, 7001
SOURCES = [ip_address(f"198.18.0.{host}") for host in range(100, 164)]  # of the client
PORTS = str(PORT), str(CHECK_PORT)
WITHIN_S = 30.0  # an answer that takes longer counts as none
HOLD_WITHIN_S = 60.0

SERVICE = """\
interfaces = ["e0"]
[[service]]
vip = "{vip}:{port}"
mode = "{mode}"
scheduler = "{scheduler}"
[service.check]
kind = "tcp"
interval = 1
timeout = 1
port = {check_port}
"""


@dataclass(frozen=True)
class Case:
    """What is tormented."""

    engine: str
    mode: str
    scheduler: str
    balancers: int = 1

    def __str__(self) -> str:
        return f"{self.engine} {self.where} {self.scheduler}"

    @property
    def where(self) -> str:
        """The mode, and how many balancers there are if there are several."""
        return self.mode if self.balancers == 1 else f"{self.mode}*{self.balancers}"


@dataclass
class Stand:
    """A standing lab, and all that runs in it."""

    lab: Lab
    case: Case
    holder: subprocess.Popen[str]
    hearts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    running: dict[str, Balancer] = field(default_factory=dict)  # by role
    weights: dict[str, int] = field(default_factory=dict)  # of the servers that the file names
    is_changed: bool = False  # slots have changed hands: flows on record are not where the slots say

    # ------------------------------------------------------------------------- the client

    def ask(self, do: str, **words: Any) -> dict[str, Any]:
        """Have the holder do something; return what it says."""
        stdin, stdout = self.holder.stdin, self.holder.stdout
        assert stdin is not None and stdout is not None  # noqa: S101  opened as pipes below
        with suppress(BrokenPipeError):
            stdin.write(json.dumps({"do": do, **words}) + "\n")
            stdin.flush()
        line = stdout.readline()
        if not line:
            raise DsrlbError("The client that holds the connections ended before its time.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def hold(self, count: int) -> dict[str, int]:
        """Have so many connections held; return how many each server has.  DsrlbError if that cannot be."""
        answer = self.ask("hold", count=count, within_s=HOLD_WITHIN_S)
        held: dict[str, int] = answer["held"]
        if sum(held.values()) < count:
            failed = sorted(set(answer["failed"]))
            raise DsrlbError(
                f"{self.case}: only {sum(held.values())} of {count} connections could be opened: "
                f"{', '.join(failed) or 'nobody answered in time'}."
            )
        return held

    # ------------------------------------------------------------------------- the servers

    def revive(self, name: str) -> None:
        """Start the heart of a server, and wait until it beats."""
        command = [sys.executable, "-m", "dsrlb.bench.churn.heart", name, "0.0.0.0", *PORTS]  # noqa: S104
        command = inside(self.lab.namespace(name), *command)
        heart = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)  # noqa: S603  fixed
        self.hearts[name] = heart
        assert heart.stdout is not None  # noqa: S101  opened as a pipe above
        if not heart.stdout.readline():
            raise DsrlbError(f"The heartbeat server of {name} does not start.")

    def kill(self, name: str) -> None:
        """End the heart of a server at once."""
        self.hearts[name].kill()
        self.hearts.pop(name).communicate()

    def address(self, name: str) -> Address:
        """Return a server's address, as the balancer is told it."""
        return dict(zip(self.lab.server_names, self.lab.server_addresses(), strict=True))[name]

    # ------------------------------------------------------------------------- the balancers

    @property
    def file(self) -> Path:
        """The configuration file."""
        return self.lab.run_directory / "dsrlb.toml"

    def write(self) -> None:
        """Write the file, for these servers and weights."""
        mode, scheduler = self.case.mode, self.case.scheduler
        where = {"vip": self.lab.vips[0], "port": PORT, "check_port": CHECK_PORT}
        lines = SERVICE.format(mode=mode, scheduler=scheduler, **where)
        for name, weight in self.weights.items():
            lines += (
                f'[[service.backend]]\nname = "{name}"\naddress = "{self.address(name)}"\nweight = {weight}\n'
            )
        self.file.write_text(lines)

    def admin(self, role: str = "lb") -> Path:
        """Return where the admin socket of a balancer is."""
        return self.lab.run_directory / f"{role}.sock"

    def start(self, role: str = "lb", program: Sequence[str] = (), on_exit: str = "keep") -> None:
        """Start a balancer, with the program given or this one; ``on_exit``: what xdp does at its end."""
        flags = ["--config", str(self.file), "--instance", role]
        if self.case.engine == "xdp":
            flags += xdp.flags(self.lab, "--on-exit", on_exit)
        self.running[role] = serve(self.lab, flags, role, admin=self.admin(role), program=program)

    def stop(self, sign: signal.Signals = signal.SIGTERM, role: str = "lb") -> None:
        """End a balancer."""
        self.running.pop(role).stop(sign)

    def steer(self, *words: str) -> None:
        """Steer the balancers by a command."""
        for role in self.running:
            done = run_dsrlb(self.lab, role, *words, "--admin", str(self.admin(role)))
            if done.returncode:
                raise DsrlbError(f"{self.case}: dsrlb {' '.join(words)} failed: {done.stderr.strip()}")

    def wait_for(self, words: str, since: Mapping[str, int]) -> None:
        """Wait until every balancer has logged something behind what it had logged before."""
        for role, one in self.running.items():
            one.wait_for(words, READY_DEADLINE_S, since.get(role, 0))

    def logged(self) -> dict[str, int]:
        """Return how much every balancer has logged so far."""
        return {role: len(one.stderr) for role, one in self.running.items()}

    def other_program(self) -> list[str]:
        """Return the command line of another installation of dsrlb: a copy of this one."""
        there = self.lab.run_directory / "upgrade"
        if not there.is_dir():
            source = Path(dsrlb.__file__).parent
            shutil.copytree(source, there / "dsrlb", ignore=shutil.ignore_patterns("__pycache__"))
        return ["env", "-C", str(there), sys.executable, "-m", "dsrlb"]


@contextmanager
def stand(case: Case, prefix: str = PREFIX) -> Iterator[Stand]:
    """Hold up all that a case needs, for the length of a block; nothing is left of it."""
    is_xdp = case.engine == "xdp"
    lab = Lab(prefix, SERVERS, mode=case.mode, ipv6=False, xdp=is_xdp, balancers=case.balancers)
    with standing(lab), ExitStack() as undo:
        lines = [f"addr add {one}/24 dev c0" for one in SOURCES]
        run(["ip", "-n", lab.namespace("client"), "-batch", "-"], "\n".join(lines))
        command = [sys.executable, "-m", "dsrlb.bench.churn.holder", str(lab.vips[0]), str(PORT)]
        command = inside(lab.namespace("client"), *command, *map(str, SOURCES))
        holder = subprocess.Popen(  # noqa: S603  fixed words
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )  # in a session of its own: Ctrl-C is for who cleans up
        here = Stand(lab, case, holder)
        undo.callback(_end, here)
        for name in lab.server_names:
            here.revive(name)
        here.weights = dict.fromkeys(lab.server_names[:-1], 1)
        here.write()
        yield here


def _end(here: Stand) -> None:
    """End the processes that the lab does not know of; it ends the balancers."""
    here.holder.kill()
    here.holder.communicate()
    for heart in here.hearts.values():
        heart.kill()
        heart.communicate()
    for one in here.running.values():
        one.process.kill()
        one.process.wait()
