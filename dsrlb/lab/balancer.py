"""``dsrlb serve`` in the lab: start it in a node, wait until it is ready, stop it, read what it said."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsrlb.errors import DsrlbError
from dsrlb.lab.commands import inside
from dsrlb.lab.processes import start
from dsrlb.lab.topology import Lab

READY_DEADLINE_S = 30.0
STOP_DEADLINE_S = 20.0
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Balancer:
    """A running ``dsrlb serve``."""

    process: subprocess.Popen[bytes]
    stdout_file: Path
    stderr_file: Path
    admin: Path  # its admin socket

    @property
    def stdout(self) -> str:
        """What it has printed so far: the counters, once it has stopped."""
        return self.stdout_file.read_text()

    @property
    def stderr(self) -> str:
        """What it has logged so far."""
        return self.stderr_file.read_text()

    def stop(self, sign: signal.Signals = signal.SIGTERM, deadline_s: float = STOP_DEADLINE_S) -> int:
        """Send a signal and return the exit code; DsrlbError if it does not end in time."""
        if self.process.poll() is None:
            self.process.send_signal(sign)
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired as late:
            self.process.kill()
            self.process.wait()
            raise DsrlbError(f"dsrlb serve did not stop within {deadline_s:g} s of {sign.name}") from late

    def wait_for(self, words: str, deadline_s: float = READY_DEADLINE_S, since: int = 0) -> str:
        """Wait until the log has a line that matches the regular expression, and return that line.

        ``since``: so many characters of the log are of before, and do not count.
        """
        end = time.monotonic() + deadline_s
        while not (found := re.search(f"^.*(?:{words}).*$", self.stderr[since:], re.MULTILINE)):
            code = self.process.poll()
            if code is not None or time.monotonic() > end:
                state = "is silent" if code is None else f"ended with exit code {code}"
                said = self.stderr.strip()
                raise DsrlbError(f"dsrlb serve {state} where {words!r} was awaited; it said: {said}")
            time.sleep(0.01)
        return found.group()


def serve_flags(lab: Lab, *flags: str, version: int = 4, ports: Sequence[str] = ()) -> list[str]:
    """Return the flags for a service of the lab's mode, its VIP and all that it sends to, then ``flags``."""
    line = [
        "--mode",
        lab.forwards,
        "--interface",
        "e0",
    ]  # where clients are; behind e1 there are only servers
    vip = lab.vips[0] if version == 4 else f"[{lab.vips[-1]}]"
    for port in ports or (("80", "443") if lab.proxy_names else ("80",)):
        line += ["--vip", f"{vip}:{port}"]
    for role in lab.backend_names:
        called = f",name={role}" if role in lab.proxy_names else ""
        line += ["--backend", f"{lab.address(role, version)}{called}"]
    return [*line, *(["--snat"] if lab.snat else []), *flags]


def dsrlb(*arguments: str) -> list[str]:
    """Return the command line of this very dsrlb."""
    return [sys.executable, "-m", "dsrlb", *arguments]


def own_places(admin: Path) -> list[str]:
    """Return a balancer's flags for its admin socket, and for a folder beside it that holds over restarts."""
    return ["--admin", str(admin), "--state-dir", str(admin.with_suffix(".state"))]


def serve(
    lab: Lab,
    flags: Sequence[str],
    role: str = "lb",
    ready: bool = True,
    admin: Path | None = None,
    program: Sequence[str] = (),
) -> Balancer:
    """Start ``dsrlb serve`` in a node and return when it says that it is ready (``ready``: wait for that).

    ``admin``: its admin socket; two starts with the same one are one and the same balancer, started again.
    ``program``: a command line in place of this very dsrlb's.
    """
    name = f"serve-{next(_numbers)}"
    out, err = (lab.run_directory / f"{name}.{kind}" for kind in ("out", "err"))
    admin = admin or lab.run_directory / f"{name}.sock"
    own = ["--admin", str(admin)] if _names_state(flags) else own_places(admin)
    process = start(lab, role, [*(program or dsrlb()), "serve", *own, *flags], name)
    balancer = Balancer(process, out, err, admin)
    if ready:
        try:
            balancer.wait_for(r"\bready\b")
        except BaseException:
            process.kill()
            process.wait()
            raise
    return balancer


def _names_state(flags: Sequence[str]) -> bool:
    """Return whether a configuration file among the flags says where to keep what holds over restarts."""
    files = [Path(flags[place + 1]) for place, word in enumerate(flags[:-1]) if word == "--config"]
    return any(one.is_file() and "state_dir" in one.read_text() for one in files)


def run_dsrlb(
    lab: Lab, role: str, *arguments: str, deadline_s: float = 30
) -> subprocess.CompletedProcess[str]:
    """Run a dsrlb command in a node to its end, whatever its exit code.

    What ``serve`` keeps over restarts is in the lab's own folder.
    """
    verb, *words = arguments
    if verb == "serve" and not _names_state(words):
        words = ["--state-dir", str(lab.run_directory / "state"), *words]
    command = inside(lab.namespace(role), *dsrlb(verb, *words))
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=deadline_s)
