"""The program HAProxy: found, asked for its version, and whether it takes a configuration."""

from __future__ import annotations

import os
import re
import shutil
import subprocess  # the only program run is HAProxy itself
from pathlib import Path

from dsrlb.errors import ConfigError, HostError

PROGRAM = "haproxy"
OLDEST = (2, 6)  # Debian 12's, that these configurations were tried with
SAY_WITHIN_S = 10.0
SEARCHED = "/usr/sbin:/usr/local/sbin"  # beside PATH, where they may not be


def program() -> str:
    """Return the path of HAProxy.  ConfigError: there is none, or it is too old."""
    return program_and_version()[0]


def program_and_version() -> tuple[str, str]:
    """Return its path and its version, for which it is run once.  ConfigError: as ``program``."""
    path = shutil.which(PROGRAM, path=f"{os.environ.get('PATH', '')}:{SEARCHED}")
    if path is None:
        raise ConfigError("mode proxy needs HAProxy, which is not on this host: apt install haproxy.")
    found, oldest = version(path), ".".join(map(str, OLDEST))
    if tuple(map(int, found.split(".")[:2])) < OLDEST:
        raise ConfigError(f"{path} is HAProxy {found}; mode proxy needs {oldest} or newer.")
    return path, found


def version(path: str) -> str:
    """Return the version of a program: ``2.6.12``.  ConfigError: it tells none."""
    said = _run([path, "-v"]).stdout
    found = re.search(r"version (\d+\.\d+(?:\.\d+)?)", said)
    if found is None:
        raise ConfigError(f"{path} is no HAProxy: asked for its version (-v), it tells none.")
    return found[1]


def check(path: str, configuration: Path) -> None:
    """Raise ConfigError with what HAProxy finds wrong with a configuration."""
    done = _run([path, "-c", "-f", str(configuration)])
    if done.returncode:
        raise ConfigError(*(alerts(done.stderr + done.stdout) or [f"HAProxy refuses {configuration}."]))


def alerts_of(path: str, configuration: Path) -> str:
    """Return all that HAProxy says of a configuration, in its own words."""
    done = _run([path, "-c", "-f", str(configuration)])
    return done.stderr + done.stdout


def alerts(said: str) -> list[str]:
    """Return HAProxy's alerts without its marks, each once."""
    found = re.findall(r"\[ALERT\]\s+\(\d+\) : (?:config : )?(.*)", said)
    sentences = [re.sub(r"^parsing \[[^]]*\] ?: ", "", one) for one in found]
    return [one for one in dict.fromkeys(sentences) if not one.startswith(("Error(s) found", "Fatal errors"))]


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603  (the program that was found, by its full path)
            words, capture_output=True, text=True, timeout=SAY_WITHIN_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{words[0]} cannot be run ({error}).") from None
