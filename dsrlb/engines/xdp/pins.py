"""Where an instance lives on when its process does not: a folder in a BPF file system.

::

    /sys/fs/bpf/dsrlb/default/        the instance; whoever holds a lock on the folder runs it
        maps/flows, maps/targets ...  all that is remembered
        steps/17, ...                 the steps of the program, by the number of the map that leads to them
        links/4, ...                  the program on the interface of this index

A link holds the program, the program its maps; but the map that leads to the steps is emptied when
nobody holds it any more, so it is pinned as well.  While the program is replaced there are two of them.
Names in a BPF file system have no dots.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dsrlb.errors import ConfigError, HostError
from dsrlb.host import bpf

FOLDER = "dsrlb"
_PARTS = ("maps", "steps", "links")
_TRIES = 10  # a folder that is removed between opening and locking is made again


class Pins:
    """The folder of one instance, locked for this process; the kernel frees the lock when it ends."""

    def __init__(self, bpf_fs: Path, instance: str) -> None:
        """Make and lock the folder.

        Raises HostError without a BPF file system there, or privilege; ConfigError when another process
        runs this instance.
        """
        self.instance = instance
        self.folder = bpf_fs / FOLDER / instance
        self.maps, self.steps, self.links = (self.folder / part for part in _PARTS)
        bpf.need_bpf_fs(bpf_fs)
        self._lock = _locked(self.folder, instance)
        for part in (self.maps, self.steps, self.links):
            part.mkdir(exist_ok=True)

    def ifindexes(self) -> list[int]:
        """Return the interfaces (ifindex) that have a link of this instance."""
        return sorted(int(one.name) for one in self.links.iterdir())

    def link(self, ifindex: int) -> Path:
        """Return where the link on an interface is pinned."""
        return self.links / str(ifindex)

    def step_map(self, number: int) -> Path:
        """Return where the map that leads to a program's steps is pinned, by the kernel's number of it."""
        return self.steps / str(number)

    def keep_only(self, steps: int) -> None:
        """Let go of the steps of all other programs than the one whose map has this number."""
        for one in self.steps.iterdir():
            if one.name != str(steps):
                one.unlink()

    def remove(self) -> None:
        """Let go of everything: links first, so that the program is off before its maps go."""
        for part in (self.links, self.steps, self.maps):
            for one in part.iterdir():
                one.unlink()
            part.rmdir()
        self.folder.rmdir()
        with suppress(OSError):  # another instance is in there
            self.folder.parent.rmdir()

    def close(self) -> None:
        """Give up the lock; harmless when repeated."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def instances(bpf_fs: Path) -> Iterator[str]:
    """Yield the instances that there are, run by a process or not."""
    with suppress(OSError):
        yield from sorted(one.name for one in (bpf_fs / FOLDER).iterdir())


def is_run(bpf_fs: Path, instance: str) -> bool:
    """Return whether a process runs an instance now."""
    try:
        folder = os.open(bpf_fs / FOLDER / instance, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(folder)
    return False


def _locked(folder: Path, instance: str) -> int:
    """Return a descriptor of the folder that holds the lock on it."""
    for _ in range(_TRIES):
        lock = _opened(folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise ConfigError(
                f"Instance {instance} of the XDP engine is run by another process; stop it first, or give "
                "this one a name of its own: --instance NAME."
            ) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), folder.stat()):
                return lock
        os.close(lock)
    raise HostError(f"{folder} is removed again and again; who does that?")


def _opened(folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise HostError(f"{folder} cannot be made: it needs root (CAP_BPF).") from error
        raise HostError(f"{folder} cannot be made: {error.strerror}.") from error
