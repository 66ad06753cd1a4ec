"""The HAProxy process: started, reloaded, watched, stopped; found again by who comes next.

It is in a session of its own, so that it goes on when the process that started it is killed; whoever is
started next finds it by its file of the process number and takes it over by a reload, in which the new
workers get the sockets of the old ones: no connection is refused meanwhile.

It inherits no file but its log, and no word of the service manager's.
"""

from __future__ import annotations

import os
import signal
import subprocess  # the only program run is HAProxy itself
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dsrlb.engines.haproxy.places import Places
from dsrlb.engines.haproxy.program import alerts
from dsrlb.engines.haproxy.runtime import ANSWER_WITHIN_S, Workers, workers
from dsrlb.errors import ConfigError, HostError

START_WITHIN_S = 10.0
RELOAD_WITHIN_S = 3.0  # it is to answer before it is told to, and is waited for then
END_WITHIN_S = 3.0
LOOK_EVERY_S = 0.01
LOOKS = 5
MOST_LOG_BYTES = 1 << 20
UMASK = 0o077
# Beside those of dsrlb: ports below 1024, workers that run as another user, and signals to these.
CAPABILITIES = ("CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID", "CAP_KILL")
OWN_NETWORK = Path("/proc/self/ns/net")


class Process:
    """One running HAProxy: the master process, and its workers."""

    def __init__(self, path: str, places: Places) -> None:
        """Take the program, and where its files are; one that runs by them already is taken over.

        ConfigError: it is of another network namespace.
        """
        self._path, self._places = path, places
        self._child: subprocess.Popen[bytes] | None = None
        self._before: tuple[Workers, int] | None = None  # a reload, and the length of its log
        self._lengths: deque[int] = deque(maxlen=LOOKS)  # of its log, at the last looks at which it served
        self.pid = running(places)
        self.note()
        if self.pid is not None and not is_here(self.pid):
            raise ConfigError(
                f"HAProxy runs in another network namespace by {places.configuration}; give this dsrlb a "
                "name of its own (--instance)."
            )

    @property
    def is_running(self) -> bool:
        """Whether the master process lives."""
        if self._child is not None:
            return self._child.poll() is None
        return self.pid is not None and _runs_by(self.pid, self._places)

    @property
    def is_ready(self) -> bool:
        """Whether it takes commands and connections."""
        said = self.workers()
        return said is not None and said.now is not None and self._places.runtime.exists()

    def workers(self, within_s: float = ANSWER_WITHIN_S) -> Workers | None:
        """Return its processes; None while it does not tell."""
        with suppress(HostError):
            return workers(self._places.master, within_s)
        return None

    def launch(self) -> None:
        """Begin to start it; what is left of one before ends at once."""
        self._child, self.pid, self._before = None, None, None
        self._lengths.clear()
        end_all(self._places)
        for path in (self._places.runtime, self._places.master, self._places.pid, self._places.log):
            path.unlink(missing_ok=True)
        words = [self._path, "-W", "-S", f"{self._places.master},mode,600", "-p", str(self._places.pid)]
        words += ["-f", str(self._places.configuration)]
        with self._places.log.open("ab") as says:
            self._child = subprocess.Popen(  # noqa: S603  (the program that was found, by its full path)
                words,
                stdin=subprocess.DEVNULL,
                stdout=says,
                stderr=says,
                start_new_session=True,
                umask=UMASK,
                env={"PATH": os.environ.get("PATH", os.defpath)},
                cwd="/",
            )
        self.pid = self._child.pid

    def start(self) -> None:
        """Start it, and wait until it takes connections.  HostError: it does not."""
        self.launch()
        until_s = time.monotonic() + START_WITHIN_S
        while not self.is_ready:
            if not self.is_running or time.monotonic() > until_s:
                raise HostError(f"HAProxy does not start{self._why(0)}.")
            time.sleep(LOOK_EVERY_S)

    def reload(self) -> None:
        """Let new workers with the configuration of now take the sockets over; wait for it, not for long.

        HostError: they did not, and those of before go on.
        """
        if self.lost:
            raise HostError(f"HAProxy cannot be reloaded: {self.lost}")
        before = self.workers(RELOAD_WITHIN_S)
        if self.pid is None or before is None:
            raise HostError(f"HAProxy cannot be reloaded: it has not answered within {RELOAD_WITHIN_S:g} s.")
        if self._places.log.exists() and self._places.log.stat().st_size > MOST_LOG_BYTES:
            os.truncate(self._places.log, 0)
            self._lengths.clear()
        said_before = self._said_length()
        os.kill(self.pid, signal.SIGUSR2)
        self._before = before, said_before
        until_s = time.monotonic() + RELOAD_WITHIN_S
        while self.is_loading() and time.monotonic() < until_s:
            time.sleep(LOOK_EVERY_S)

    def is_loading(self) -> bool:
        """Return whether a reload is under way.  HostError, once: it failed, those of before go on."""
        if self._before is None:
            return False
        before, said_before = self._before
        now = self.workers()
        if self.is_running and (now is None or now.now is None or now.reloads <= before.reloads):
            return True
        self._before = None
        if now is None:
            raise HostError(f"HAProxy does not reload{self._why(said_before)}.")
        if now.failed > before.failed:
            raise HostError(f"HAProxy does not reload, and goes on as before{self._why(said_before)}.")
        return False

    def note(self) -> None:
        """Take it that it serves now: what it has said until now is not why it ends later."""
        self._lengths.append(self._said_length())

    def _said_length(self) -> int:
        try:
            return self._places.log.stat().st_size
        except OSError:
            return 0

    @property
    def lost(self) -> str:
        """Why it cannot be told anything any more, although it runs; empty: it can."""
        if not self.is_running or self._places.master.exists():
            return ""
        return (
            f"its sockets in {self._places.folder} are gone. HAProxy (process {self.pid}) serves on as it "
            f"is; end it (kill {self.pid}), and dsrlb starts another one."
        )

    def why_ended(self) -> str:
        """Return why it ended, as far as it said so just then: empty, or words that follow a sentence."""
        return self._why(self._lengths[0] if self._lengths else 0)

    def _why(self, since: int) -> str:
        try:
            with self._places.log.open("rb") as log:
                log.seek(since)
                said = alerts(log.read().decode(errors="replace"))
        except OSError:
            return ""
        return f" ({said[0].rstrip('.')})" if said else ""

    def stop(self) -> None:
        """End it and its workers; harmless when repeated."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if end_all(self._places, number, self._child):
                break
        self._child, self.pid = None, None
        for path in (self._places.pid, self._places.runtime, self._places.master):
            path.unlink(missing_ok=True)


def running(places: Places) -> int | None:
    """Return the number of the master process that runs by these files; None: none does."""
    with suppress(OSError, ValueError, IndexError):
        pid = int(places.pid.read_text().split()[0])
        if _runs_by(pid, places):
            return pid
    return None


def processes(places: Places) -> Iterator[int]:
    """Yield every process here that runs by these files: a master, and workers, also those without one."""
    for entry in Path("/proc").iterdir():
        pid = int(entry.name) if entry.name.isdigit() else 0
        if pid and _runs_by(pid, places, looks=1) and is_here(pid):
            yield pid


def end_all(
    places: Places,
    number: signal.Signals = signal.SIGKILL,
    child: subprocess.Popen[bytes] | None = None,
) -> bool:
    """Send a signal to all processes that run by these files; return whether they have ended, in a while."""
    until = time.monotonic() + END_WITHIN_S
    left = list(processes(places))
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    while left and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
        if child is not None:
            child.poll()
        left = [pid for pid in left if _runs_by(pid, places, looks=1)]
    return not left


def _runs_by(pid: int, places: Places, looks: int = LOOKS) -> bool:
    """Return whether a process lives that runs by these files.

    One that has ended has no command line, nor has one for a moment that goes over to a program: as the
    master does in a reload.
    """
    with suppress(OSError):
        for look in range(looks):
            if line := Path(f"/proc/{pid}/cmdline").read_bytes():
                words = line.split(b"\0")
                return b"-W" in words and os.fsencode(places.configuration) in words
            if look < looks - 1:
                time.sleep(LOOK_EVERY_S)
    return False


def is_here(pid: int) -> bool:
    """Return whether a process is in this network namespace."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/ns/net").stat().st_ino == OWN_NETWORK.stat().st_ino
    return False
