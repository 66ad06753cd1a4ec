"""Commands of the lab: run on this machine, or inside of a node."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from dsrlb.errors import DsrlbError, HostError


def require_root() -> None:
    """Raise HostError unless namespaces can be made here."""
    if os.geteuid() != 0:
        raise HostError("the lab builds network namespaces and needs root: run it with sudo")
    missing = [tool for tool in ("ip", "sysctl") if shutil.which(tool) is None]
    if missing:
        raise HostError(f"the lab needs {' and '.join(missing)}: install the packages iproute2 and procps")


def inside(namespace: str, *command: str) -> list[str]:
    """Return the command that runs ``command`` in a namespace."""
    return ["ip", "netns", "exec", namespace, *command]


def run(command: Sequence[str], stdin: str = "") -> str:
    """Run a command and return what it printed; DsrlbError with its own words if it fails."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())
        raise DsrlbError(f"the lab's command '{' '.join(command)}' failed: {words}")
    return done.stdout
