"""The first process of a Linux in user mode: it makes a root, then runs what it is told by its serial line.

The root is the machine's, read only, with folders of its own around it, and in /lib/modules the modules of
its kernel. A line is a JSON text each way: ``{"run": […]}`` is answered ``{"code": 0, "said": "…"}`` at the
command's end, ``{"start": […]}`` at once, with the command going on.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tty
from pathlib import Path
from typing import Any, TextIO

LINE = "/dev/ttyS0"
MODULES = "/usr/lib/uml/modules"
OWN = {"proc": "proc", "sys": "sysfs", "dev": "devtmpfs", "run": "tmpfs"}  # folder: file system
MS_BIND, MS_REC = 4096, 16384  # linux/mount.h
DEADLINE_S = 60


def mount(kind: str, where: str, what: str = "none", flags: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(what.encode(), where.encode(), kind.encode(), flags, None):
        raise OSError(ctypes.get_errno(), f"cannot mount {where}")


def make_root() -> None:
    """Leave this process, and all that it starts, in the new root."""
    mount("tmpfs", "/run")
    root = Path("/run/root")
    root.mkdir()
    mount("tmpfs", str(root))  # ip netns wants a root that is a mount
    for one in Path("/").iterdir():
        if one.is_symlink() and one.name != "lib":
            (root / one.name).symlink_to(one.readlink())
        elif one.is_dir() and one.name not in (*OWN, "lib"):
            (root / one.name).mkdir()
            mount("", str(root / one.name), str(one), MS_BIND | MS_REC)
    _make_libraries(root / "lib")
    for name, kind in OWN.items():
        (root / name).mkdir()
        mount(kind, str(root / name))
    os.chroot(root)
    os.chdir("/")
    Path("/run/tmp").mkdir()


def _make_libraries(library: Path) -> None:
    """Make /lib, which may be a link to /usr/lib, a folder that can have other modules."""
    library.mkdir()
    for one in Path("/lib").iterdir():
        if one.name != "modules":
            (library / one.name).symlink_to(Path("/usr/lib", one.name))
    (library / "modules").mkdir()
    mount("", str(library / "modules"), MODULES, MS_BIND)


def make_environment(python: str) -> None:
    """Let what is started know of the same dsrlb."""
    os.environ["PATH"] = f"{Path(python).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "yes"
    os.environ["HOME"], os.environ["TMPDIR"] = "/run", "/run/tmp"


def done(told: dict[str, Any]) -> dict[str, Any]:
    """Do what was told; return the answer."""
    if "start" in told:
        subprocess.Popen(told["start"], stdin=subprocess.DEVNULL)
        return {"code": 0, "said": ""}
    try:
        ended = subprocess.run(
            told["run"],
            input=told["text"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"code": -1, "said": str(error)}
    return {"code": ended.returncode, "said": ended.stdout}


def say(line: TextIO, what: dict[str, Any]) -> None:
    line.write(json.dumps(what) + "\n")
    line.flush()


def main() -> None:
    make_root()
    make_environment(sys.executable)
    subprocess.run(["modprobe", "ipv6"], check=True)
    with Path(LINE).open() as told, Path(LINE).open("w") as line:
        tty.setraw(told)
        say(line, {"code": 0, "said": "here"})
        for one in told:
            say(line, done(json.loads(one)))


if __name__ == "__main__":
    main()
