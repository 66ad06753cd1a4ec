"""A stand-in for ``systemctl`` in a pretended machine: start and stop services as their unit files say.

Only what the scripts of ``vagrant/provision`` and its README ask for: enable, disable, start, stop, restart,
is-active, daemon-reload; and ``boot``, which starts all that is enabled.  Units of type notify count as
started when they say so, others when their command has ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

FOLDERS = [Path("/etc/systemd/system"), Path("/lib/systemd/system")]
WANTED = FOLDERS[0] / "multi-user.target.wants"
DEADLINE_S = 60.0
SILENT = {"keepalived"}  # it tells a real systemd alone that it is ready


def unit(name: str) -> Path:
    """Return the file of a unit."""
    name = name.removesuffix(".service") + ".service"
    found = [folder / name for folder in FOLDERS if (folder / name).is_file()]
    if not found:
        sys.exit(f"Unit {name} not found.")
    return found[0]


def setting(file: Path, key: str) -> str:
    """Return the first value that a unit gives to a key."""
    return next(iter(re.findall(rf"^{key}=-?(.*)$", file.read_text(), re.MULTILINE)), "")


def pid_file(file: Path) -> Path:
    """Return where the number of its main process is."""
    return Path(setting(file, "PIDFile") or f"/run/{file.stem}.main-pid")


def main_pid(file: Path) -> int:
    """Return its main process, 0 if none is alive."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file(file).read_text())
        if "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
            return pid
    return 0


def start(file: Path) -> int:
    """Start it, if it is not there; return an exit code."""
    if main_pid(file):
        return 0
    command = shlex.split(setting(file, "ExecStart").replace("$DAEMON_ARGS", ""))
    with Path(f"/var/log/{file.stem}.log").open("ab") as log:
        if setting(file, "Type") == "notify":
            return start_and_hear(file, command, log)
        return subprocess.run(command, stdout=log, stderr=log, check=False).returncode


def start_and_hear(file: Path, command: list[str], log: BinaryIO) -> int:
    """Start a process and return when it says that it is ready, or has ended."""
    where = f"/run/{file.stem}.notify"
    Path(where).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(where)
        surroundings = {**os.environ, "NOTIFY_SOCKET": where}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=surroundings, start_new_session=True)
        pid_file(file).write_text(str(process.pid))
        if file.stem in SILENT:
            return 0
        end = time.monotonic() + DEADLINE_S
        while process.poll() is None and time.monotonic() < end:
            if select.select([heard], [], [], 0.05)[0] and b"READY=1" in heard.recv(4096):
                return 0
    return 1


def stop(file: Path) -> int:
    """Stop it and return when it has ended."""
    pid, end = main_pid(file), time.monotonic() + DEADLINE_S
    if pid:
        os.kill(pid, signal.SIGTERM)
    while main_pid(file) == pid and pid and time.monotonic() < end:
        time.sleep(0.02)
    return int(bool(pid) and main_pid(file) == pid)


def main(verb: str, *names: str) -> int:
    """Do it for all that are named."""
    files = [unit(name) for name in names]
    if verb == "enable":
        WANTED.mkdir(exist_ok=True)
        for file in files:
            (WANTED / file.name).unlink(missing_ok=True)
            (WANTED / file.name).symlink_to(file)
    elif verb == "disable":
        for file in files:
            (WANTED / file.name).unlink(missing_ok=True)
    elif verb == "boot":
        return max([start(unit(one.name)) for one in sorted(WANTED.glob("dsrlb*"))], default=0)
    elif verb == "is-active":
        at_work = [bool(main_pid(file)) for file in files]
        print("\n".join("active" if one else "inactive" for one in at_work))
        return 0 if all(at_work) else 3
    elif verb in ("stop", "restart", "start"):
        codes = [stop(file) for file in files if verb != "start"]
        return max(codes + [start(file) for file in files if verb != "stop"], default=0)
    elif verb != "daemon-reload":
        sys.exit(f"Unknown command verb {verb}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*(word for word in sys.argv[1:] if not word.startswith("--"))))
