"""The HAProxy process: found, asked whether it takes a configuration, started, reloaded, watched, stopped.

It is in a session of its own, so that it goes on when the process that started it is killed; whoever is
started next finds it by its file of the process number and takes it over by a reload, in which the new
workers get the sockets of the old ones: no connection is refused meanwhile.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess  # the only programs run are HAProxy itself
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dsrlb.engines.haproxy.runtime import command
from dsrlb.errors import ConfigError, HostError

PROGRAM = "haproxy"
OLDEST = (2, 6)  # that these configurations were tried with
SAY_WITHIN_S = 10.0
END_WITHIN_S = 3.0

log = logging.getLogger("dsrlb")


@dataclass(frozen=True)
class Places:
    """Where the files of one HAProxy are."""

    folder: Path

    @property
    def configuration(self) -> Path:
        """What it runs by."""
        return self.folder / "haproxy.cfg"

    @property
    def runtime(self) -> Path:
        """Where it takes commands."""
        return self.folder / "runtime.sock"

    @property
    def master(self) -> Path:
        """Where its master process takes commands."""
        return self.folder / "master.sock"

    @property
    def pid(self) -> Path:
        """The number of its master process."""
        return self.folder / "haproxy.pid"


def program() -> str:
    """Return the path of HAProxy.  ConfigError: there is none, or it is too old."""
    path = shutil.which(PROGRAM, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise ConfigError("mode proxy needs HAProxy, which is not on this host: apt install haproxy.")
    said = _run([path, "-v"]).stdout
    found = re.search(r"version (\d+)\.(\d+)", said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < OLDEST:
        raise ConfigError(
            f"{path} is HAProxy {version[0]}.{version[1]}; mode proxy needs {OLDEST[0]}.{OLDEST[1]} or newer."
        )
    return path


def check(path: str, configuration: Path) -> None:
    """Raise ConfigError with what HAProxy finds wrong with a configuration."""
    done = _run([path, "-c", "-f", str(configuration)])
    if done.returncode:
        raise ConfigError(*(_alerts(done.stderr + done.stdout) or [f"HAProxy refuses {configuration}."]))


def alerts_of(path: str, configuration: Path) -> str:
    """Return all that HAProxy says of a configuration, in its own words."""
    done = _run([path, "-c", "-f", str(configuration)])
    return done.stderr + done.stdout


def _alerts(said: str) -> list[str]:
    """Return HAProxy's alerts without its marks, each once."""
    found = re.findall(r"\[ALERT\]\s+\(\d+\) : (?:config : )?(.*)", said)
    sentences = [re.sub(r"^parsing \[[^]]*\] : ", "", one) for one in found]
    return [one for one in dict.fromkeys(sentences) if not one.startswith(("Error(s) found", "Fatal errors"))]


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603  (the program that was found, by its full path)
            words, capture_output=True, text=True, timeout=SAY_WITHIN_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{words[0]} cannot be run ({error}).") from None


class Process:
    """One running HAProxy: the master process, and its workers."""

    def __init__(self, path: str, places: Places) -> None:
        """Take the program, and where its files are; one that runs by them already is taken over."""
        self._path, self._places = path, places
        self._child: subprocess.Popen[bytes] | None = None
        self.pid = running(places)

    @property
    def is_running(self) -> bool:
        """Whether the master process lives."""
        if self._child is not None:
            return self._child.poll() is None
        return self.pid is not None and running(self._places) == self.pid

    def start(self) -> None:
        """Start it, and wait until it takes commands.  HostError: it does not."""
        self._places.runtime.unlink(missing_ok=True)
        words = [self._path, "-W", "-S", str(self._places.master), "-p", str(self._places.pid)]
        words += ["-f", str(self._places.configuration)]
        self._child = subprocess.Popen(  # noqa: S603  (the program that was found, by its full path)
            words, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self.pid = self._child.pid
        self._await(lambda: self._reloads() is not None, "does not start")

    def reload(self) -> None:
        """Let new workers with the configuration of now take the sockets over.  HostError: they did not."""
        before = self._reloads()
        if self.pid is None or before is None:
            raise HostError("HAProxy cannot be reloaded: it does not answer.")
        os.kill(self.pid, signal.SIGUSR2)
        self._await(lambda: self._reloads() not in (None, before), "does not reload")
        after = self._reloads()
        if after is not None and after[1] > before[1]:
            raise HostError("HAProxy did not take its new configuration, and goes on with the one before.")

    def _reloads(self) -> tuple[int, int] | None:
        """Return how many reloads there were, and how many of them failed; None: it has no worker yet."""
        with suppress(HostError):
            said = command(self._places.master, "show proc")
            found = re.search(r"master\s+(\d+) \[failed: (\d+)\].*?# workers\n\d+", said, re.DOTALL)
            return (int(found[1]), int(found[2])) if found else None
        return None

    def _await(self, is_done: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + SAY_WITHIN_S
        while not is_done():
            if not self.is_running or time.monotonic() > until:
                raise HostError(f"HAProxy {what}; its own words are above.")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it and its workers; harmless when repeated."""
        pid, self.pid = self.pid, None
        if pid is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(pid, number)
            if self._has_ended(pid):
                break
        for path in (self._places.pid, self._places.runtime, self._places.master):
            path.unlink(missing_ok=True)

    def _has_ended(self, pid: int) -> bool:
        until = time.monotonic() + END_WITHIN_S
        while time.monotonic() < until:
            if self._child is not None:
                self._child.poll()
            if not _members(pid):
                return True
            time.sleep(0.02)
        return False


def _members(group: int) -> bool:
    """Return whether a process group has a member."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def running(places: Places) -> int | None:
    """Return the number of the master process that runs by these files; None: none does."""
    with suppress(OSError, ValueError):
        pid = int(places.pid.read_text().split()[0])
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if str(places.configuration).encode() in words:
            return pid
    return None
