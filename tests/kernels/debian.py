"""Kernels of Debian, fetched by an apt of their own, and unpacked; nothing of the machine's own apt changes.

::

    CACHE/apt/…                          lists and downloads
    CACHE/kernels/6.1.0-57-cloud-amd64/  vmlinuz, modules/

*Source*: apt.conf(5); the packages ``linux-image-*-cloud-amd64``, which from Linux 6.19 on only depend on
``linux-binary-*`` and ``linux-modules-*``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCES = (
    "http://deb.debian.org/debian-security bullseye-security main",  # 5.10
    "http://deb.debian.org/debian-security bookworm-security main",  # 6.1, 6.12
    "http://deb.debian.org/debian trixie-backports main",  # the newest
)
NEWEST = "newest"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dsrlb-kernels"  # by default
_PREFIX, _SUFFIX = "linux-image-", "-cloud-amd64"


class KernelError(Exception):
    """A kernel cannot be had; the message says why."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that lies unpacked."""

    release: str  # as uname says it
    image: Path
    modules: Path  # the folder with "kernel" in it


class Debian:
    """The kernels that Debian has."""

    def __init__(self, cache: Path) -> None:
        """Bring the lists up to date; where nothing can be reached, those of before serve."""
        if not KEYRING.exists():
            raise KernelError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
        self._apt, self._kernels = cache / "apt", cache / "kernels"
        for folder in (self._apt / "lists/partial", self._apt / "cache/archives/partial", self._kernels):
            folder.mkdir(parents=True, exist_ok=True)
        lines = [f"deb [arch=amd64 signed-by={KEYRING}] {one}\n" for one in SOURCES]
        (self._apt / "sources.list").write_text("".join(lines))
        places = {
            "Dir::Etc::sourcelist": self._apt / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": self._apt / "lists",
            "Dir::Cache": self._apt / "cache",
            "APT::Sandbox::User": "root",  # the cache may be where another user cannot write
        }
        settings = "".join(f'{name} "{value}";\n' for name, value in places.items())
        (self._apt / "apt.conf").write_text(settings)
        self._run("apt-get", "update", "-q")

    def kernel(self, version: str) -> Kernel:
        """Return the latest kernel of a version (``6.1``), or the newest of all; fetched once."""
        release = self._release(version)
        folder = self._kernels / release
        if not (folder / "vmlinuz").exists():
            self._unpack(release, folder)
        return Kernel(release, folder / "vmlinuz", folder / "modules")

    def _release(self, version: str) -> str:
        beginning = _PREFIX if version == NEWEST else f"{_PREFIX}{version}."
        names = self._run("apt-cache", "pkgnames", beginning).split()
        # Not those without a number after the version: they have no kernel, and depend on the latest.
        known = [name for name in names if re.fullmatch(r"linux-image-\d+\.\d+\.\d.*-cloud-amd64", name)]
        if not known:
            raise KernelError(f"Debian has no kernel {version}: take one like 6.1, or {NEWEST}")
        return max(known, key=_by_number).removeprefix(_PREFIX)

    def _unpack(self, release: str, folder: Path) -> None:
        packages = [_PREFIX + release]
        needs = self._run("apt-cache", "depends", "--important", packages[0])
        packages += re.findall(rf"Depends: (linux-(?:binary|modules)-{re.escape(release)})$", needs, re.M)
        scratch = folder.with_name(f".{release}.new")
        shutil.rmtree(scratch, ignore_errors=True)
        (scratch / "debs").mkdir(parents=True)
        self._run("apt-get", "download", "-q", *packages, where=scratch / "debs")
        for package in (scratch / "debs").iterdir():
            self._run("dpkg-deb", "-x", str(package), str(scratch / "all"))
        images = list((scratch / "all").rglob(f"vmlinuz-{release}")) + list(
            (scratch / "all").rglob(f"modules/{release}/vmlinuz")
        )
        modules = list((scratch / "all").rglob(f"modules/{release}/kernel"))
        if not images or not modules:
            raise KernelError(f"no kernel image, or no modules, in {', '.join(packages)}")
        shutil.rmtree(folder, ignore_errors=True)
        (scratch / "done").mkdir()
        images[0].rename(scratch / "done/vmlinuz")
        modules[0].parent.rename(scratch / "done/modules")
        (scratch / "done").rename(folder)
        shutil.rmtree(scratch)

    def _run(self, *command: str, where: Path | None = None) -> str:
        environment = {**os.environ, "APT_CONFIG": str(self._apt / "apt.conf"), "LC_ALL": "C"}
        done = subprocess.run(
            command, cwd=where, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise KernelError(f"{' '.join(command)}: {' '.join(done.stderr.split()[-40:])}")
        return done.stdout


def _by_number(name: str) -> list[int]:
    return [int(one) for one in re.findall(r"\d+", name)]
