"""Where an instance lives on when its process does not: a folder in a BPF file system.

::

    /sys/fs/bpf/dsrlb/default/        the instance; whoever holds a lock on the folder runs it
        maps/flows, maps/targets ...  all that is remembered
        steps/17, ...                 the steps of the program, by the number of the map that leads to them
        links/4, ...                  the program on the interface of this index
        netns_4026531840              a folder: in which network namespace that is

A link holds the program, the program its maps; but the map that leads to the steps is emptied when
nobody holds it any more, so it is pinned as well.  While the program is replaced there are two of them.
Names in a BPF file system have no dots.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dsrlb.errors import ConfigError, HostError
from dsrlb.host import bpf, bpf_attach

FOLDER = "dsrlb"
NAMESPACE = Path("/proc/thread-self/ns/net")
_PARTS = ("maps", "steps", "links")
_TRIES = 10  # a folder that is removed between opening and locking is made again
_WAITS, _WAIT_S = 10, 0.02  # for a lock that somebody has only to look whether there is one


class Pins:
    """The folder of one instance, locked for this process; the kernel frees the lock when it ends."""

    def __init__(self, bpf_fs: Path, instance: str) -> None:
        """Make and lock the folder.

        Raises HostError without a BPF file system there, or privilege; ConfigError when another process
        runs this instance.
        """
        self.bpf_fs, self.instance = bpf_fs, instance
        self.folder = bpf_fs / FOLDER / instance
        self.maps, self.steps, self.links = (self.folder / part for part in _PARTS)
        bpf.need_bpf_fs(bpf_fs)
        self._lock = _locked(self.folder, instance)
        try:
            self._settle()
        except BaseException:
            self.close()
            raise

    def _settle(self) -> None:
        """Make the folders; refuse an instance that is at work in another network namespace.

        One whose interfaces are gone, mostly with their namespace, is at work nowhere.
        """
        here = _namespace()
        others = [one for one in self.folder.glob("netns_*") if one.name != here]
        if others and any(ifindex_of(one) for one in self.links.glob("*")):
            raise ConfigError(
                f"Instance {self.instance} of the XDP engine is at work in another network namespace; run "
                "dsrlb there (ip netns exec NETNS …), or give this one a name of its own: --instance NAME."
            )
        for one in others:
            one.rmdir()
        for part in (self.folder / here, self.maps, self.steps, self.links):
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

    def remove_maps(self) -> None:
        """Let go of what is pinned of maps."""
        for one in self.maps.iterdir():
            one.unlink()

    def remove(self) -> None:
        """Let go of everything: links first, so that the program is off before its maps go.

        Harmless when the file system is not there any more.
        """
        for part in (self.links, self.steps, self.maps, *self.folder.glob("netns_*")):
            with suppress(FileNotFoundError):
                for one in part.iterdir():
                    one.unlink()
                part.rmdir()
        with suppress(FileNotFoundError):
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


def here(bpf_fs: Path) -> Iterator[str]:
    """Yield the instances of this network namespace, run by a process or not."""
    namespace = _namespace()
    yield from (one for one in instances(bpf_fs) if (bpf_fs / FOLDER / one / namespace).is_dir())


def holder(bpf_fs: Path, ifindex: int) -> str | None:
    """Return the instance whose program is on an interface of this network namespace, if one's is."""
    found = (one for one in here(bpf_fs) if ifindex_of(bpf_fs / FOLDER / one / "links" / str(ifindex)))
    return next(found, None)


def ifindex_of(link: Path) -> int:
    """Return the interface (ifindex) of a pinned link; 0: it is gone, or no link is pinned there."""
    fd = bpf.pinned(link)
    if fd is None:
        return 0
    try:
        return bpf_attach.xdp_link(fd).ifindex
    finally:
        os.close(fd)


def is_run(bpf_fs: Path, instance: str) -> bool:
    """Return whether a process runs an instance."""
    lock = os.open(bpf_fs / FOLDER / instance, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _namespace() -> str:
    """Return the name of the folder that tells the network namespace."""
    return f"netns_{NAMESPACE.stat().st_ino}"


def _locked(folder: Path, instance: str) -> int:
    """Return a descriptor of the folder that holds the lock on it."""
    for _ in range(_TRIES):
        lock = _opened(folder)
        if not _got(lock):
            os.close(lock)
            raise ConfigError(
                f"Instance {instance} of the XDP engine is run by another process; stop it first, or give "
                "this one a name of its own: --instance NAME."
            )
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), folder.stat()):
                return lock
        os.close(lock)
    raise HostError(f"{folder} is removed again and again; who does that?")


def _got(lock: int) -> bool:
    """Take the lock; whoever only looks (``is_run``) has it for a moment."""
    for _ in range(_WAITS):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_WAIT_S)
    return False


def _opened(folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise HostError(f"{folder} cannot be made: it needs root (CAP_BPF).") from error
        raise HostError(f"{folder} cannot be made: {error.strerror}.") from error
