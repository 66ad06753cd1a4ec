"""The stories of ``tests/golden/haproxy``: a configuration file, and what HAProxy is told for it.

``python tests/golden_haproxy.py`` writes what HAProxy is told anew, to be looked at and committed.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path, PurePath

import pytest

from dsrlb.config import config_in
from dsrlb.control.proxy_table import compiled
from dsrlb.engines.haproxy import render
from dsrlb.engines.haproxy.run_as import AS_WHO_STARTS_IT, RunAs
from dsrlb.model import Service
from dsrlb.standing import ALL_UP, Effective

FOLDER = Path(__file__).parent / "golden/haproxy"
STORIES = sorted(FOLDER.glob("*.toml"))
CERTIFICATE = Path(__file__).parent / "certificate/server.pem"
PROGRAM = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
needs_haproxy = pytest.mark.skipif(PROGRAM is None, reason="HAProxy is not installed")


def rendered(services: Sequence[Service], said: Effective = ALL_UP, run_as: RunAs = AS_WHO_STARTS_IT) -> str:
    """Return what HAProxy is told of these services, while servers stand so."""
    states = render.states(services, compiled(services, said))
    return render.configuration(services, states, PurePath("/run/dsrlb/default-haproxy/runtime.sock"), run_as)


def told(toml: str, run_as: RunAs = AS_WHO_STARTS_IT) -> str:
    """Return what HAProxy is told for a configuration file."""
    return rendered(config_in(toml.encode(), "dsrlb.toml").proxied, run_as=run_as)


def certificates(at: Path) -> None:
    """Put the files there that the stories name in /etc/dsrlb."""
    for name in ("www one.pem", "ca.pem", "sites/www.pem"):
        (at / name).parent.mkdir(exist_ok=True)
        shutil.copy(CERTIFICATE, at / name)


def complaints(configuration: str, at: Path) -> str:
    """Return what HAProxy has against a configuration, warnings included; nothing: it takes it."""
    file = at / "haproxy.cfg"
    file.write_text(configuration.replace("/etc/dsrlb/", f"{at}/"))
    words = [str(PROGRAM), "-c", "-f", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    said = [line for line in done.stderr.splitlines() if "[ALERT]" in line or "[WARNING]" in line]
    return "\n".join(said) or ("" if done.returncode == 0 else done.stdout + done.stderr)


if __name__ == "__main__":
    for story in STORIES:
        story.with_suffix(".cfg").write_text(told(story.read_text()))
