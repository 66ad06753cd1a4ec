"""What a real server was like before ``backend setup``: the record from which ``undo`` restores it.

It lies under ``/run``, which a reboot clears, as it clears what was set up.  Each network
namespace has a directory of its own: namespaces on one machine share ``/run``, but neither
addresses nor sysctls.  ``scripts/backend-setup`` reads and writes the very same files::

    /run/dsrlb/backend/
      netns-4026531840/                       inode of /proc/self/ns/net
        vip/198.18.0.10                       "absent" or "present": was the address there before?
        sysctl/net.ipv4.conf.all.arp_ignore   "0": the former value

One line a file.  In a sysctl's name ``/`` (which stands for the dot of a device such as
``eth0.100``) is written ``:``, a character that no device name may have (net/core/dev.c,
dev_valid_name).
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from dsrlb.model import Address

BASE = Path("/run/dsrlb/backend")
ABSENT = "absent"
PRESENT = "present"


def directory(base: Path = BASE) -> Path:
    """Return where the record of this process's network namespace lies; nothing is created."""
    return base / f"netns-{Path('/proc/self/ns/net').stat().st_ino}"


def vip_file(state: Path, vip: Address | str) -> Path:
    """Return the file that says whether ``vip`` was there before."""
    return state / "vip" / str(vip)


def sysctl_file(state: Path, key: str) -> Path:
    """Return the file that holds the former value of the sysctl ``key`` (dotted)."""
    return state / "sysctl" / key.replace("/", ":")


def read(path: Path) -> str | None:
    """Return what was recorded, or None when nothing (or an empty line) was."""
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None


def write(path: Path, text: str) -> None:
    """Record ``text``: whole or not at all, also when interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent.parent / f".{path.name}"
    unfinished.write_text(f"{text}\n")
    unfinished.replace(path)


def forget(path: Path) -> None:
    """Remove one record, and the directories that are empty without it."""
    path.unlink(missing_ok=True)
    for folder in list(path.parents)[:2]:
        try:
            folder.rmdir()
        except OSError:  # not empty, or gone already
            return


def vips(state: Path) -> list[Address]:
    """Return the VIPs that are set up here."""
    return [ip_address(name) for name in _names(state / "vip")]


def sysctls(state: Path) -> list[str]:
    """Return the keys of the sysctls that have a former value on record."""
    return [name.replace(":", "/") for name in _names(state / "sysctl")]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
