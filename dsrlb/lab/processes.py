"""Processes of the lab: started in a namespace, recorded, and stopped by exactly that record.

Each started process leads a session of its own.  The record is one file a session,
``<pid>.pid`` with the process's start time in it, so that a number which the kernel has given
to someone else meanwhile is never signalled.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from dsrlb.lab.build import present
from dsrlb.lab.commands import inside
from dsrlb.lab.topology import Lab

STOP_DEADLINE_S = 3.0


def start(lab: Lab, role: str, command: Sequence[str], name: str) -> subprocess.Popen[bytes]:
    """Start a command in a node; its output goes to ``<name>.out`` and ``.err`` in the run directory."""
    directory = lab.run_directory
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f"{name}.out").open("wb") as out, (directory / f"{name}.err").open("wb") as err:
        process = subprocess.Popen(
            inside(lab.namespace(role), *command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    (directory / f"{process.pid}.pid").write_text(f"{start_time(process.pid)}\n")
    return process


def stop_all(prefix: str) -> None:
    """Stop every process recorded by a lab or living in one of its namespaces; none may be there."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        pids = _living(prefix)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        wait_gone(pids, STOP_DEADLINE_S)


def _living(prefix: str) -> set[int]:
    pids = set(recorded(prefix))
    for namespace in present(prefix):
        command = ["ip", "netns", "pids", namespace]  # fails on a name without a namespace: nobody is in it
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
        pids.update(int(word) for word in listed.stdout.split())
    return pids - _own_line()


def _own_line() -> set[int]:
    """Return this process and its ancestors: a lab is also taken down from a shell inside of it."""
    line, pid = set(), os.getpid()
    while pid > 0 and pid not in line:
        line.add(pid)
        fields = _stat(pid)
        pid = int(fields[1]) if fields else 0
    return line


def recorded(prefix: str) -> list[int]:
    """Return the living processes of the sessions that a lab recorded."""
    sessions = set()
    for record in Lab(prefix).run_directory.glob("*.pid"):
        with contextlib.suppress(ValueError):
            leader, started = int(record.stem), int(record.read_text())
            if start_time(leader) in (None, started):  # gone, or still the same one
                sessions.add(leader)
    alive = ((pid, _stat(pid)) for pid in _all_pids())
    return [pid for pid, stat in alive if stat and stat[0] != "Z" and int(stat[3]) in sessions]


def wait_gone(pids: Iterable[int], deadline_s: float) -> None:
    """Wait until the processes have ended, or the deadline has passed."""
    end = time.monotonic() + deadline_s
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            select.select([handle], [], [], max(0.0, end - time.monotonic()))
        finally:
            os.close(handle)


def start_time(pid: int) -> int | None:
    """Return when a process began, in clock ticks since boot; None if there is no such process."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on (proc(5), field 3), past the quoted name."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
