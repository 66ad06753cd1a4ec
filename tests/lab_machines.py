"""Pretended machines: what Vagrant's are, in namespaces, each with a file system and processes of its own.

A machine is a network namespace of a lab, and in it one process that is number 1 of a process namespace,
under a root of its own: an overlay over this machine's::

    /                          what this machine has, read only
    box/                       what install.sh has put there once, for all: the box that they begin with
    NAME/                      what this machine has changed itself: it survives a reboot
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dsrlb.lab.commands import inside, run
from dsrlb.lab.topology import Lab

ROOT = Path(__file__).parents[1]
MISSING = [
    tool for tool in ("dpkg", "keepalived", "nginx") if shutil.which(tool, path="/usr/sbin:/usr/bin") is None
]
DEADLINE_S = 60.0
# Number 1 of a machine: it takes in whoever has lost its parent, and ends at once when told so.
FIRST = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
open("/run/up", "w").close()
while True:
    signal.sigwait({signal.SIGCHLD})
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""
START = """
set -eu
name=$1 folder=$2 lower=$3 first=$4 checkout=$5
mkdir -p "$folder/$name/upper" "$folder/$name/work" "$folder/$name/root"
root=$folder/$name/root
mount -t overlay -o "lowerdir=$lower,upperdir=$folder/$name/upper,workdir=$folder/$name/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root$checkout"
mount --bind "$checkout" "$root$checkout"
hostname "$name"
exec chroot "$root" python3 -c "$first"
"""
# apt has what these machines need: nothing is installed, but each package must be one that there is.
APT_GET = """#!/bin/sh
for word in "$@"; do
    case $word in
    install | update | -*) ;;
    *) dpkg -s "$word" >/dev/null 2>&1 || apt-cache show "$word" >/dev/null || exit 100 ;;
    esac
done
"""


@contextmanager
def storage(lab: Lab) -> Iterator[Path]:
    """Have a folder in memory for the length of a block: what is under / cannot lie over it."""
    folder = lab.run_directory / "machines"
    if folder.is_mount():  # of tests that were killed
        run(["umount", "--lazy", str(folder)])
    folder.mkdir(exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder)])
    try:
        yield folder
    finally:
        run(["umount", "--lazy", str(folder)])


class Machine:
    """One that can be switched on and off."""

    def __init__(self, name: str, folder: Path, namespace: str = "", below: Sequence[str] = ()) -> None:
        self.name, self.folder, self.namespace = name, folder, namespace
        self.below = ":".join((*below, "/"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def upper(self) -> Path:
        """What it has changed of its file system."""
        return self.folder / self.name / "upper"

    def switch_on(self) -> None:
        """Start its first process."""
        words = [self.name, str(self.folder), self.below, FIRST, str(ROOT)]
        apart = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child"]
        command = [*apart, "sh", "-c", START, "sh", *words]
        log = (self.folder / f"{self.name}.log").open("wb")
        self._process = subprocess.Popen(
            inside(self.namespace, *command) if self.namespace else command, stderr=log
        )
        end = time.monotonic() + DEADLINE_S
        while not self._is_up():
            said = (self.folder / f"{self.name}.log").read_text()
            assert self._process.poll() is None and time.monotonic() < end, said
            time.sleep(0.01)

    def switch_off(self) -> None:
        """Cut its power: every process of it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _first(self) -> str:
        assert self._process is not None, f"{self.name} is off"
        pid = self._process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()

    def _is_up(self) -> bool:
        first = self._first()
        return bool(first) and Path("/proc", first, "root", "run/up").exists()

    def begin(self, line: str) -> subprocess.Popen[str]:
        """Start a line of shell on it."""
        enter = ["nsenter", "--target", self._first(), "--mount", "--pid", "--uts", "--net", "--root", "--wd"]
        return subprocess.Popen(
            [*enter, "sh", "-c", line],
            env={**os.environ, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell on it to its end."""
        process = self.begin(line)
        said, complaints = process.communicate()
        return subprocess.CompletedProcess(line, process.returncode, said, complaints)

    def must(self, line: str) -> str:
        """Run a line of shell on it that has to succeed; return what it printed."""
        done = self.run(line)
        assert done.returncode == 0, f"{self.name}: {line}: {done.stdout}{done.stderr}"
        return done.stdout


def wheel(folder: Path) -> None:
    """Build the wheel of this checkout, and put what vagrant/build-wheel puts beside it.

    The programs are compiled already: the compiler need not be fetched again for a build of its own.
    """
    tools = folder / "tools"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    run([*pip, "install", "--no-compile", "--target", str(tools), "setuptools>=75"])
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("dsrlb", "LICENSES"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    wheels = folder / "wheels"
    command = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(source)]
    run(["env", f"PYTHONPATH={tools}", *command])
    shutil.copy(ROOT / "scripts/dsrlb.service", wheels)


def fill_box(folder: Path) -> Machine:
    """Make what all machines begin with: the folder /vagrant, and what install.sh leaves behind."""
    box = Machine("box", folder)
    wheel(folder)
    local = box.upper / "usr/local/sbin"
    local.mkdir(parents=True)
    shutil.copytree(
        ROOT / "vagrant", box.upper / "vagrant", ignore=shutil.ignore_patterns("wheels", ".vagrant")
    )
    shutil.copytree(folder / "wheels", box.upper / "vagrant/wheels")
    (local / "apt-get").write_text(APT_GET)
    (local / "systemctl").write_text(f'#!/bin/sh\nexec python3 {ROOT}/tests/lab_systemctl.py "$@"\n')
    for tool in ("apt-get", "systemctl"):
        (local / tool).chmod(0o755)
    box.switch_on()
    try:
        for role in ("client", "router", "lb", "backend"):
            print(box.must(f"/vagrant/provision/install.sh {role}"))
    finally:
        box.switch_off()
    return box
